"""What takes room on the disk, and checkpoints that nothing needs any more: shown first, then removed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr

from studio.services import home_check
from studio.services.home_check import OldCheckpoints
from studio.ui import task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

DAYS = 30


def build(page: Page, error: gr.HTML) -> None:
    with gr.Accordion(t("room.title"), open=False, elem_id="room") as panel:
        taken = gr.HTML(elem_id="room-taken", min_height=80)
        gr.HTML(t("room.about"), elem_classes="muted small")
        with gr.Row(elem_classes="controls"):
            days = gr.Number(DAYS, label=t("room.days"), minimum=0, precision=0, elem_id="room-days")
        with gr.Row(elem_classes="actions"):
            look = gr.Button(t("room.look"), elem_id="room-look")
            remove = gr.Button(t("room.remove"), variant="stop", visible=False, elem_id="room-remove")
            keep = gr.Button(t("room.keep"), visible=False, elem_id="room-keep")
        told = gr.HTML(elem_id="room-told")
        shown = gr.State(list[str]())
    asked = [shown, look, remove, keep, told]

    def opened(say: Words, draft: Draft) -> str:
        return table(say, home_check.room(page.store))

    def looked(say: Words, draft: Draft, days: float | None) -> tuple[Any, ...]:
        """In the order of `asked`."""
        old = home_check.old_checkpoints(page.store, DAYS if days is None else days)
        return choice(say, old)

    def removed(say: Words, draft: Draft, days: float | None, shown: list[str]) -> tuple[Any, ...]:
        # What was shown goes, and nothing that has come since.
        old = home_check.old_checkpoints(page.store, DAYS if days is None else days)
        freed = home_check.remove_checkpoints([run for run in old if run.run in shown])
        said = task_views.note(say("room.removed", size=views.size(freed)))
        return (table(say, home_check.room(page.store)), *over(), said)

    def kept(say: Words, draft: Draft) -> tuple[Any, ...]:
        return (*over(), "")

    page.on(panel.expand, opened, [], [taken], error=error)
    page.on(look.click, looked, [days], asked, error=error)
    page.on(remove.click, removed, [days, shown], [taken, *asked], error=error)
    page.on(keep.click, kept, [], asked, error=error)
    page.on(days.change, kept, [], asked, error=error)


def choice(say: Words, old: list[OldCheckpoints]) -> tuple[Any, ...]:
    """What would be removed, and whether it shall be."""
    if not old:
        return (*over(), task_views.note(say("room.none")))
    lines = "".join(
        f'<tr><td>{escape(run.run)}</td><td class="num">{len(run.folders)}</td>'
        f'<td class="num">{views.size(run.bytes)}</td></tr>'
        for run in old
    )
    total = views.size(sum(run.bytes for run in old))
    heads = [say(f"room.{head}") for head in ("run", "checkpoints", "size")]
    told = f"<p>{escape(say('room.ask', size=total))}</p>" + views.table(heads, lines)
    buttons = (gr.Button(visible=False), gr.Button(visible=True), gr.Button(visible=True))
    return ([run.run for run in old], *buttons, told)


def over() -> tuple[Any, ...]:
    """Nothing is asked any more."""
    return ([], gr.Button(visible=True), gr.Button(visible=False), gr.Button(visible=False))


def table(say: Words, room: Mapping[str, int]) -> str:
    """The parts that take room, the largest first, and their sum."""
    parts = sorted(((size, part) for part, size in room.items() if size), reverse=True)
    lines = "".join(
        f'<tr><td>{escape(say(f"room.part.{part}"))}</td><td class="num">{views.size(size)}</td></tr>'
        for size, part in parts
    )
    total = views.size(sum(room.values()))
    lines += f'<tr><td><b>{escape(say("room.total"))}</b></td><td class="num"><b>{total}</b></td></tr>'
    return views.table([say("room.what"), say("room.size")], lines)
