"""Repairs, shown before they are done: which rows would change and how, which of them to spare, and then the doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.errors import StudioError
from studio.domain.history import RowChange
from studio.engine.checks import CHECKS
from studio.engine.row_changes import SAFE, repairs
from studio.engine.rows import numbered
from studio.services import history
from studio.ui import change_views, views
from studio.ui.data_views import ALL_REPAIRS, SAFE_REPAIRS
from studio.ui.i18n import Words, t
from studio.ui.page import Draft, Page

if TYPE_CHECKING:
    from studio.services.store import DatasetEntry
    from studio.ui.data_tab import Examined

PAGE_ROWS = 10


@dataclass(frozen=True)
class Proposal:
    """What is shown: the checks that can be ticked and those that are, what they would change, and the rows spared."""

    seen: DatasetEntry | None = None
    """The dataset as it was when the changes were worked out."""
    offered: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    changes: tuple[RowChange, ...] = ()
    spared: frozenset[int] = frozenset()
    page: int = 1

    @property
    def chosen(self) -> list[RowChange]:
        return [change for change in self.changes if change.row not in self.spared]

    @property
    def pages(self) -> int:
        return max(1, -(-len(self.changes) // PAGE_ROWS))


def build(
    page: Page,
    error: gr.HTML,
    examine: Callable[[Draft], Examined],
    findings: gr.HTML,
    changed: gr.State,
) -> None:
    """The panel; the buttons of the checklist `findings` open it. `changed` is told which rows are in use then."""
    with gr.Column(visible=False, elem_classes="surface", elem_id="repair-panel") as panel:
        head = gr.HTML(elem_id="repair-head", js_on_load=views.CLICKS)
        rows = gr.HTML(elem_id="repair-rows", js_on_load=views.CLICKS)
        with gr.Row(elem_classes="actions"):
            apply = gr.Button(t("repair.apply"), variant="primary", elem_id="repair-apply")
            cancel = gr.Button(t("repair.cancel"), elem_id="repair-cancel")
        proposal = gr.State(Proposal())
    shown = [proposal, panel, head, rows, apply]

    def showing(say: Words, found: Proposal) -> tuple[Any, ...]:
        return (
            found,
            gr.Column(visible=True),
            head_html(say, found),
            rows_html(say, found),
            gr.Button(interactive=bool(found.chosen)),
        )

    def open_one(say: Words, draft: Draft, event: gr.EventData) -> Iterator[tuple[Any, ...]]:
        if "show" not in event._data:
            yield tuple([gr.skip()] * len(shown))
            return
        examined, asked = examine(draft), str(event._data["show"])
        offered = repairable(examined, asked)
        yield Proposal(), gr.Column(visible=True), waiting(say), "", gr.Button(interactive=False)
        found = proposed(page.store.dataset(draft.dataset), examined, offered, asked)
        yield showing(say, found)

    def clicked(say: Words, draft: Draft, event: gr.EventData, found: Proposal) -> Iterator[tuple[Any, ...]]:
        if not found.offered:  # nothing is proposed that could be clicked
            yield tuple([gr.skip()] * len(shown))
            return
        if "check" in event._data or "checks" in event._data:
            yield gr.skip(), gr.skip(), gr.skip(), waiting(say), gr.Button(interactive=False)
        new = answered(found, event._data, lambda: examine(draft))
        # The list stays as it is while rows are ticked one by one: its boxes show it, and the keyboard keeps its place.
        one_row = str(event._data.get("pick", "")).isdigit()
        yield tuple(
            gr.skip() if one_row and part is rows else value
            for part, value in zip(shown, showing(say, new), strict=True)
        )

    def applied(say: Words, draft: Draft, found: Proposal) -> Iterator[tuple[Any, ...]]:
        yield gr.skip(), gr.skip(), gr.skip(), gr.Button(interactive=False)
        try:
            apply_proposal(page, draft, found, examine(draft))
        except StudioError:
            yield gr.skip(), gr.skip(), gr.skip(), gr.Button(interactive=True)
            raise
        path = str(page.store.dataset(draft.dataset).path)
        yield path, Proposal(), gr.Column(visible=False), gr.skip()

    def closed(say: Words, draft: Draft) -> tuple[Any, ...]:
        return Proposal(), gr.Column(visible=False)

    def follow(say: Words, draft: Draft, found: Proposal) -> tuple[Any, ...]:
        """What was worked out for other rows is shown no longer."""
        if found.seen is None or _is_current(page, draft, found.seen):
            return gr.skip(), gr.skip()
        return Proposal(), gr.Column(visible=False)

    page.on(findings.click, open_one, [], shown, error=error, event=True)
    page.on([head.click, rows.click], clicked, [proposal], shown, error=error, event=True)
    page.on(apply.click, applied, [proposal], [changed, proposal, panel, apply], error=error)
    page.on(cancel.click, closed, [], [proposal, panel], error=error)
    page.on(
        [page.draft.change, changed.change], follow, [proposal], [proposal, panel], error=error, shared=True
    )


def repairable(examined: Examined, check: str) -> tuple[str, ...]:
    """The check, or for several those that found something to repair. StudioError where there is nothing left."""
    fixable = tuple(
        found.check for found in examined.report.findings if found.fixable and found.check in CHECKS
    )
    if not fixable or check not in (*_SEVERAL, *fixable):
        raise StudioError("There is nothing left to repair.", "Look at the checklist again.")
    return fixable if check in _SEVERAL else (check,)


_SEVERAL = (ALL_REPAIRS, SAFE_REPAIRS)


def proposed(entry: DatasetEntry, examined: Examined, offered: tuple[str, ...], asked: str) -> Proposal:
    """What the repairs would do that were asked for: one check's, all, or those that are safe."""
    checks = _of(offered, asked) if asked in _SEVERAL else offered
    return Proposal(entry, offered, checks, _changes(examined, checks))


def _of(offered: tuple[str, ...], which: str) -> tuple[str, ...]:
    """All of the checks, the safe ones, or none."""
    if which == SAFE_REPAIRS:
        return tuple(name for name in offered if name in SAFE)
    return offered if which == ALL_REPAIRS else ()


def _changes(examined: Examined, checks: tuple[str, ...]) -> tuple[RowChange, ...]:
    """What repairs would change. Those that look at one row alone change no row in which their checks found nothing."""
    rows = examined.dataset.conversations
    if all(CHECKS[check].look for check in checks):
        found = (finding.rows for finding in examined.report.findings if finding.check in checks)
        rows = numbered(rows, {row for some in found for row in some})
    return tuple(repairs(rows, checks, examined.report.findings))


def waiting(say: Words) -> str:
    """In its place while the changes are worked out."""
    return f'<p class="muted" role="status">{escape(say("repair.waiting"))}</p>'


def answered(found: Proposal, data: Mapping[str, Any], examine: Callable[[], Examined]) -> Proposal:
    """The proposal after a click: a check or a row ticked or not, another page."""
    if data.get("check") in found.offered or "checks" in data:
        name = data.get("check")
        checks = (
            _of(found.offered, str(data["checks"]))
            if "checks" in data
            else tuple(check for check in found.offered if (check in found.checks) != (check == name))
        )
        return replace(found, checks=checks, changes=_changes(examine(), checks), spared=frozenset(), page=1)
    if "page" in data and str(data["page"]).isdigit():
        return replace(found, page=min(max(1, int(data["page"])), found.pages))
    pick = str(data.get("pick", ""))
    rows = frozenset(change.row for change in found.changes)
    if pick in ("all", "none"):
        return replace(found, spared=frozenset() if pick == "all" else rows)
    if pick.isdigit() and int(pick) in rows:
        return replace(found, spared=found.spared ^ {int(pick)})
    return found


def apply_proposal(page: Page, draft: Draft, found: Proposal, examined: Examined) -> None:
    """Do it, as one step of the dataset's history."""
    if found.seen is None or not found.chosen:
        raise StudioError("No row is ticked.", "Tick at least one of the rows.")
    history.take(
        page.store,
        found.seen,
        "repair",
        found.chosen,
        examined.dataset.conversations,
        findings=examined.dataset.findings,
        checks=list(found.checks),
        spared=sorted(found.spared),
    )


def _is_current(page: Page, draft: Draft, seen: DatasetEntry) -> bool:
    return draft.dataset == seen.id and page.store.dataset(seen.id).path == seen.path


def head_html(say: Words, found: Proposal) -> str:
    """What is repaired, and how many rows that changes and drops."""
    chosen = found.chosen
    dropped = sum(change.dropped for change in chosen)
    counts = say(
        "repair.counts",
        changed=views.rows(say, len(chosen) - dropped),
        dropped=views.rows(say, dropped),
        spared=views.rows(say, len(found.spared)),
    )
    several = len(found.offered) > 1
    title = say("repair.title.all") if several else say("repair.title", title=_title(say, found.offered[0]))
    boxes = "".join(_check_box(say, check, found) for check in found.offered) if several else ""
    told = say("repair.all" if set(found.checks) - set(SAFE) else "repair.safe")
    about = (
        f'<p class="muted small">{escape(told)}</p>{_check_picks(say)}'
        f'<div class="repair-checks">{boxes}</div>'
        if several
        else ""
    )
    picks = "".join(
        f'<button type="button" class="act quiet" data-pick="{which}">{escape(say(f"repair.pick.{which}"))}</button>'
        for which in ("all", "none")
    )
    picking = f'<span class="repair-picks">{picks}</span>' if len(found.changes) > 1 else ""
    return (
        f'<p class="section-title">{escape(title)}</p>{about}'
        f'<p class="repair-counts" role="status"><b>{escape(counts)}</b>{picking}</p>'
    )


def _title(say: Words, check: str) -> str:
    return say.message(CHECKS[check].title)


def _check_picks(say: Words) -> str:
    """The ways to tick several checks at once."""
    labels = {which: escape(say(f"repair.checks.{which}")) for which in (ALL_REPAIRS, SAFE_REPAIRS, "none")}
    buttons = "".join(
        f'<button type="button" class="act quiet" data-checks="{which}">{label}</button>'
        for which, label in labels.items()
    )
    return f'<p class="repair-picks">{buttons}</p>'


def _check_box(say: Words, check: str, found: Proposal) -> str:
    ticked = " checked" if check in found.checks else ""
    does = escape(say.message(CHECKS[check].fix_title))
    return (
        f'<label><input type="checkbox" class="act" data-check="{escape(check)}"{ticked}> '
        f'{escape(_title(say, check))} <span class="muted">{does}</span></label>'
    )


def rows_html(say: Words, found: Proposal) -> str:
    """One page of the rows, each as it is and as it would be."""
    if not found.changes:
        return f'<p class="muted">{escape(say("repair.nothing"))}</p>'
    start = (found.page - 1) * PAGE_ROWS
    lines = "".join(
        change_views.change(say, change, say("selection.row", row=change.row), _row_box(say, change, found))
        for change in found.changes[start : start + PAGE_ROWS]
    )
    return (
        f'<div class="row-changes">{lines}</div>{views.pager(say, found.page, len(found.changes), PAGE_ROWS)}'
    )


def _row_box(say: Words, change: RowChange, found: Proposal) -> str:
    ticked = "" if change.row in found.spared else " checked"
    label = escape(say("repair.pick", row=change.row))
    return f'<input type="checkbox" class="act" data-pick="{change.row}" aria-label="{label}"{ticked}>'
