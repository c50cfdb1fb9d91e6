"""Data: choose a file, see how it is read, and what is wrong with it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import gradio as gr

from studio.domain.chat import Conversation
from studio.domain.config import Format, Overlong, TemplateConfig
from studio.domain.errors import StudioError
from studio.domain.finding import Finding
from studio.engine.checks import Report, run_checks
from studio.engine.dataset import Dataset, read
from studio.engine.integrity import known_sha256
from studio.engine.readers import Quarantined
from studio.engine.rows import numbered, position_of
from studio.engine.similarity_map import SimilarityMap, similarity_map
from studio.engine.sources import SourceFile
from studio.engine.spread import Spread, Spreading
from studio.services import difficulty, history, mappings, surveys, uploads
from studio.services.plan import sampled_token_report
from studio.services.quarantine import write_quarantined
from studio.services.reports import Subject, write_report
from studio.ui import (
    data_views,
    dataset_choices,
    difficulty_panel,
    modes,
    reading_panel,
    repair_panel,
    row_editing,
    samples,
    selection_panel,
    source_panel,
    spread_views,
    step_views,
    survey_panel,
    views,
)
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page
from studio.ui.row_editing import Editing
from studio.ui.template_controls import LENGTH, OVERLONG

if TYPE_CHECKING:
    from studio.services.store import DatasetEntry, Store

PAGE_ROWS = 20
_MOVES = {"filter", "row", "page", "edit"}
"""What a click that leads to another place in the table says."""
REPORTS = ("html", "json")
PARTS = ("prompt", "response", "system", "input")


@dataclass(frozen=True)
class Place:
    """Where in the table a person is: the page, the number of the row that stands open (0: none), and the check whose
    rows alone are shown (empty: all rows)."""

    page: int = 1
    open: int = 0
    check: str = ""
    editing: Editing | None = None
    """The row that is being edited."""


@dataclass(frozen=True)
class Examined:
    """A dataset that was read and checked."""

    dataset: Dataset
    report: Report


def build(page: Page) -> None:
    with page.tab("data"):
        error = page.error_box()
        with gr.Column(elem_classes="surface", elem_id="pick"):
            pick = gr.HTML(elem_id="samples", js_on_load=views.CLICKS, min_height=124)
            with gr.Row(elem_classes="pick-row"):
                upload = gr.File(
                    label=t("data.upload"),
                    show_label=False,
                    height=104,
                    elem_id="upload",
                    file_count="multiple",
                )
                earlier = gr.Dropdown(
                    label=t("data.earlier"), choices=[], value=None, elem_id="earlier", visible=False
                )
            fetched = source_panel.build(page, error)
            forget = gr.HTML(elem_id="forget", js_on_load=views.CLICKS)
        summary = gr.HTML(elem_id="data-summary", min_height=96)
        changed = gr.State("")  # another value with each step, and with each finding that comes later
        survey_panel.build(page, error, changed)
        with gr.Row(elem_classes="actions", visible=False) as actions:
            train = gr.Button(t("data.train"), variant="primary", elem_id="train-recommended")
            gr.HTML(t("data.train.note"), elem_classes="muted small")
        with gr.Accordion(
            t("data.mapping"), open=False, visible=False, elem_id="mapping", elem_classes="surface"
        ) as mapping:
            form = gr.Dropdown(label=t("data.format"), choices=_formats(), value="auto", elem_id="format")
            with gr.Row(visible=False) as parts_row:
                parts = [
                    gr.Dropdown(label=t(f"data.part.{part}"), choices=[], elem_id=f"part-{part}")
                    for part in PARTS
                ]
            outer = reading_panel.build()
            preview = gr.HTML()
        modes.build(page, error, changed)
        rows = gr.HTML(elem_id="rows", js_on_load=row_editing.CLICKS)
        findings = gr.HTML(elem_id="findings", js_on_load=views.CLICKS)
        repair_panel.build(page, error, partial(_examined, page), findings, changed)
        difficulty_panel.build(page, error, changed)
        with gr.Accordion(
            t("spread.title"), open=False, visible=False, elem_id="inside", elem_classes="surface"
        ) as inside:
            overview = gr.HTML(js_on_load=views.CLICKS)
        selection = selection_panel.build(
            page, error, partial(_examined, page), partial(_looked_inside, page), changed
        )
        with gr.Row(elem_classes="actions", elem_id="repair-row"):
            download = gr.DownloadButton(t("data.download"), visible=False, elem_id="download-cleaned")
            set_aside = gr.DownloadButton(
                t("quarantine.download"), visible=False, elem_id="download-quarantined"
            )
            report_files = [
                gr.DownloadButton(t(f"data.report.{kind}"), visible=False, elem_id=f"report-{kind}")
                for kind in REPORTS
            ]
        steps = gr.HTML(elem_id="steps", js_on_load=views.CLICKS)
        page.next_button("template")
        place = gr.State(Place())
        entered_with = gr.State(("", 0))  # the dataset that the tab was entered with, and when

    shown = [
        summary,
        actions,
        mapping,
        form,
        parts_row,
        *parts,
        *outer,
        preview,
        rows,
        findings,
        inside,
        overview,
        download,
        set_aside,
        *report_files,
        steps,
    ]
    choice = [pick, earlier, forget]
    whole = [page.draft, place, *choice, *shown]

    def everything(say: Words, draft: Draft, at: Place) -> tuple[Any, ...]:
        return (draft, at, *_choices(page, say, draft), *_shown(page, say, draft, at))

    def enter(say: Words, draft: Draft, at: Place) -> Iterator[tuple[Any, ...]]:
        yield (gr.skip(), *_choices(page, say, draft), *[gr.skip()] * len(shown))
        now = draft.dataset, time.monotonic_ns()
        yield (now, *_choices(page, say, draft), *_shown(page, say, draft, at))

    def caught_up(say: Words, draft: Draft, drawn: tuple[str, int]) -> tuple[Any, ...]:
        """Who chose a dataset just as the tab was entered must not see what was there before."""
        if drawn[0] == draft.dataset:
            return tuple([gr.skip()] * (len(whole) - 1))
        return everything(say, draft, Place())[1:]

    def uploaded(say: Words, draft: Draft, paths: list[str] | None) -> tuple[Any, ...]:
        if not paths:
            return tuple([gr.skip()] * len(whole))
        entry = uploads.keep(page.store, [SourceFile(Path(path), Path(path).name) for path in paths])
        return everything(say, _mapped_before(page.store, with_dataset(draft, entry.id), entry), Place())

    def picked(say: Words, draft: Draft, event: gr.EventData) -> tuple[Any, ...]:
        chosen = samples.sample(str(event._data.get("sample")))
        entry = samples.keep(chosen, page.store)
        return everything(say, with_dataset(draft, entry.id, chosen.held_out_key), Place())

    def earlier_one(say: Words, draft: Draft, dataset: str | None) -> tuple[Any, ...]:
        if dataset in page.store.damaged_datasets():
            return only_forget(data_views.forget(say, dataset, dataset, damaged=True))
        return everything(say, with_dataset(draft, page.store.dataset(dataset or "").id), Place())

    def only_forget(html: str) -> tuple[Any, ...]:
        return tuple(html if output is forget else gr.skip() for output in whole)

    def forgotten(say: Words, draft: Draft, event: gr.EventData) -> tuple[Any, ...]:
        dataset, what = str(event._data.get("dataset")), event._data.get("do")
        if what == "delete-yes":
            page.store.delete_dataset(dataset)
            surveys.sweep(page.store)
            return everything(say, without(draft, dataset), Place())
        return only_forget(_forget(page, say, dataset, asking=what == "delete"))

    def mapped(say: Words, draft: Draft, form: str, *columns: str | None) -> tuple[Any, ...]:
        chosen = {part: column for part, column in zip(PARTS, columns, strict=True) if column}
        draft = draft.with_value("data.format", None if form == "auto" else form)
        draft = draft.with_value("data.columns", chosen if form == "columns" and chosen else None)
        answer = (draft, *_shown(page, say, draft, Place()))
        if form == "columns" and {"prompt", "response"} <= chosen.keys():
            entry = page.store.dataset(draft.dataset)
            columns = uploads.glance(entry.path, draft.reading(entry)[2]).columns
            mappings.remember(page.store, columns, chosen)
        return answer

    def read_otherwise(say: Words, draft: Draft, *values: str | None) -> tuple[Any, ...]:
        draft = reading_panel.said(draft, values)
        return (draft, *_shown(page, say, draft, Place()))

    def turned(say: Words, draft: Draft, event: gr.EventData, at: Place) -> tuple[Any, ...]:
        examined = examine(page.store, draft)
        if "do" in event._data and at.editing:
            at = _edited(page.store, examined, at, event._data)
        elif event._data.keys() & _MOVES:
            at = _moved(examined, at, event._data)
            at = _opened(page.store, draft, examined, at, event._data)
        else:
            return gr.skip(), gr.skip(), gr.skip()
        now = str(page.store.dataset(draft.dataset).path)
        unchanged = now == str(examined.dataset.path)
        return at, _rows(say, examined, at) if unchanged else gr.skip(), gr.skip() if unchanged else now

    def looked_inside(say: Words, draft: Draft) -> Iterator[tuple[str]]:
        yield (spread_views.waiting(say),)
        rows = len(examine(page.store, draft).dataset.conversations)
        yield (spread_views.overview_html(say, *look_inside(page.store, draft), rows),)

    def refreshed(say: Words, draft: Draft, at: Place) -> tuple[Any, ...]:
        at = at if at.open else Place()
        return (at, *_shown(page, say, draft, at))

    def undone(say: Words, draft: Draft, event: gr.EventData) -> tuple[Any, ...]:
        which = str(event._data.get("undo", ""))
        if which == "all":
            page.store.revert_dataset(draft.dataset)
        elif which.isdigit():
            history.undo(page.store, draft.dataset, int(which))
        return str(page.store.dataset(draft.dataset).path), Place()

    def started(say: Words, draft: Draft) -> tuple[Any, ...]:
        kept = {
            key: value for key, value in draft.values.items() if not key.startswith(("train.", "evaluate."))
        }
        return replace(draft, run=page.start(replace(draft, values=kept)).run), page.show("training")

    entered = page.on_enter("data", enter, [entered_with, *choice, *shown], inputs=[place], error=error)
    page.on(entered_with.change, caught_up, [entered_with], whole[1:], error=error)
    # Who is quicker than the page must not see it go back to what it was when it began to load.
    overtaken = [entered]
    read_in = page.on(upload.upload, uploaded, [upload], whole, error=error, cancels=overtaken)
    # The field is emptied whatever came of it, so that the next file can be dropped there.
    read_in.then(lambda: None, None, upload, api_visibility="private", show_progress="hidden")
    page.on(pick.click, picked, [], whole, error=error, event=True, cancels=overtaken)
    page.on(earlier.input, earlier_one, [earlier], whole, error=error, cancels=overtaken)
    page.on(forget.click, forgotten, [], whole, error=error, event=True, cancels=overtaken)
    page.on(
        [form.input, *(part.input for part in parts)],
        mapped,
        [form, *parts],
        [page.draft, *shown],
        error=error,
    )
    page.on([field.input for field in outer], read_otherwise, outer, [page.draft, *shown], error=error)
    page.on(fetched.change, earlier_one, [fetched], whole, error=error, cancels=overtaken)
    clicked = [rows.click, findings.click, overview.click, selection.click]
    page.on(clicked, turned, [place], [place, rows, changed], error=error, event=True)
    page.on(inside.expand, looked_inside, [], [overview], error=error)
    page.on(changed.change, refreshed, [place], [place, *shown], error=error)
    page.on(steps.click, undone, [], [changed, place], error=error, event=True)
    page.on(train.click, started, [], [page.draft, page.tabs], error=error)


def _examined(page: Page, draft: Draft) -> Examined:
    return examine(page.store, draft)


def _looked_inside(page: Page, draft: Draft) -> tuple[Spreading, SimilarityMap]:
    return look_inside(page.store, draft)


def _formats() -> list[tuple[Any, str]]:
    return [(t(f"format.{name}"), name) for name in get_args(Format)]


def with_dataset(draft: Draft, dataset: str, held_out: str = "") -> Draft:
    """The draft with another dataset: what was said about the columns of the last one does not hold for it."""
    about_file = ("data.format", "data.columns", "data.read_as")
    values = {key: value for key, value in draft.values.items() if key not in about_file}
    general = "" if draft.general == dataset else draft.general
    return replace(draft, dataset=dataset, held_out=held_out, general=general, values=values, row=1)


def without(draft: Draft, dataset: str) -> Draft:
    """The draft once a dataset is deleted, which it may name as its rows or as those to measure on."""
    draft = replace(draft, general="") if draft.general == dataset else draft
    if draft.dataset == dataset:
        return with_dataset(draft, "")
    return replace(draft, held_out="") if draft.held_out == dataset else draft


def _mapped_before(store: Store, draft: Draft, entry: DatasetEntry) -> Draft:
    """The draft with the mapping that was made for a file of the same columns, where this one needs one."""
    seen = uploads.glance(entry.path, entry.read_as)
    mapping = None if seen.recognised else mappings.remembered(store, seen.columns)
    if mapping is None:
        return draft
    return draft.with_value("data.format", "columns").with_value("data.columns", mapping)


def _choices(page: Page, say: Words, draft: Draft) -> tuple[Any, Any, str]:
    """The samples, the datasets of before, and how to delete the one in use."""
    entries = page.store.datasets()
    choices = dataset_choices.named(entries)
    choices += [(say("data.damaged.choice", dataset=name), name) for name in page.store.damaged_datasets()]
    known = draft.dataset if any(entry.id == draft.dataset for entry in entries) else None
    chosen = page.store.dataset(known) if known else None
    return (
        data_views.samples(say, samples.samples(), chosen.name if chosen else ""),
        gr.Dropdown(choices=choices, value=known, visible=bool(choices)),
        data_views.forget(say, chosen.id, chosen.name) if chosen else "",
    )


def _forget(page: Page, say: Words, dataset: str, asking: bool) -> str:
    damaged = dataset in page.store.damaged_datasets()
    name = dataset if damaged else page.store.dataset(dataset).name
    return data_views.forget(say, dataset, name, damaged, asking)


def _shown(page: Page, say: Words, draft: Draft, at: Place) -> tuple[Any, ...]:
    """All that stands below the choice of a file, in the order of `shown`."""
    if not draft.dataset:
        return (
            views.empty(say("data.empty"), say("data.empty.next")),
            gr.Row(visible=False),
            gr.Accordion(visible=False),
            gr.skip(),
            gr.skip(),
            *[gr.skip()] * len(PARTS),
            *reading_panel.hidden(),
            "",
            "",
            "",
            *_folded(visible=False),
            *[gr.DownloadButton(visible=False)] * (2 + len(REPORTS)),
            "",
        )
    entry = page.store.dataset(draft.dataset)
    try:
        examined = examine(page.store, draft)
    except surveys.Unsurveyed:
        return _unread(say, draft, entry, checking=True, steps=_steps(page.store, say, entry.id))
    except StudioError:
        # Whatever is wrong with a file was said when it was uploaded; what is left is a mapping that is not complete.
        form, _, read_as = draft.reading(entry)
        if form != "columns" and uploads.glance(entry.path, read_as).recognised:
            raise
        return _unread(say, draft, entry)
    report, dataset = examined.report, examined.dataset
    return (
        data_views.summary(say, entry, dataset, report, _format(entry, dataset)),
        gr.Row(visible=True),
        gr.Accordion(visible=not entry.cleaned, open=draft.values.get("data.format") == "columns"),
        *_mapping(draft, [str(column) for column in dataset.columns]),
        *reading_panel.shown(say, draft, entry),
        data_views.conversation(say, dataset.conversations[0]),
        _rows(say, examined, at),
        data_views.quarantine(say, dataset.quarantined) + data_views.findings(say, report, dataset.findings),
        *_folded(visible=True),
        gr.DownloadButton(visible=entry.cleaned, value=_offered(page, entry)),
        _set_aside(page, say, entry, dataset.quarantined),
        *[gr.DownloadButton(visible=True, value=file) for file in _reports(page, entry, examined)],
        _steps(page.store, say, entry.id),
    )


def _steps(store: Store, say: Words, dataset: str) -> str:
    taken = history.taken(store, dataset, step_views.SHOWN)
    return step_views.steps(say, taken, history.history(store, dataset).unusable)


def _folded(visible: bool) -> tuple[Any, str]:
    """What is in the file is looked at when it is unfolded: that takes seconds, which the rows need not wait for."""
    return gr.Accordion(visible=visible, open=False), ""


def _offered(page: Page, entry: DatasetEntry) -> str | None:
    return page.offer(entry.path, f"{Path(entry.name).stem}-changed.jsonl") if entry.cleaned else None


def _set_aside(
    page: Page, say: Words, entry: DatasetEntry, records: Sequence[Quarantined]
) -> gr.DownloadButton:
    """The records that cannot be read, as a file to download."""
    if not records:
        return gr.DownloadButton(visible=False)
    file = page.downloads(entry.original.parent) / f"{Path(entry.name).stem[:80]}-unread.jsonl"
    write_quarantined(file, records, say.text)
    return gr.DownloadButton(visible=True, value=str(file))


def _reports(page: Page, entry: DatasetEntry, examined: Examined) -> list[str]:
    """The report of the checklist as files to download."""
    folder = page.downloads(entry.original.parent)
    files = [folder / f"{Path(entry.name).stem[:80]}-report.{kind}" for kind in REPORTS]
    taken = history.taken(page.store, entry.id)
    form = _format(entry, examined.dataset)
    repaired = known_sha256(entry.path) if entry.cleaned else ""
    subject = Subject(entry.name, form, known_sha256(entry.original), repaired)
    for file in files:
        write_report(file, subject, examined.report, taken)
    return [str(file) for file in files]


def _format(entry: DatasetEntry, dataset: Dataset) -> str:
    """That of the file that was uploaded: repaired rows are written as messages."""
    return uploads.glance(entry.original, entry.read_as).format if entry.cleaned else dataset.format


def _unread(
    say: Words, draft: Draft, entry: DatasetEntry, checking: bool = False, steps: str = ""
) -> tuple[Any, ...]:
    """The first rows of a file that is being checked, or is not understood: then it is asked which column is which."""
    seen = uploads.glance(entry.path, draft.reading(entry)[2])
    columns, records = list(seen.columns), seen.records
    chosen = draft.values.get("data.format") or ("auto" if checking else "columns")
    return (
        data_views.checking(say, entry) if checking else data_views.unmapped(say, entry, columns),
        gr.Row(visible=False),
        gr.Accordion(visible=not entry.cleaned, open=not checking),
        *_mapping(draft.with_value("data.format", chosen), columns),
        *reading_panel.shown(say, draft, entry),
        "",
        data_views.raw_rows(
            say, columns, [record.value for record in records], [record.row for record in records]
        ),
        "",
        *_folded(visible=False),
        *[gr.DownloadButton(visible=False)] * (2 + len(REPORTS)),
        steps,
    )


def _mapping(draft: Draft, columns: list[str]) -> tuple[Any, ...]:
    """The format and one dropdown for each part of a conversation."""
    form = draft.values.get("data.format") or "auto"
    chosen = draft.values.get("data.columns") or {}
    dropdowns = []
    for part in PARTS:
        choices = (
            columns if part in ("prompt", "response") else [("—", ""), *((name, name) for name in columns)]
        )
        value = chosen.get(part) if chosen.get(part) in columns else None
        dropdowns.append(gr.Dropdown(choices=choices, value=value))
    return gr.Dropdown(value=form), gr.Row(visible=form == "columns"), *dropdowns


def _rows(say: Words, examined: Examined, at: Place) -> str:
    shown = _filtered(examined, at.check)
    return data_views.rows(
        say,
        shown,
        examined.report,
        at.page,
        at.open,
        PAGE_ROWS,
        at.check,
        at.editing,
        examined.dataset.sources,
    )


def _filtered(examined: Examined, check: str) -> Sequence[Conversation]:
    """The rows that a check found, or all."""
    rows = examined.dataset.conversations
    if not check:
        return rows
    found = {row for finding in examined.report.findings if finding.check == check for row in finding.rows}
    return numbered(rows, found)


def _moved(examined: Examined, at: Place, data: dict[str, Any]) -> Place:
    """The place that a click in the table or on a row number leads to."""
    if "filter" in data:
        known = {finding.check for finding in examined.report.findings}
        return Place(check=str(data["filter"]) if data["filter"] in known else "")
    if "row" in data and str(data["row"]).isdigit():
        check = str(data.get("check", ""))
        position = position_of(_filtered(examined, check), int(data["row"]))
        if position is not None:
            return Place(position // PAGE_ROWS + 1, int(data["row"]), check)
    if "page" in data and str(data["page"]).isdigit():
        pages = max(1, -(-len(_filtered(examined, at.check)) // PAGE_ROWS))
        return Place(min(max(1, int(data["page"])), pages), check=at.check)
    return at


def _opened(store: Store, draft: Draft, examined: Examined, at: Place, data: dict[str, Any]) -> Place:
    """The place with a row as a form, where its button was clicked."""
    if not str(data.get("edit", "")).isdigit():
        return at
    position = position_of(examined.dataset.conversations, int(data["edit"]))
    if position is None:
        return at
    row = examined.dataset.conversations[position]
    seen = str(data.get("seen", ""))
    return replace(at, open=row.row, editing=row_editing.opened(store.dataset(draft.dataset), row, seen))


def _edited(store: Store, examined: Examined, at: Place, data: dict[str, Any]) -> Place:
    """The place after a click in the form; what keeps a row from being saved is said in it."""
    assert at.editing
    if data["do"] == "cancel":
        return replace(at, editing=None)
    editing = at.editing.filled(data.get("fields") or {})
    try:
        if data["do"] == "save":
            return replace(at, open=row_editing.save(store, examined, editing), editing=None)
        if data["do"] == "drop":
            row_editing.leave_out(store, examined, editing)
            return Place()
    except StudioError as wrong:
        return replace(at, editing=replace(editing, wrong=wrong))
    return replace(at, editing=row_editing.answered(editing, data))


def examine(store: Store, draft: Draft) -> Examined:
    """The draft's dataset, read and checked once for as long as file and mapping stay the same."""
    return _examine(_file(store, draft), _measured(store, draft))


def look_inside(store: Store, draft: Draft) -> tuple[Spreading, SimilarityMap]:
    """What the draft's dataset is like as a whole, and the map of its rows; looked at once like it."""
    return _look_inside(_file(store, draft))


class _File(NamedTuple):
    """All that it depends on what is read and what the checklist finds."""

    path: Path
    changed: int
    size: int
    format: str
    how: str
    """Mapping and `read_as` as JSON."""
    store: Store


class _Measured(NamedTuple):
    """What else is told of the rows: of their tokens, and of a model's losses."""

    model: str | None
    tokens: str
    """Template, maximum length and what becomes of longer rows, as JSON."""
    entry: str
    difficulty: int
    """When that was measured; 0: never."""


def _file(store: Store, draft: Draft) -> _File:
    entry = store.dataset(draft.dataset)
    form, columns, read_as = draft.reading(entry)
    stat = entry.path.stat()
    how = json.dumps([columns, read_as], sort_keys=True)
    return _File(entry.path, stat.st_mtime_ns, stat.st_size, form, how, store)


def _measured(store: Store, draft: Draft) -> _Measured:
    kept = difficulty.kept_file(store, draft.dataset)
    template = {
        key.removeprefix("template."): value
        for key, value in draft.values.items()
        if key.startswith("template.")
    }
    tokens = [template, draft.values.get(LENGTH), draft.values.get(OVERLONG)]
    told = json.dumps(tokens, sort_keys=True)
    return _Measured(
        draft.values.get("model.id"), told, draft.dataset, kept.stat().st_mtime_ns if kept.is_file() else 0
    )


@lru_cache(maxsize=3)
def _look_inside(file: _File) -> tuple[Spreading, SimilarityMap]:
    rows = surveys.sample(_checked(file)[0].conversations)
    spread = Spread()
    for row in rows:
        spread.add(row)
    return spread.result(), similarity_map(rows)


@lru_cache(maxsize=3)
def _examine(file: _File, measured: _Measured) -> Examined:
    dataset, report = _checked(file)
    tokens = _token_findings(file.store, dataset, measured)
    hard = difficulty.known(file.store, measured.entry, dataset.conversations) if measured.difficulty else []
    return Examined(dataset, report.after([*dataset.findings, *tokens, *hard]))


@lru_cache(maxsize=3)
def _checked(file: _File) -> tuple[Dataset, Report]:
    """Read and checked, whatever model and template are chosen."""
    mapping, read_as = json.loads(file.how)
    if surveys.is_large(file.path):
        found = surveys.kept(file.store, file.path, file.format, mapping, read_as)
        return surveys.as_dataset(found, file.path), found.report
    dataset = read(file.path, format=file.format, columns=mapping, read_as=read_as)
    return dataset, run_checks(dataset.conversations)


def _token_findings(store: Store, dataset: Dataset, measured: _Measured) -> list[Finding]:
    values, length, overlong = json.loads(measured.tokens)
    try:
        template = TemplateConfig.model_validate(values)
    except ValueError:  # said where it was chosen
        template = TemplateConfig()
    limit = length if isinstance(length, int) else None
    chosen = overlong if overlong in get_args(Overlong) else "cut"
    try:
        return sampled_token_report(store, dataset.conversations, measured.model, template, limit, chosen)
    except StudioError:  # of the model or its template, about which Template and Hyperparameters say more
        return []
