"""What Gradio keeps of each open page, so that it does not grow with every event.

Gradio 6.31 makes a component anew for each update of it (`gr.skip()` is one), and keeps it for the page in the place of
the first one. The new one has another number. Where an event takes it as an input as well, as all of the studio's take
the draft, Gradio does not find that number among what it keeps, and keeps the component once more under it: some 5 KB
an event, for as long as the page is open.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from gradio.blocks import Block
from gradio.state_holder import SessionState


def keep_numbers() -> None:
    """A component that takes the place of another one in an open page takes its number, too. May be called twice."""
    if getattr(SessionState.__setitem__, "keeps_numbers", False):
        return
    put = SessionState.__setitem__

    @wraps(put)
    def numbered(self: SessionState, key: int, value: Any) -> None:
        if isinstance(value, Block):
            value._id = key
        put(self, key, value)

    numbered.keeps_numbers = True  # type: ignore[attr-defined]
    SessionState.__setitem__ = numbered
