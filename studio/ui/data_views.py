"""The Data tab's HTML, by pure functions; every text from a file is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from studio.domain.chat import Conversation
from studio.domain.finding import DIMENSIONS, Finding
from studio.engine.checks import CHECKS, FORMULA, Check, Report
from studio.engine.dataset import Dataset
from studio.engine.encodings import Encoding
from studio.engine.readers import Quarantined
from studio.engine.records import SourceRows
from studio.ui import row_editing, views
from studio.ui.data_turns import clipped, reply, turns
from studio.ui.i18n import Words
from studio.ui.samples import Sample

if TYPE_CHECKING:
    from studio.services.store import DatasetEntry
    from studio.ui.row_editing import Editing

FIRST_ROWS = 20
_SHOWN_QUARANTINED = 100
_SHOWN_SOURCES = 12
ALL_REPAIRS, SAFE_REPAIRS = "all", "safe"
"""In place of a check's name: all that have something to repair, or those of them that are safe."""


def samples(say: Words, offered: Iterable[Sample], chosen: str) -> str:
    """The cards of the shipped datasets."""
    cards = []
    for sample in offered:
        current = ' aria-pressed="true"' if sample.path.name == chosen else ' aria-pressed="false"'
        cards.append(
            f'<button type="button" class="card act" data-sample="{escape(sample.id)}"{current}>'
            f"<b>{escape(say.message(sample.title))}</b>"
            f"<span>{escape(say.message(sample.description))}</span>"
            f'<span class="chip">{escape(views.rows(say, sample.rows))}</span></button>'
        )
    kinds = f'<span class="muted small">{escape(say("data.pick.kinds"))}</span>'
    title = f'<p class="section-title">{escape(say("data.pick"))} {kinds}</p>'
    return f'{title}<div class="grid-2">{"".join(cards)}</div>'


def forget(say: Words, dataset: str, name: str, damaged: bool = False, asking: bool = False) -> str:
    """The button that deletes a dataset; once it is clicked, the question whether to."""

    def act(do: str, label: str) -> str:
        return (
            f'<button type="button" class="act quiet do-{do}" data-dataset="{escape(dataset)}" data-do="{do}">'
            f"{escape(label)}</button>"
        )

    if asking:
        buttons = act("delete-yes", say("runs.delete.yes")) + act("delete-no", say("runs.delete.no"))
        question = escape(say("data.delete.ask", name=name))
        return f'<div class="confirm" role="alertdialog"><p>{question}</p>{buttons}</div>'
    note = f"<span>{escape(say('data.damaged', dataset=dataset))}</span> " if damaged else ""
    return f"<div>{note}{act('delete', say('data.delete', name=name))}</div>"


def summary(say: Words, entry: DatasetEntry, dataset: Dataset, report: Report, format: str = "") -> str:
    """The chosen file in one strip: what it is, how it was read, how it scores.

    `format` is that of the file that was uploaded, where its rows were changed: those are written as messages.
    """
    chips = [
        views.chip("info", views.rows(say, len(dataset.conversations))),
        views.chip("info", say(f"format.{format or dataset.format}")),
    ]
    if dataset.encoding != "utf-8":
        chips.append(views.chip("info", Encoding(dataset.encoding).label))
    if entry.cleaned:
        chips.append(views.chip("good", say("data.cleaned")))
    left_out = {row for finding in dataset.findings if finding.severity == "error" for row in finding.rows}
    if left_out:
        chips.append(views.chip("bad", say("data.left_out", rows=views.rows(say, len(left_out)))))
    tiles = "".join(_score(say, dimension, report.scores.get(dimension)) for dimension in DIMENSIONS)
    return (
        f'<div class="panel summary"><div class="summary-name"><b>{escape(entry.name)}</b>{"".join(chips)}</div>'
        f'{_sources(say, dataset.sources)}<div class="scores">{tiles}</div></div>'
    )


def checking(say: Words, entry: DatasetEntry) -> str:
    """A file whose check is not done yet."""
    return (
        f'<div class="panel summary"><div class="summary-name"><b>{escape(entry.name)}</b>'
        f"{views.chip('info', views.size(entry.path.stat().st_size))}"
        f"{views.chip('warn', say('survey.chip'))}</div></div>"
    )


def _sources(say: Words, sources: Sequence[SourceRows]) -> str:
    """Which rows are of which file, where there are several."""
    if len(sources) < 2:
        return ""
    shown = [
        say("data.source", file=part.file, first=views.count(part.first), last=views.count(part.last))
        for part in sources[:_SHOWN_SOURCES]
    ]
    more = ["…"] if len(sources) > _SHOWN_SOURCES else []
    return f'<p class="muted small">{escape(" · ".join([*shown, *more]))}</p>'


def unmapped(say: Words, entry: DatasetEntry, columns: Sequence[str]) -> str:
    """A file whose columns are not known by name."""
    return (
        f'<div class="panel summary"><div class="summary-name"><b>{escape(entry.name)}</b>'
        f"{views.chip('warn', say('data.unmapped'))}</div>"
        f"<p>{escape(say('data.unmapped.columns', columns=', '.join(columns)))}</p>"
        f'<p class="muted">{escape(say("data.unmapped.next"))}</p></div>'
    )


def _score(say: Words, dimension: str, score: float | None) -> str:
    name = escape(say(f"dimension.{dimension}"))
    if score is None:
        return f'<div class="score"><span>{name}</span><b>–</b></div>'
    kind = "good" if score >= 95 else "warn" if score >= 80 else "bad"
    # Never rounded up to a full score: 100 says that nothing was found.
    whole = min(99, round(score)) if score < 100 else 100
    return (
        f'<div class="score score-{kind}"><span>{name}</span><b>{whole}</b>'
        f'<div class="bar"><i style="width:{whole}%"></i></div></div>'
    )


def rows(
    say: Words,
    shown: Sequence[Conversation],
    report: Report,
    page: int,
    opened: int,
    page_rows: int,
    check: str = "",
    editing: Editing | None = None,
    sources: Sequence[SourceRows] = (),
) -> str:
    """One page of the table, which may hold the rows of one check alone. A row opens to the whole conversation, or to
    the form that it is edited in. Where they are of several files, it says of which it is."""
    start = (page - 1) * page_rows
    on_page = shown[start : start + page_rows]
    found = _found(report, {conversation.row for conversation in on_page})
    lines = [
        _row(
            say,
            conversation,
            found.get(conversation.row, []),
            conversation.row == opened,
            editing,
            _file_of(sources, conversation.row),
        )
        for conversation in on_page
    ]
    head = (
        f'<div class="entry-head" aria-hidden="true"><span class="num">{escape(say("data.row"))}</span>'
        f"<span>{escape(say('data.part.prompt'))}</span><span>{escape(say('data.part.response'))}</span></div>"
    )
    return views.panel(
        say("data.rows.title"),
        f'{_filter(say, report, check)}<div class="row-list">{head}{"".join(lines)}</div>'
        f"{views.pager(say, page, len(shown), page_rows)}",
    )


def _found(report: Report, rows: set[int]) -> dict[int, list[Finding]]:
    """What was found in each of these rows."""
    found: dict[int, list[Finding]] = {}
    for finding in report.findings:
        for row in rows.intersection(finding.rows):
            found.setdefault(row, []).append(finding)
    return found


def _filter(say: Words, report: Report, check: str) -> str:
    """Which rows alone are shown, and the way back to all of them."""
    if not check:
        return ""
    about = CHECKS.get(check)
    message = next((say.text(finding.text) for finding in report.findings if finding.check == check), check)
    said = say("data.filtered", title=say.message(about.title) if about else message)
    return f'<p class="note">{escape(said)} {_filtering(say("data.filtered.all"), "")}</p>'


def _filtering(label: str, check: str) -> str:
    told = f'data-filter="{escape(check)}" data-to="rows"'
    return f'<button type="button" class="act quiet" {told}>{escape(label)}</button>'


def _file_of(sources: Sequence[SourceRows], row: int) -> str:
    """The file that a row is of, where there are several."""
    if len(sources) < 2:
        return ""
    return next((part.file for part in sources if part.first <= row <= part.last), "")


def _row(
    say: Words,
    conversation: Conversation,
    found: Sequence[Finding],
    opened: bool,
    editing: Editing | None,
    file: str,
) -> str:
    grave = sum(finding.severity != "info" for finding in found)
    mark = f'<i class="dot" title="{escape(say("data.row.findings", count=grave))}"></i>' if grave else ""
    title = f' title="{escape(file)}"' if file else ""
    if editing and editing.row == conversation.row:
        body = row_editing.form(say, editing)
    else:
        body = f"{_row_head(say, conversation, found, file)}{turns(say, conversation)}"
    return (
        f'<details class="entry{" target" if opened else ""}"{" open" if opened else ""}>'
        f'<summary><span class="num"{title}>{conversation.row}{mark}</span><span>{clipped(conversation.prompt)}</span>'
        f"<span>{reply(say, conversation)}</span></summary>{body}</details>"
    )


def _row_head(say: Words, conversation: Conversation, found: Sequence[Finding], file: str) -> str:
    """What the checks found in an opened row, and the way to edit it."""
    chips = "".join(
        views.chip(views.CHIPS[finding.severity], say.message(CHECKS[finding.check].title))
        for finding in found
        if finding.check in CHECKS
    )
    said = chips or f'<span class="muted small">{escape(say("data.row.clear"))}</span>'
    origin = f' <span class="muted small">{escape(say("data.row.file", file=file))}</span>' if file else ""
    named = f'data-edit="{conversation.row}" data-seen="{row_editing.mark(conversation)}"'
    edit = f'<button type="button" class="act plain" {named}>{escape(say("edit.open"))}</button>'
    return f'<div class="entry-acts"><span>{said}{origin}</span>{edit}</div>'


def raw_rows(
    say: Words, columns: Sequence[Any], records: Sequence[Mapping[str, Any]], numbers: Sequence[int]
) -> str:
    """The first records as they stand in the file, under their own columns."""
    lines = []
    for number, record in zip(numbers[:10], records[:10], strict=False):
        cells = "".join(f"<td>{clipped(str(record.get(column, '')))}</td>" for column in columns)
        lines.append(f'<tr><td class="num muted">{number}</td>{cells}</tr>')
    table = views.table([say("data.row"), *map(str, columns)], "".join(lines))
    return views.panel(say("data.first_rows"), f'<div class="raw-rows">{table}</div>')


def conversation(say: Words, shown: Conversation) -> str:
    """How one row is understood."""
    return (
        f'<p class="muted small">{escape(say("data.understood", row=shown.row))}</p>'
        f'<div class="preview">{turns(say, shown)}</div>'
    )


def findings(say: Words, report: Report, about_file: Sequence[Finding]) -> str:
    """The checklist: what was found, grouped by dimension, worst first; then what was looked for and not found."""
    by_dimension: dict[str, list[Finding]] = {}
    for finding in [*about_file, *(f for f in report.findings if f not in about_file)]:
        by_dimension.setdefault(finding.dimension, []).append(finding)
    order = ["file", *DIMENSIONS, "tokens", "split"]
    groups = [
        _group(say, dimension, by_dimension[dimension], report.scores.get(dimension))
        for dimension in order
        if by_dimension.get(dimension)
    ]
    failed = {finding.check for found in by_dimension.values() for finding in found}
    passed = [check for check in CHECKS.values() if check.id not in failed]
    clear = ""
    if passed:
        sentence = say("data.passed", count=len(passed)) if groups else say("data.clear", count=len(passed))
        items = "".join(
            f"<li><b>{escape(say.message(check.title))}</b>{_blind(say, check)}</li>" for check in passed
        )
        clear = f'<details class="passed"><summary>{escape(sentence)}</summary><ul>{items}</ul></details>'
    fixable = any(finding.fixable for finding in report.findings)
    return views.panel(
        say("data.findings.title"),
        _formula(say) + (_repair_all(say) if fixable else "") + "".join(groups) + clear,
    )


def _formula(say: Words) -> str:
    """How the scores are computed."""
    head, body = escape(say("data.formula")), escape(say.text(FORMULA))
    return f'<details class="formula"><summary>{head}</summary><p class="muted small">{body}</p></details>'


def _blind(say: Words, check: Check) -> str:
    """What a check is known to miss."""
    if not check.blind_spots:
        return ""
    lead = f'<span class="lead">{escape(say("data.blind"))}</span>'
    return f'<div class="muted small">{lead} {escape(say.message(check.blind_spots))}</div>'


def _repair_all(say: Words) -> str:
    """The ways to several repairs at once."""
    buttons = "".join(
        f'<button type="button" class="act plain" data-show="{which}" data-to="repair-panel">'
        f"{escape(say(f'repair.every.{which}'))}</button>"
        for which in (SAFE_REPAIRS, ALL_REPAIRS)
    )
    about = f'<span class="muted small">{escape(say("repair.about"))}</span>'
    return f'<p class="repair-all">{about}<span class="repair-picks">{buttons}</span></p>'


def _group(say: Words, dimension: str, found: Sequence[Finding], score: float | None) -> str:
    rank = {"error": 0, "warning": 1, "info": 2}
    cards = "".join(
        _finding(say, finding) for finding in sorted(found, key=lambda f: (rank[f.severity], -f.count))
    )
    points = (
        ""
        if score is None
        else f'<span class="muted num">{min(99, round(score)) if score < 100 else 100} / 100</span>'
    )
    return f'<section class="dimension"><h3>{escape(say(f"dimension.{dimension}"))}{points}</h3>{cards}</section>'


def _finding(say: Words, finding: Finding) -> str:
    """One line; it opens to why it matters, what to do, and where."""
    check = CHECKS.get(finding.check)
    message = say.text(finding.text)
    rows = views.rows(say, finding.count) if finding.count else ""
    remedy = say.text(finding.remedy_text)
    lines = [f"<p>{escape(message)}</p>"] if check else []
    if check and check.why:
        lines.append(f'<p class="muted">{escape(say.message(check.why))}</p>')
    if remedy:
        lines.append(f'<p><span class="lead">{escape(say("data.remedy"))}</span> {escape(remedy)}</p>')
    if check:
        lines.append(_blind(say, check))
    head = (
        f"{views.chip(views.CHIPS[finding.severity], say(f'severity.{finding.severity}'))}"
        f"<b>{escape(say.message(check.title) if check else message)}</b>"
        f'<span class="muted num">{escape(rows)}</span>'
    )
    more = f'<div class="more">{"".join(lines)}{_row_numbers(say, finding)}</div>'
    return f'<article class="finding"><details><summary>{head}</summary>{more}</details>{_fix(say, finding)}</article>'


def _fix(say: Words, finding: Finding) -> str:
    """What the repair does, and the way to see it done before it is."""
    check = CHECKS.get(finding.check)
    if not (finding.fixable and check):
        return ""
    return (
        f'<span class="fix">{escape(say.message(check.fix_title))}'
        f'<button type="button" class="act plain" data-show="{escape(finding.check)}" data-to="repair-panel" '
        f'aria-label="{escape(say("repair.show.check", title=say.message(check.title)))}">'
        f"{escape(say('repair.show'))}</button></span>"
    )


def _row_numbers(say: Words, finding: Finding) -> str:
    numbers = finding.rows
    if not numbers:
        return ""
    # What is wrong with the file is often of rows that could not be read, which no table shows.
    alone = "" if finding.dimension == "file" else _filtering(say("data.filter"), finding.check)
    first = "".join(
        f'<button type="button" class="act row-number" data-row="{row}">{row}</button>'
        for row in numbers[:FIRST_ROWS]
    )
    more = len(numbers) - FIRST_ROWS
    rest = (
        f'<span class="muted small">{escape(say("data.more_rows", count=views.count(more)))}</span>'
        if more > 0
        else ""
    )
    where = f'<span class="muted small">{escape(say("data.in_rows"))}</span>'
    return f'<div class="row-numbers">{where}{first}{rest}{alone}</div>'


def quarantine(say: Words, records: Sequence[Quarantined]) -> str:
    """The records that cannot be read: where each breaks, why, and its text as it stands in the file."""
    if not records:
        return ""
    heads = [say(f"quarantine.{name}") for name in ("file", "line", "column", "why", "text")]
    lines = "".join(_quarantined(say, record) for record in records[:_SHOWN_QUARANTINED])
    more = len(records) - _SHOWN_QUARANTINED
    rest = say("change.more", count=views.count(more)) if more > 0 else ""
    title = say("quarantine.title", count=views.count(len(records)))
    return (
        f'<details class="panel quarantine"><summary class="section-title">{escape(title)}</summary>'
        f'{views.table(heads, lines)}<p class="muted small">{escape(rest)}</p></details>'
    )


def _quarantined(say: Words, record: Quarantined) -> str:
    places = (escape(record.file), str(record.line or "–"), str(record.column or "–"))
    cells = (*places, escape(say.text(record.reason)), f"<code>{clipped(record.text)}</code>")
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
