"""The best rows of a set, shown before the others are left out: how many go, why, and how the set changes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.domain.history import RowChange
from studio.engine.row_changes import selected
from studio.engine.selection import propose
from studio.engine.similarity_map import SimilarityMap
from studio.engine.spread import Spreading
from studio.services import history
from studio.ui import map_views, selection_views, spread_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.services.store import DatasetEntry
    from studio.ui.data_tab import Examined

MOST = 200_000
"""Rows that are chosen among while somebody waits."""
USUAL = 1000
"""Rows that are kept unless another number is asked for, or half of a set that has fewer."""


@dataclass(frozen=True)
class Chosen:
    """A selection that is shown: the dataset that it was made for, the rows asked for, and those that would go."""

    seen: DatasetEntry | None = None
    rows: int = 0
    changes: tuple[RowChange, ...] = ()


def build(
    page: Page,
    error: gr.HTML,
    examine: Callable[[Draft], Examined],
    look_inside: Callable[[Draft], tuple[Spreading, SimilarityMap]],
    changed: gr.State,
) -> gr.HTML:
    """The panel; gives the component whose clicks name a row. `changed` is told which rows are in use then."""
    with gr.Accordion(
        t("selection.title"), open=False, visible=False, elem_id="selection", elem_classes="surface"
    ) as panel:
        gr.HTML(t("selection.about"), elem_classes="muted")
        with gr.Row(elem_classes="controls"):
            rows = gr.Number(None, label=t("selection.rows"), precision=0, elem_id="selection-rows")
            show = gr.Button(t("selection.show"), elem_id="selection-show", scale=0, min_width=160)
        shown = gr.HTML(elem_id="selection-shown", js_on_load=views.CLICKS)
        with gr.Row(elem_classes="actions", visible=False) as actions:
            apply = gr.Button(t("selection.apply"), variant="primary", elem_id="selection-apply")
            cancel = gr.Button(t("repair.cancel"), elem_id="selection-cancel")
        chosen = gr.State(Chosen())
    proposal = [chosen, shown, actions]
    nothing = (Chosen(), "", gr.Row(visible=False))

    def unfolded(say: Words, draft: Draft, wanted: float | None) -> Any:
        return gr.skip() if wanted else usual(len(examine(draft).dataset.conversations))

    def asked(say: Words, draft: Draft, wanted: float | None) -> Iterator[tuple[Any, ...]]:
        examined, entry = examine(draft), page.store.dataset(draft.dataset)
        conversations = examined.dataset.conversations
        if len(conversations) > MOST:
            raise StudioError(
                "The page chooses among {most} rows at most, and this file has {rows}.",
                "On the command line, `studio data select FILE --rows N --out NEW` chooses among any number.",
                most=views.count(MOST),
                rows=views.count(len(conversations)),
            )
        try:
            found = propose(conversations, examined.report, int(wanted or 0))
        except StudioError:
            yield nothing  # what an earlier number gave is no answer to this one
            raise
        changes = tuple(selected(conversations, found))
        html = selection_views.proposal(say, found, conversations)
        kept = Chosen(entry, int(wanted or 0), changes)
        # The map takes seconds, for which what is known already need not wait.
        yield kept, html + spread_views.waiting(say), gr.Row(visible=bool(changes))
        left = frozenset(change.row for change in changes)
        drawn = map_views.similarity_map(say, look_inside(draft)[1], left)
        yield kept, html + drawn, gr.Row(visible=bool(changes))

    def applied(say: Words, draft: Draft, found: Chosen) -> tuple[Any, ...]:
        apply_selection(page, found, examine(draft))
        return str(page.store.dataset(draft.dataset).path), *nothing

    def closed(say: Words, draft: Draft) -> tuple[Any, ...]:
        return nothing

    def follow(say: Words, draft: Draft, found: Chosen) -> tuple[Any, ...]:
        """There is something to choose from, and what was shown of other rows is shown no longer."""
        current = found.seen is None or (
            draft.dataset == found.seen.id and page.store.dataset(found.seen.id).path == found.seen.path
        )
        kept = [gr.skip()] * len(proposal) if current else nothing
        return gr.Accordion(visible=bool(draft.dataset)), gr.skip() if current else None, *kept

    following = [panel, rows, *proposal]
    page.on_enter("data", follow, following, inputs=[chosen], error=error)
    page.on([page.draft.change, changed.change], follow, [chosen], following, error=error, shared=True)
    page.on(panel.expand, unfolded, [rows], [rows], error=error)
    page.on(show.click, asked, [rows], proposal, error=error)
    page.on(apply.click, applied, [chosen], [changed, *proposal], error=error)
    page.on(cancel.click, closed, [], proposal, error=error)
    return shown


def usual(rows: int) -> int:
    """How many rows to keep of so many, unless another number is asked for.

    >>> usual(52_000), usual(120)
    (1000, 60)
    """
    return USUAL if rows > USUAL else max(1, rows // 2)


def apply_selection(page: Page, found: Chosen, examined: Examined) -> None:
    """Leave out the rows that go, as one step of the dataset's history."""
    if found.seen is None or not found.changes:
        raise StudioError("No selection is shown.", "Ask for a number of rows first.")
    history.take(
        page.store,
        found.seen,
        "select",
        found.changes,
        examined.dataset.conversations,
        findings=examined.dataset.findings,
        rows=found.rows,
    )
