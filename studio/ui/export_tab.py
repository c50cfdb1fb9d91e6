"""Export: a finished run as a folder that plain transformers loads, with the proof that it answers as the chat did."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.config import ExportConfig, Setting, describe
from studio.domain.run import Run
from studio.engine import models
from studio.engine.model_files import read_header
from studio.ui import export_views, push_panel, run_views, serve_panel, views
from studio.ui.i18n import Words, t
from studio.ui.live import LIVE
from studio.ui.page import Draft, Page
from studio.ui.training_tab import LOOKED
from studio.ui.usable_runs import usable

if TYPE_CHECKING:
    from studio.engine.tuned import TunedRun

EVERY = 1.0


def export_settings() -> list[Setting]:
    return [describe("export", name, info) for name, info in ExportConfig.model_fields.items()]


def build(page: Page) -> None:
    with page.tab("export"):
        error = page.error_box()
        empty = gr.HTML(elem_id="export-empty", visible=False)
        with gr.Column(elem_classes="surface", elem_id="export-new", visible=False) as new:
            run = gr.Dropdown(label=t("chat.run"), choices=[], elem_id="export-run", elem_classes="run-pick")
            fields = [_widget(setting) for setting in export_settings()]
            need = gr.HTML(elem_id="export-needs", min_height=44)
            with gr.Row(elem_classes="actions"):
                start = gr.Button(t("export.start"), variant="primary", elem_id="export-start")
        serve_panel.build(page, run, error)
        listed = gr.HTML(elem_id="exports", js_on_load=LIVE)
        push_panel.build(page, run, listed, error)
        timer = gr.Timer(EVERY, active=False)
        before = gr.State({})
        deleting = gr.State("")
        looked = gr.JSON(visible=False)
    outputs = [before, listed, timer]
    whole = [page.draft, empty, new, run, *fields, need, deleting, *outputs]

    def drawn(say: Words, run_id: str, doomed: str, last: Mapping[str, Any]) -> tuple[Any, ...]:
        """The exports of a run, where they differ from what stands there."""
        from studio.services import exports

        found = exports.list_exports(page.store, run_id)
        now: dict[str, dict[str, Any]] = {
            "listed": {"value": export_views.exports(say, run_id, found, doomed)},
            "timer": {"active": any(status.state == "running" for status in found)},
        }
        return (
            now,
            *(gr.update(**value) if value != last.get(name) else gr.skip() for name, value in now.items()),
        )

    def opened(
        say: Words, draft: Draft, run_id: str, last: Mapping[str, Any], given: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        runs = usable(page)
        if not runs:
            text = views.empty(say("export.none"), say("export.none.next"))
            return (
                gr.skip(),
                gr.HTML(text, visible=True),
                gr.Column(visible=False),
                *[gr.skip()] * (6 + len(fields)),
            )
        chosen = next((r for r in runs if r.id == run_id), runs[0])
        config = _possible(chosen, _config(given))
        return (
            replace(draft, run=chosen.id),
            gr.HTML(visible=False),
            gr.Column(visible=True),
            gr.Dropdown(choices=[run_views.choice(r) for r in runs], value=chosen.id),
            gr.Radio(value=config.to, choices=_targets(say, chosen)),
            *_shown(config, chosen),
            needed(say, page, chosen.id, config),
            "",
            *drawn(say, chosen.id, "", last),
        )

    def enter(say: Words, draft: Draft, last: dict[str, Any], *given: Any) -> tuple[Any, ...]:
        return opened(say, draft, draft.run, last, given)

    def picked(say: Words, draft: Draft, last: dict[str, Any], run_id: str, *given: Any) -> tuple[Any, ...]:
        return opened(say, draft, run_id, last, given)

    def changed(say: Words, draft: Draft, run_id: str, *given: Any) -> tuple[Any, ...]:
        run = page.jobs.get(run_id)
        config = _possible(run, _config(given))
        return (*_shown(config, run), needed(say, page, run_id, config))

    def started(say: Words, draft: Draft, last: dict[str, Any], run_id: str, *given: Any) -> tuple[Any, ...]:
        from studio.services import exports

        exports.start(page.store, run_id, _possible(page.jobs.get(run_id), _config(given)))
        return drawn(say, run_id, "", last)

    def tick(
        say: Words, draft: Draft, last: dict[str, Any], looked: dict[str, bool], run_id: str, doomed: str
    ) -> tuple[Any, ...]:
        if not looked["tab"]:
            return ({**last, "timer": {"active": False}}, gr.skip(), gr.Timer(active=False))
        return drawn(say, run_id, doomed, last)

    def done(
        say: Words, draft: Draft, event: gr.EventData, last: dict[str, Any], run_id: str
    ) -> tuple[Any, ...]:
        from studio.services import exports

        name, what = str(event._data.get("export")), event._data.get("do")
        if what == "delete-yes":
            exports.delete(page.store, run_id, name)
        doomed = name if what == "delete" else ""
        return (doomed, *drawn(say, run_id, doomed, last))

    page.on_enter("export", enter, whole, inputs=[before, *fields], error=error)
    page.on(run.input, picked, [before, run, *fields], whole, error=error)
    page.on(
        [field.input for field in fields],
        changed,
        [run, *fields],
        [*fields[1:], need],
        error=error,
        latest=True,
    )
    page.on(start.click, started, [before, run, *fields], outputs, error=error)
    page.on(
        timer.tick,
        tick,
        [before, looked, run, deleting],
        outputs,
        error=error,
        js=LOOKED.replace("_) =>", "_, run, doomed) =>").replace("}]", "}, run, doomed]") % "export",
    )
    page.on(listed.click, done, [before, run], [deleting, *outputs], error=error, event=True)


def _widget(setting: Setting) -> gr.Radio:
    """Every setting of an export is a choice."""
    return gr.Radio(
        [(t(f"choice.{setting.key}.{choice}"), choice) for choice in setting.choices],
        value=setting.default,
        label=t(f"setting.{setting.key}.label"),
        info=t(f"setting.{setting.key}.help"),
        visible=_does_something(setting, ExportConfig(), "lora"),
        elem_id=f"set-{setting.key.replace('.', '-')}",
    )


def _targets(say: Words, run: Run) -> list[tuple[str, str]]:
    """Full tuning leaves no adapter to export."""
    setting = export_settings()[0]
    possible = [to for to in setting.choices if not (to == "adapter" and run.method == "full")]
    return [(say(f"choice.{setting.key}.{to}"), to) for to in possible]


def _shown(config: ExportConfig, run: Run) -> list[Any]:
    """All settings but the target are for some targets alone."""
    return [
        gr.update(visible=_does_something(setting, config, run.method)) for setting in export_settings()[1:]
    ]


def _does_something(setting: Setting, config: ExportConfig, method: str) -> bool:
    if setting.name == "into" and method != "qlora":
        return False  # only a base of 4 bits is another one than the original
    return setting.only_with is None or config.to in setting.only_with[1]


def _config(given: tuple[Any, ...]) -> ExportConfig:
    return ExportConfig(
        **{setting.name: value for setting, value in zip(export_settings(), given, strict=True)}
    )


def _possible(run: Run, config: ExportConfig) -> ExportConfig:
    """Without what the run's method has no use for."""
    values: dict[str, Any] = {}
    if run.method == "full" and config.to == "adapter":
        values["to"] = "merged"
    if run.method != "qlora":
        values["into"] = ExportConfig().into
    return config.model_copy(update=values)


def needed(say: Words, page: Page, run_id: str, config: ExportConfig) -> str:
    from studio.services.trained import read_trained

    files = page.jobs.files(run_id)
    run = read_trained(files)
    both = run.four_bit and config.to in ("merged", "gguf") and config.into == "closer"
    return export_views.needs(say, expected_bytes(run, config), shutil.disk_usage(files.folder).free, both)


def expected_bytes(run: TunedRun, config: ExportConfig) -> int:
    """Size of the weights to be written."""
    if config.to == "script":
        return sum(file.stat().st_size for file in run.weights.glob("*.safetensors"))
    if config.to != "adapter" or run.full:
        weights = models.inspect(run.model_path, run.config.model.id).parameters
    else:
        weights = sum(
            tensor.size for file in run.weights.glob("*.safetensors") for tensor in read_header(file).values()
        )
    return round(weights * export_views.WIDTHS[config.precision])
