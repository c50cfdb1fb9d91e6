"""Exports as HTML: what they will need, how far they are, the proof. Pure functions; foreign text is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.domain.text import Text
from studio.ui import downloads, live, run_views, views
from studio.ui.i18n import Words

if TYPE_CHECKING:
    from studio.services.exports import ExportStatus

STATE_CHIPS = {"running": "info", "finished": "good", "failed": "bad", "interrupted": "warn"}
WIDTHS = {
    "bfloat16": 2,
    "float16": 2,
    "float32": 4,
    "f16": 2,
    "q8_0": 34 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
}
"""Bytes a weight; GGUF's blocks of 32 hold their scale too."""
_FOLDER = re.compile(r'^(folder = |cd )"?\."?[^\n]*', re.MULTILINE)
_CODE = re.compile(r"```(?:python|sh)\n(.*?)\n```", re.DOTALL)


def needs(say: Words, expected: int, free: int, both: bool = False) -> str:
    """Expected size against the room on the disk; twice that for as long as `both` merges are compared."""
    fits = expected * (2 if both else 1) < free
    key = ("export.needs.both" if both else "export.needs") if fits else "export.too_large"
    kind = "" if fits else " note-warn"
    return f'<p class="note{kind}">{escape(say(key, size=views.size(expected), free=views.size(free)))}</p>'


def exports(say: Words, run_id: str, found: Sequence[ExportStatus], deleting: str) -> str:
    """Every export of a run, the newest first."""
    return "".join(
        _card(say, run_id, status, deleting == status.name, newest=index == 0)
        for index, status in enumerate(found)
    )


def _card(say: Words, run_id: str, status: ExportStatus, deleting: bool, newest: bool) -> str:
    title = " · ".join(filter(None, (say(f"choice.export.to.{status.to}"), status.precision)))
    pulse = " live" if status.state == "running" else ""
    proven = status.state == "finished" and status.to != "script"
    state = say("export.passed") if proven else say(f"export.state.{status.state}")
    chip = f'<span class="chip chip-{STATE_CHIPS[status.state]}{pulse}">{escape(state)}</span>'
    created = live.moment(status.created, "muted small")
    return (
        f'<div class="panel export-card"><div class="run-head"><b class="run-name">{escape(title)}</b>{chip}'
        f"{created}</div>{_progress(say, status)}{_trouble(say, status)}"
        f"{_result(say, status, newest)}{_actions(say, run_id, status, deleting)}</div>"
    )


def _progress(say: Words, status: ExportStatus) -> str:
    if status.state != "running":
        return ""
    phase = f'<p class="muted small export-phase">{escape(say(f"phase.{status.phase}"))}</p>'
    return f"{phase}{live.bar(say, status.progress)}"


def _trouble(say: Words, status: ExportStatus) -> str:
    if status.text is None:
        return ""
    message, remedy = say.text(status.text), say.text(status.remedy_text) if status.remedy_text else ""
    if status.state == "interrupted":
        return f'<p class="note note-warn">{escape(message)} {escape(remedy)}</p>'
    return views.error_text(say, message, remedy)


def _result(say: Words, status: ExportStatus, newest: bool) -> str:
    if not status.result:
        return ""
    result = status.result
    files: Mapping[str, int] = result["files"]
    rows = "".join(
        f'<tr><td class="mono">{escape(name)}</td><td class="num">{views.size(size)}</td></tr>'
        for name, size in files.items()
    )
    code = snippet(status.files)
    how = (
        live.fold(f"code-{status.name}", say("export.code"), live.copyable(say, code), opened=newest)
        if code
        else ""
    )
    what = live.fold(
        f"files-{status.name}", say("export.files", count=len(files)), f'<table class="rows">{rows}</table>'
    )
    return (
        f"{_proof(say, status.to, result['verified']) if result['verified'] else _untried(say)}"
        f'<p class="export-path"><span class="mono">{escape(str(status.files))}</span>'
        f'<span class="muted num">{views.size(result["bytes"])}</span></p>{how}{what}'
    )


def _proof(say: Words, to: str, verified: Mapping[str, Any]) -> str:
    """What the comparison with the live model showed, in figures."""
    equal = round(verified["greedy_match"] * verified["prompts"])
    same = verified["same_prompt_ids"] and verified["same_end_tokens"]
    shown = [
        (f"{verified['max_logit_difference']:.3g}", say("export.logits")),
        (
            f"{verified['mean_kl']:.2g}",
            say("export.kl", limit=f"{verified['tolerance_kl']:g}", untuned=f"{verified['untuned_kl']:.2g}"),
        ),
        (say("training.of", step=equal, steps=verified["prompts"]), say("export.greedy")),
        (say("form.yes" if same else "form.no"), say("export.same")),
    ]
    merges = verified.get("merges") or {}
    if len(merges) > 1:
        shown += [
            (
                f"{distance['mean_kl']:.2g}",
                say(
                    f"export.merge.{way}",
                    kept=say("export.kept" if way == verified["into"] else "export.dropped"),
                ),
            )
            for way, distance in merges.items()
        ]
    note = say.text(Text.from_json(verified["note_text"])) if verified.get("note_text") else ""
    kind = "good" if verified["passed"] else "bad"
    said = say(
        "export.proven.gguf" if to == "gguf" else "export.proven",
        prompts=verified["prompts"],
        tokens=verified["tokens"],
    )
    return (
        f'<div class="proof {kind}"><p>{escape(said)}</p><div class="figures">{run_views.stats(shown)}</div>'
        f"{f'<p class=muted>{escape(note)}</p>' if note else ''}</div>"
    )


def _untried(say: Words) -> str:
    """Of a script: trying it is training again."""
    return f'<p class="note">{escape(say("export.untried"))}</p>'


def _actions(say: Words, run_id: str, status: ExportStatus, deleting: bool) -> str:
    if deleting:
        works = status.state == "running"
        yes = _act(status, "delete-yes", say("export.cancel.yes" if works else "runs.delete.yes"))
        no = _act(status, "delete-no", say("export.cancel.no" if works else "runs.delete.no"))
        question = escape(say("export.cancel.ask" if works else "export.delete.ask"))
        return f'<div class="confirm" role="alertdialog"><p>{question}</p>{yes}{no}</div>'
    address = escape(downloads.export_address(run_id, status.name))
    ready = views.download(address, say("export.download")) if status.result else ""
    label = say("export.cancel" if status.state == "running" else "runs.delete")
    return f'<div class="run-actions export-actions">{ready}{_act(status, "delete", label)}</div>'


def _act(status: ExportStatus, do: str, label: str) -> str:
    return (
        f'<button type="button" class="act quiet do-{do}" data-export="{escape(status.name)}" data-do="{do}">'
        f"{escape(label)}</button>"
    )


def snippet(folder: Path) -> str:
    """The code that loads an export, from its own card, with the folder that it lies in."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    found = _CODE.search(card)
    path = json.dumps(str(folder))
    return _FOLDER.sub(lambda start: f"{start[1]}{path}", found.group(1)) if found else ""
