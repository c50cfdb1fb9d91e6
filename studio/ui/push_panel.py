"""The part of the Export tab where a proven export of a run is pushed to a model repository of the hub."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.services import exports, pushing
from studio.ui import task_views, views
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page
from studio.ui.task_controls import TaskControls

if TYPE_CHECKING:
    from studio.services.tasks import TaskStatus

_PHASES = {"hashing": "push.hashing", "committing": "push.committing"}


def build(page: Page, run: gr.Dropdown, listed: gr.HTML, error: gr.HTML) -> None:
    """The panel for the run that `run` holds, whose exports `listed` shows."""
    with gr.Accordion(t("push.title"), open=False, visible=False, elem_id="push") as panel:
        gr.HTML(t("push.about"), elem_classes="muted small")
        with gr.Row(elem_classes="controls"):
            which = gr.Dropdown(label=t("push.export"), choices=[], elem_id="push-export")
            repo = gr.Textbox(
                label=t("push.repo"), placeholder="owner/name", max_lines=1, elem_id="push-repo"
            )
            token = gr.Textbox(label=t("push.token"), type="password", max_lines=1, elem_id="push-token")
        with gr.Row(elem_classes="controls"):
            private = gr.Checkbox(True, label=t("push.private"), elem_id="push-private")
            over = gr.Checkbox(False, label=t("push.over"), info=t("push.over.info"), elem_id="push-over")
        controls = TaskControls(page, "push", "push", t("push.start"), told_of)

    def offered(say: Words, draft: Draft, run_id: str | None, now: str | None) -> tuple[Any, ...]:
        found = exports.list_exports(page.store, run_id) if run_id else []
        proven = [item for item in found if item.state == "finished" and item.to != "script"]
        names = [item.name for item in proven]
        choices = [(f"{item.name} · {say(f'choice.export.to.{item.to}')}", item.name) for item in proven]
        value = now if now in names else next(iter(names), None)
        return gr.Accordion(visible=bool(names)), gr.Dropdown(choices=choices, value=value)

    def begun(
        say: Words,
        draft: Draft,
        run_id: str,
        name: str | None,
        repo: str,
        token: str,
        private: bool,
        over: bool,
    ) -> tuple[Any, ...]:
        folder = exports.status(page.store, run_id, name or "").files
        task = pushing.start(page.store, folder, repo, token, private=private, over=over)
        return "", *controls.watching(say, task)

    given = [run, which, repo, token, private, over]
    page.on_enter("export", offered, [panel, which], inputs=[run, which], error=error)
    page.on([run.change, listed.change], offered, [run, which], [panel, which], error=error)
    page.on(controls.start.click, begun, given, [token, *controls.outputs], error=error)
    controls.wire("export", error)


def told_of(say: Words, found: TaskStatus) -> str:
    """How far the push is, or how it ended."""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "stopped":
        return task_views.note(say("push.stopped"))
    if found.state == "finished" and found.result:
        done = found.result
        access = say("push.is_private" if done["private"] else "push.is_public")
        size = views.size(done["bytes"])
        text = say("push.done", files=done["files"], size=size, access=access, commit=done["commit"][:8])
        url = escape(str(done["url"]))
        return f'<p class="note" role="status">{escape(text)} <a href="{url}" rel="noopener">{url}</a></p>'
    if found.phase == "uploading" and found.total:
        sent, total = views.size(found.done), views.size(found.total)
        return task_views.progress(say, found, say("push.uploading", done=sent, total=total))
    return task_views.note(say(_PHASES.get(found.phase, "push.asking")))
