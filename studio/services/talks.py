"""Conversations with a run's models, kept in the home: listed, opened, renamed, deleted, and written out to be read."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from studio.domain.answer import Side
from studio.domain.errors import StudioError
from studio.domain.talk import SCHEMA, Talk, Turn
from studio.services.files import explained, now, read_json, write_json
from studio.services.store import Store

_TITLE = 120
"""Characters of a title at most."""
_WRITING = threading.Lock()
"""Two pages that talk on in one conversation do not undo each other."""


@dataclass(frozen=True)
class Listed:
    """What is kept."""

    talks: Sequence[Talk]
    """Those talked in last first."""
    damaged: Sequence[str]
    """The ids of files that cannot be read; they can still be deleted."""


def listed(store: Store) -> Listed:
    """All conversations."""
    found, damaged = [], []
    for talk_id in store.talk_ids():
        try:
            found.append(opened(store, talk_id))
        except StudioError:
            damaged.append(talk_id)
    return Listed(sorted(found, key=lambda talk: talk.changed, reverse=True), damaged)


def opened(store: Store, talk_id: str) -> Talk:
    """StudioError where there is none, or where its file is damaged."""
    data = read_json(store.talk_file(talk_id))
    if data is None:
        raise StudioError("There is no conversation {talk}.", "Choose one from the list.", talk=talk_id)
    try:
        if data["schema"] != SCHEMA:
            raise KeyError("schema")
        return Talk.from_json(data)
    except (KeyError, TypeError, AttributeError):
        raise StudioError(
            "The conversation {talk} is damaged, or of another version of the studio.",
            "Delete it, or open it with the studio that wrote it.",
            talk=talk_id,
        ) from None


def save(store: Store, talk: Talk) -> Talk:
    """Keep a conversation, under an id of its own from the first time on; returns it as it is kept.

    Turns that another page has added meanwhile stay.
    """
    with _WRITING:
        if not talk.id:
            stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
            talk = replace(talk, id=f"{stamp}-{uuid.uuid4().hex[:8]}", created=now())
        elif store.talk_file(talk.id).is_file():
            kept = opened(store, talk.id)
            talk = replace(talk, title=kept.title, turns=_joined(kept, talk))
        return _written(store, replace(talk, changed=now()))


def rename(store: Store, talk_id: str, title: str) -> Talk:
    """StudioError where nothing is left of the title."""
    title = " ".join(title.split())[:_TITLE]
    if not title:
        raise StudioError("A conversation needs a title.", "Write at least one letter.")
    with _WRITING:
        return _written(store, replace(opened(store, talk_id), title=title))


def delete(store: Store, talk_id: str) -> None:
    """Remove it; rows that were made from it stay."""
    file = store.talk_file(talk_id)
    with explained(file):
        file.unlink(missing_ok=True)


def _written(store: Store, talk: Talk) -> Talk:
    write_json(store.talk_file(talk.id), talk.to_json())
    return talk


def _joined(kept: Talk, ours: Talk) -> tuple[Turn, ...]:
    """The turns of both; one that both have is as ours, and one of ours that was given up does not come back."""
    own = {turn.id: turn for turn in ours.turns}
    others = [turn for turn in kept.turns if turn.id not in own and turn.answered]
    return (
        *[own[turn.id] for turn in kept.turns if turn.id in own],
        *others,
        *[turn for turn in ours.turns if kept.turn(turn.id) is None],
    )


# ---- To be read elsewhere ------------------------------------------------------------------------------------------


def as_markdown(talk: Talk, names: dict[Side, str]) -> str:
    """The branch that is looked at, for a person: each message, and the answer of each side by its name."""
    parts = [f"# {talk.title}", f"Run {talk.run}, {talk.changed[:16].replace('T', ' ')} UTC"]
    system = ""
    for turn in talk.branch:
        if turn.system != system:
            system = turn.system
            parts += ["## System", system or "(none)"]
        parts += ["## User", turn.prompt]
        for side, answer in turn.answers.items():
            how = f"{answer.tokens} tokens, {answer.seconds:.1f} s, {_STOPS[answer.stop_reason]}"
            parts += [f"## {names.get(side, side)}", answer.text, f"*{how}, {_sampling(turn)}*"]
        if turn.expected:
            parts += ["## Expected", turn.expected]
    return "\n\n".join(parts) + "\n"


_STOPS = {
    "": "unfinished",
    "end": "ended by itself",
    "length": "reached the limit",
    "context": "the context was full",
    "stopped": "stopped",
}


def _sampling(turn: Turn) -> str:
    how = turn.settings
    return f"seed {how.seed}, temperature {how.temperature:g}, top-p {how.top_p:g}"
