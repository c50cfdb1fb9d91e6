"""The buttons, the line that says how far it is, and the timer of a panel whose work is one task in the background."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.services import tasks
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.services.tasks import Kind, TaskStatus

EVERY = 1.0


class TaskControls:
    """Built where the buttons are to stand; a task that is at work goes on being watched on a page loaded anew."""

    def __init__(
        self, page: Page, name: str, kind: Kind, start: str, told_of: Callable[[Words, TaskStatus], str]
    ) -> None:
        """`name` is that of the elements, `kind` the task's, `start` what the button says; `told_of` says how far a
        task is."""
        self._page, self._kind, self._told_of = page, kind, told_of
        with gr.Row(elem_classes="actions"):
            self.start = gr.Button(start, elem_id=f"{name}-start")
            self._cancel = gr.Button(t("source.cancel"), visible=False, elem_id=f"{name}-cancel")
        self._told = gr.HTML(elem_id=f"{name}-told")
        self._task = gr.State("")
        self._timer = gr.Timer(EVERY, active=False)
        self.outputs = [self._task, self.start, self._cancel, self._told, self._timer]

    def watching(self, say: Words, task: str) -> tuple[Any, ...]:
        """In the order of `outputs`."""
        found = tasks.known(self._page.store, task)
        busy = found is not None and found.state == "running"
        return (
            task,
            gr.Button(visible=not busy),
            gr.Button(visible=busy),
            self._told_of(say, found) if found else "",
            gr.Timer(active=busy),
        )

    def wire(self, tab: str, error: gr.HTML, came: Mapping[str, gr.State] | None = None) -> None:
        """`came`: states that are given what the task's result has under their names, once it has ended well."""
        told = came or {}

        def ticked(say: Words, draft: Draft, task: str) -> tuple[Any, ...]:
            found = tasks.status(self._page.store, task)
            done = found.result if found.state == "finished" else None
            return (*[done[name] if done else gr.skip() for name in told], *self.watching(say, task))

        def ended(say: Words, draft: Draft, task: str) -> tuple[Any, ...]:
            if task:
                tasks.cancel(self._page.store, task)
            return self.watching(say, task)

        def entered(say: Words, draft: Draft, task: str) -> tuple[Any, ...]:
            found = tasks.running(self._page.store, self._kind)
            return self.watching(say, found.id if found else task)

        page = self._page
        page.on_enter(tab, entered, self.outputs, inputs=[self._task], error=error)
        page.on(self._timer.tick, ticked, [self._task], [*told.values(), *self.outputs], error=error)
        page.on(self._cancel.click, ended, [self._task], self.outputs, error=error)
