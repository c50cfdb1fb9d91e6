"""A run as one HTML file to hand on: figures, plots, answers, ratings, data and settings; it needs no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from studio.domain.run import Run
from studio.services import benchmarks, ratings
from studio.services.jobs import Jobs
from studio.services.redaction import without_known
from studio.services.run_files import RunFiles
from studio.services.run_names import named
from studio.ui import benchmark_panel, evaluate_views, plots, rating_views, run_views, sample_views, views
from studio.ui.i18n import Words
from studio.ui.theme import ACCENT, INK, STYLESHEET

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is fetched and no script runs, whatever a model wrote."""
_STYLE = """
body { font: 15px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; color: var(--ink);
  background: var(--surface); max-width: 1080px; margin: 32px auto; padding: 0 24px; }
h1 { font-size: 24px; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 18px; margin: 40px 0 12px; }
button, .plot-tip { display: none; }
pre { overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; } details { display: none; } .round, .panel { break-inside: avoid; } }
"""


def as_html(say: Words, jobs: Jobs, run_id: str) -> str:
    """Everything that is known of a run, in the reader's language; every text from outside is escaped.

    StudioError where there is no such run.
    """
    run, files = named(jobs, jobs.get(run_id)), jobs.files(run_id)
    progress = jobs.progress(run_id)
    parts = [
        _head(say, run),
        _section(say("report.result"), run_views.outcome(say, run, progress, in_page=False)),
        _section(say("report.evaluation"), evaluate_views.newest(say, jobs.store, run_id) or _none(say)),
        _section(say("report.ratings"), _rated(say, jobs, run_id)),
        _section(
            say("benchmark.title"), benchmark_panel.figures(say, benchmarks.results(jobs.store, run_id))
        ),
        _section(say("report.training"), plots.run_charts(say, progress) if progress.losses else ""),
        _section(say("report.samples"), sample_views.of_run(say, jobs.store, run_id, progress.samples)),
        _section(say("report.receipt"), _receipt(say, files)),
    ]
    return without_known(
        f'<!doctype html><html lang="{escape(say.language)}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(run.name)}</title><style>{_stylesheet()}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _head(say: Words, run: Run) -> str:
    about = [run.created[:16].replace("T", " ") + " UTC", run.id]
    return f'<h1>{escape(run.name)}</h1><p class="muted">{escape(" · ".join(about))}</p>{run_views.facts(say, run)}'


def _none(say: Words) -> str:
    return f'<p class="muted">{escape(say("report.not_evaluated"))}</p>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _rated(say: Words, jobs: Jobs, run_id: str) -> str:
    """What came of the desks, once all are ended."""
    if ratings.is_blind(jobs.store, run_id):
        return evaluate_views.withheld(say)
    return "".join(rating_views.results(say, desk) for desk in ratings.desks(jobs.store, run_id))


def _receipt(say: Words, files: RunFiles) -> str:
    """What the run was made of: rows, digests, versions, machine, and every setting."""
    env, config = files.env(), files.resolved_config() or files.given_config()
    tables = [
        _table(say(f"report.{name}"), env.get(name) or {})
        for name in ("rows", "hardware", "versions", "sha256")
    ]
    return "".join(tables) + run_views.configuration(say, config).replace("<details", "<details open", 1)


def _table(title: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    lines = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(_text(value, str(name)))}</td></tr>"
        for name, value in values.items()
    )
    return views.panel(
        title, f'<div class="table-wrap"><table class="rows"><tbody>{lines}</tbody></table></div>'
    )


def _text(value: Any, name: str = "") -> str:
    if name == "memory" and isinstance(value, int):
        return views.size(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    return str(value)


def _stylesheet() -> str:
    """The page's own, with the colours that Gradio would give it; dark where the reader's screen is."""
    css = STYLESHEET.read_text(encoding="utf-8")
    hues = [("primary", ACCENT), ("neutral", INK)]
    shades = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950)
    colours = "".join(
        f"--{name}-{shade}: {getattr(hue, f'c{shade}')};" for name, hue in hues for shade in shades
    )
    dark = re.search(r"^\.dark \{(.*?)\}", css, re.MULTILINE | re.DOTALL)
    assert dark, "the style sheet has its dark colours in one block"
    return (
        f":root {{ color-scheme: light dark; {colours} }}\n{css}\n{_STYLE}"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark[1]} }} }}"
    )
