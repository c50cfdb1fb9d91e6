"""The checklist of a file as a document to hand on: JSON for programs, one HTML file for people, in both languages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import studio
from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine.assets import ASSETS
from studio.engine.checks import CHECKS, FORMULA, Check, Report, described
from studio.services.files import now
from studio.services.redaction import without_known

if TYPE_CHECKING:
    from studio.services.history import Taken

_NAMES = {
    "accuracy": "Accuracy",
    "relevance": "Relevance",
    "diversity": "Diversity",
    "consistency": "Consistency",
    "safety": "Safety",
    "error": "Error",
    "warning": "Warning",
    "info": "Note",
}
_INDENTED = 100_000
"""Rows of a file whose report has each row number on a line of its own."""
SHOWN_ROWS = 200
"""Row numbers of a finding that the HTML lists; the JSON has all."""
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 860px; margin: 24px auto; padding: 0 16px; }
table { border-collapse: collapse; margin: 16px 0; } td, th { text-align: left; padding: 4px 24px 4px 0; }
article { border-top: 1px solid #8886; padding: 8px 0; } article p { margin: 4px 0; overflow-wrap: anywhere; }
h1 { overflow-wrap: anywhere; } h2 { font-size: 16px; margin: 8px 0; } .rows, .kind { opacity: .75; }
#zh:checked ~ .en, #en:checked ~ .zh { display: none; }
"""


@dataclass(frozen=True)
class Subject:
    """What a report is about: a file its name, the format of its rows, and its hash where that is known; and that of
    the file of repaired rows, where these were checked."""

    name: str
    format: str
    sha256: str = ""
    repaired_sha256: str = ""


def as_json(subject: Subject, report: Report, taken: Sequence[Taken] = ()) -> dict[str, Any]:
    """What `studio data check --json` says of a file; and the steps that its rows went through before, each with the
    first rows that it touched."""
    return {
        "file": subject.name,
        "sha256": subject.sha256,
        **({"repaired_sha256": subject.repaired_sha256} if subject.repaired_sha256 else {}),
        "made": now(),
        "studio": studio.__version__,
        "rows": report.rows,
        "format": subject.format,
        "score": report.scores,
        "score_formula": str(FORMULA),
        "findings": [described(found) for found in report.findings],
        **({"steps": [_told(one) for one in taken]} if taken else {}),
    }


def _told(one: Taken) -> dict[str, Any]:
    rows = [
        {
            "row": change.row,
            "action": "dropped" if change.dropped else "changed",
            "reasons": list(map(str, change.reasons)),
        }
        for change in one.changes
    ]
    return {**one.step.to_json(), "rows": rows, "more_rows": one.more}


def as_html(subject: Subject, report: Report, taken: Sequence[Taken] = ()) -> str:
    """One page that needs no other file and runs no script; every text from the data is escaped."""
    chinese = json.loads((ASSETS / "i18n" / "zh.json").read_text(encoding="utf-8"))["messages"]
    switch = "".join(
        f'<input type="radio" name="language" id="{code}"{checked}><label for="{code}">{label}</label> '
        for code, label, checked in (("en", "English", " checked"), ("zh", "中文", ""))
    )
    parts = "".join(
        f'<main class="{code}" lang="{code}">{_body(subject, report, taken, said)}</main>'
        for code, said in (("en", {}), ("zh", chinese))
    )
    return (
        '<!doctype html><html><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(subject.name)}</title><style>{_STYLE}</style></head><body>{switch}{parts}</body></html>\n"
    )


def write_report(path: Path, subject: Subject, report: Report, taken: Sequence[Taken] = ()) -> None:
    """As the ending of `path` says. StudioError for any but .html and .json, or where it cannot be written."""
    if path.suffix.lower() not in (".html", ".json"):
        raise StudioError(
            "A report cannot be written as {file}.",
            "Choose a file name that ends in .html or .json.",
            file=path.name,
        )
    if path.suffix.lower() == ".html":
        text = as_html(subject, report, taken)
    else:
        indent = 2 if report.rows <= _INDENTED else None  # a million row numbers take seconds, a line each
        text = json.dumps(as_json(subject, report, taken), ensure_ascii=False, indent=indent) + "\n"
    try:
        path.write_text(without_known(text), encoding="utf-8")
    except OSError as error:
        raise StudioError(
            "{path} cannot be written: {problem}.",
            "Free some space or choose another folder.",
            path=str(path),
            problem=error.strerror or str(error),
        ) from error


_REPAIRED = "The rows were repaired since; SHA-256 of these:"


def _body(subject: Subject, report: Report, taken: Sequence[Taken], translations: Mapping[str, str]) -> str:
    def say(text: Text) -> str:
        return escape(_said(text, translations))

    about = Text(
        "The quality checklist on {rows} rows, format {form}.",
        {"rows": f"{report.rows:,}", "form": subject.format},
    )
    made = Text("Made {at} by version {version}.", {"at": now(), "version": studio.__version__})
    known = f" SHA-256 <code>{escape(subject.sha256)}</code>." if subject.sha256 else ""
    if subject.repaired_sha256:
        known += f" {say(Text(_REPAIRED))} <code>{escape(subject.repaired_sha256)}</code>."
    scores = "".join(
        f"<tr><td>{say(Text(_NAMES[dimension]))}</td><td>{score:.1f}</td></tr>"
        for dimension, score in report.scores.items()
    )
    findings = []
    for found in report.findings:
        check = CHECKS.get(found.check)
        title = Text(check.title) if check else found.text
        # What no check found says all in one sentence, which is its title then.
        more = f"<p>{say(found.text)}</p>" if check else ""
        count = f" · {found.count:,}" if found.count else ""
        rows = ", ".join(map(str, found.rows[:SHOWN_ROWS])) + (" …" if found.count > SHOWN_ROWS else "")
        findings.append(
            f'<article><h2>{say(title)}</h2><p class="kind">{escape(found.check)} · '
            f"{say(Text(_NAMES[found.severity]))}{count}</p>{more}"
            + (f"<p>{say(Text(check.why))}</p>" if check else "")
            + f"<p>{say(found.remedy_text)}</p>"
            + (f'<p class="kind">{say(_blind(check))}</p>' if check and check.blind_spots else "")
            + f'<p class="rows">{rows}</p></article>'
        )
    none = say(Text("Nothing was found."))
    return (
        f"<h1>{escape(subject.name)}</h1><p>{say(about)} {say(made)}{known}</p>"
        f"<table>{scores}</table><p>{say(FORMULA)}</p>"
        f"{''.join(findings) or f'<p>{none}</p>'}{_steps(taken, say)}"
    )


def _blind(check: Check) -> Text:
    return Text("What this check misses: {what}", {"what": Text(check.blind_spots)})


def _said(text: Text, translations: Mapping[str, str]) -> str:
    """The sentence, with values that are sentences of ours translated too."""
    known = {
        key: _said(value, translations)
        if isinstance(value, Text)
        else translations.get(value, value)
        if key in ("reason", "kind")
        else value
        for key, value in text.values.items()
    }
    return Text(text.template, known).translated(translations)


def _steps(taken: Sequence[Taken], say: Callable[[Text], str]) -> str:
    """What was done to the rows before, and why."""
    if not taken:
        return ""
    return f"<h1>{say(Text('What was done to the rows'))}</h1>" + "".join(_step(one, say) for one in taken)


def _step(one: Taken, say: Callable[[Text], str]) -> str:
    counts = Text(
        "{changed} rows changed, {dropped} dropped.",
        {"changed": f"{one.step.changed:,}", "dropped": f"{one.step.dropped:,}"},
    )
    rows = "".join(
        f"<li>{say(Text('Row {row} of the file:', {'row': change.row}))} "
        f"{'; '.join(map(say, change.reasons))}</li>"
        for change in one.changes
    )
    more = f"<li>… +{one.more:,}</li>" if one.more else ""
    return (
        f"<article><h2>{one.step.number}. {say(one.what)} {', '.join(map(say, one.names))}</h2>"
        f'<p class="kind">{escape(one.step.at)}</p><p>{say(counts)}</p><ul class="rows">{rows}{more}</ul></article>'
    )
