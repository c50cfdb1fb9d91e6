"""The part of the page that shows rows one after the other: what the browser is told, and the rows that it asks for.

The browser (assets/row_view.js) goes from row to row by itself and keeps the neighbours of the row that is shown, so
that the next one is there at once.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from studio.domain.chat import Conversation
from studio.domain.config import RunConfig, TemplateConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS
from studio.engine.templates import CUSTOM
from studio.engine.tokenizer import Tokenizer
from studio.services import apart, plan, preview
from studio.services.run_files import RunFiles
from studio.ui import form, live, row_views, views
from studio.ui.i18n import Words, language_of, words
from studio.ui.page import Draft, Page

NO_ROWS = json.dumps({"key": "", "total": 0, "numbers": [], "draft": {"dataset": ""}})
"""The state of a set whose rows are not there, or not yet."""
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
        server_functions=[page.asked(rows)],
        state="",
        losses="",
    )


def script() -> str:
    """What draws the rows and goes from one to the other."""
    return live.COPY + (ASSETS / "row_view.js").read_text(encoding="utf-8")


def state(say: Words, page: Page, draft: Draft, beside: Beside, found: preview.Overview | None = None) -> str:
    """What the browser has to know of the set and the settings; `found` once it is known."""
    if not draft.dataset:
        return NO_ROWS
    config = form.sound(draft).config(page.store)
    tokenizer, _ = preview.tokenizer_and_context(page.store, config)
    shown = apart.work(config, preview.outline, page.store, config)
    hazards = preview.hazard_rows(found.findings, shown.own) if found else []
    # While losses are looked at, the tuned model's stand where the other template's tokens would.
    other = "" if beside.loss else beside.other
    told = {
        "key": key(say, config, other),
        "settings": settings_key(config),
        "draft": replace(draft, run="").to_json(),
        "total": shown.total,
        "numbers": shown.numbers,
        "hazards": preview.ranges(row for row in hazards if preview.is_among(row, shown.numbers)),
        "limit": found.max_length if found else config.train.max_length,
        "settled": found is not None,
        "other": other,
        "loss": beside.loss,
        "run": beside.run,
        "run_note": " ".join(_loss_notes(say, page, config, tokenizer, beside)),
        "words": row_views.labels(say),
    }
    return json.dumps(told)


def _loss_notes(
    say: Words, page: Page, config: RunConfig, tokenizer: Tokenizer, beside: Beside
) -> Iterator[str]:
    """While losses are looked at: no other template stands beside, and a run may have been trained with another."""
    if beside.loss and beside.other:
        yield say("loss.no_other", other=say(f"template.name.{beside.other}"))
    if beside.loss and beside.run:
        try:
            run = RunFiles(page.store.run_dir(beside.run))
            alike = preview.is_trained_alike(run, config.template, tokenizer)
        except (
            StudioError
        ):  # one's own template is being written, or the run was deleted: that is said elsewhere
            return
        if not alike:
            yield say("loss.other_template")


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
    sight = _sight(page, draft, limit)
    total = apart.work(sight.config, preview.outline, page.store, sight.config).total
    rows = apart.work(sight.config, preview.rows_at, page.store, sight.config, places)
    deadline = time.monotonic() + _PATIENCE
    found: dict[str, row_views.Drawn] = {}
    for place, row in rows.items():
        if found and time.monotonic() > deadline:
            break
        position = say("template.position", place=views.count(place), total=views.count(total))
        found[str(place)] = _drawn(say, sight, row, other, position)
    return found


def fed(page: Page, draft: Draft, limit: int | None, place: int) -> list[Encoded]:
    """The row at a place as a run is fed it. StudioError where it cannot be encoded."""
    sight = _sight(page, draft, limit)
    rows = apart.work(sight.config, preview.rows_at, page.store, sight.config, [place])
    return _fed(sight, sight.config.template, rows[place].conversation) if rows else []


@dataclass(frozen=True)
class _Sight:
    """How rows are looked at."""

    config: RunConfig
    tokenizer: Tokenizer
    context: int
    """Tokens that the model can see."""
    limit: int | None
    """Tokens of a row at most, None: all."""


def _sight(page: Page, draft: Draft, limit: int | None) -> _Sight:
    config = form.sound(draft).config(page.store)
    return _Sight(config, *preview.tokenizer_and_context(page.store, config), limit)


def _fed(sight: _Sight, template: TemplateConfig, conversation: Conversation) -> list[Encoded]:
    encoder = plan.todays_encoder(template, sight.tokenizer)
    return preview.fed(encoder, conversation, sight.limit, sight.config.data.overlong, sight.context)


def _drawn(say: Words, sight: _Sight, row: preview.Row, other: str, position: str) -> row_views.Drawn:
    template, conversation = sight.config.template, row.conversation
    templates = [template, template.model_copy(update={"name": other})] if other else [template]
    sides = []
    for template in templates:
        title = say(f"template.name.{template.name}") if other else ""
        try:
            rows = _fed(sight, template, conversation)
        except StudioError as error:
            # What is wrong with one's own template is said beneath it, while it is written.
            own = template.name == CUSTOM
            sides.append(row_views.failed(title, views.error(say, error), kept=own))
            continue
        notes = row_views.notes(
            say,
            rows,
            sight.config.data.overlong,
            held_out=row.held_out,
            mixed_in=bool(conversation.source),
        )
        sides.append(row_views.side(say, title, rows, sight.tokenizer.controls, notes))
    number = 0 if conversation.source else conversation.row
    return row_views.Drawn(number=number, position=position, sides=sides)
