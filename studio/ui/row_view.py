"""The part of the page that shows rows one after the other: what the browser is told, and the rows that it asks for.

The browser (assets/row_view.js) goes from row to row by itself and keeps the neighbours of the row that is shown, so
that the next one is there at once.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from studio.domain.config import RunConfig, TemplateConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS
from studio.engine.templates import CUSTOM
from studio.engine.tokenizer import Tokenizer
from studio.services import plan, preview
from studio.services.run_files import RunFiles
from studio.ui import form, live, row_views, views
from studio.ui.i18n import Words, language_of, words
from studio.ui.page import Draft, Page

_AT_ONCE = 16
"""Rows that may be asked for at a time."""
_PATIENCE = 1.0
"""Seconds after which an answer is given with the rows that are drawn: a template that does not come to an end would
hold up the whole page once for each row.
"""


@dataclass(frozen=True)
class Beside:
    """What is shown beside a row's tokens."""

    other: str = ""
    """Another template, or empty."""
    loss: bool = False
    run: str = ""
    """The run whose tuned model's losses are shown too, or empty."""

    @classmethod
    def chosen(cls, other: str | None = None, loss: bool = False, run: str | None = None) -> Beside:
        """From what the widgets hold."""
        return cls(other or "", bool(loss), run or "")


def build(page: Page) -> gr.HTML:
    """The component.

    Its events: `moved`; `submit`, when settings have come to rest; `select`, for a row's losses; `stop`, to give them
    up.
    """

    def rows(asked: dict[str, Any], request: gr.Request) -> dict[str, row_views.Drawn]:
        say = words(language_of(request))
        draft = Draft.from_json(asked.get("draft"))
        places = [place for place in asked.get("places", [])[:_AT_ONCE] if isinstance(place, int)]
        limit = asked.get("limit")
        return drawn(
            say, page, draft, str(asked.get("other") or ""), limit if isinstance(limit, int) else None, places
        )

    return gr.HTML(
        html_template=row_views.shell(),
        elem_id="row-view",
        js_on_load=script(),
        apply_default_css=False,
        server_functions=[rows],
        state="",
        losses="",
    )


def script() -> str:
    """What draws the rows and goes from one to the other."""
    return live.COPY + (ASSETS / "row_view.js").read_text(encoding="utf-8")


def state(say: Words, page: Page, draft: Draft, beside: Beside, found: preview.Overview | None = None) -> str:
    """What the browser has to know of the set and the settings; `found` once it is known."""
    if not draft.dataset:
        return json.dumps({"key": "", "total": 0, "numbers": [], "draft": {"dataset": ""}})
    config = form.sound(draft).config(page.store)
    shown = preview.shown(page.store, config)
    numbers = [conversation.row for conversation in shown.conversations if not conversation.source]
    hazards = preview.hazard_rows(found.findings, len(numbers)) if found else []
    told = {
        "key": key(say, config, beside.other),
        "settings": settings_key(config),
        "draft": replace(draft, run="").to_json(),
        "total": len(shown.conversations),
        "numbers": preview.ranges(numbers),
        "hazards": preview.ranges(sorted(set(hazards) & set(numbers))),
        "limit": found.max_length if found else config.train.max_length,
        "settled": found is not None,
        "other": beside.other,
        "loss": beside.loss,
        "run": beside.run,
        "run_note": _run_note(say, page, config, shown.tokenizer, beside),
        "words": row_views.labels(say),
    }
    return json.dumps(told)


def _run_note(say: Words, page: Page, config: RunConfig, tokenizer: Tokenizer, beside: Beside) -> str:
    """What is to be said of the run whose losses are looked at: that it was trained with another template."""
    if not (beside.loss and beside.run):
        return ""
    try:
        run = RunFiles(page.store.run_dir(beside.run))
        alike = preview.is_trained_alike(run, config.template, tokenizer)
    except StudioError:  # one's own template is being written, or the run was deleted: that is said elsewhere
        return ""
    return "" if alike else say("loss.other_template")


def key(say: Words, config: RunConfig, other: str) -> str:
    """Changes with all that a drawn row depends on."""
    return _digest(f"{say.language} {settings_key(config)} {other}")


def settings_key(config: RunConfig) -> str:
    """Changes with all that the figures of the whole set depend on."""
    return _digest(config.model_dump_json())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def drawn(
    say: Words, page: Page, draft: Draft, other: str, limit: int | None, places: Sequence[int]
) -> dict[str, row_views.Drawn]:
    """The rows at these places, counted from 1; those that are not there are left out, and those that take too long
    after the first.
    """
    config = form.sound(draft).config(page.store)
    shown = preview.shown(page.store, config)
    deadline = time.monotonic() + _PATIENCE
    found: dict[str, row_views.Drawn] = {}
    for place in places:
        if found and time.monotonic() > deadline:
            break
        if 1 <= place <= len(shown.conversations):
            found[str(place)] = _drawn(say, config, shown, other, limit, place)
    return found


def fed(page: Page, draft: Draft, limit: int | None, place: int) -> list[Encoded]:
    """The row at a place as a run is fed it. StudioError where it cannot be encoded."""
    config = form.sound(draft).config(page.store)
    shown = preview.shown(page.store, config)
    if not 1 <= place <= len(shown.conversations):
        return []
    return _fed(config, shown, config.template, limit, place)


def _fed(
    config: RunConfig, shown: preview.Shown, template: TemplateConfig, limit: int | None, place: int
) -> list[Encoded]:
    encoder = plan.todays_encoder(template, shown.tokenizer)
    conversation = shown.conversations[place - 1]
    return preview.fed(encoder, conversation, limit, config.data.overlong, shown.context)


def _drawn(
    say: Words, config: RunConfig, shown: preview.Shown, other: str, limit: int | None, place: int
) -> row_views.Drawn:
    conversation = shown.conversations[place - 1]
    number = 0 if conversation.source else conversation.row
    templates = [config.template]
    if other:
        templates.append(config.template.model_copy(update={"name": other}))
    sides = []
    for template in templates:
        title = say(f"template.name.{template.name}") if other else ""
        try:
            rows = _fed(config, shown, template, limit, place)
        except StudioError as error:
            # What is wrong with one's own template is said beneath it, while it is written.
            own = template.name == CUSTOM
            sides.append(row_views.failed(title, views.error(say, error), kept=own))
            continue
        notes = row_views.notes(
            say,
            rows,
            config.data.overlong,
            held_out=number in shown.held_out,
            mixed_in=bool(conversation.source),
        )
        sides.append(row_views.side(say, title, rows, frozenset(shown.tokenizer.special.values()), notes))
    position = say("template.position", place=views.count(place), total=views.count(len(shown.conversations)))
    return row_views.Drawn(number=number, position=position, sides=sides)
