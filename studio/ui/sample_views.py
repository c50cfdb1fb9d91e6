"""How a model's answers change while it is trained, as HTML: by prompt the first answer and the latest."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from studio.domain.events import Sample
from studio.services import ratings
from studio.services.store import Store
from studio.ui import live, views
from studio.ui.evaluate_views import withheld
from studio.ui.i18n import Words

_PROMPT = 300
"""Letters of a prompt that are shown."""


def of_run(say: Words, store: Store, run_id: str, samples: Sequence[Sample]) -> str:
    """As `panel`; not as long as people rate answers of the run, some of which these are."""
    return withheld(say) if samples and ratings.is_blind(store, run_id) else panel(say, samples)


def panel(say: Words, samples: Sequence[Sample]) -> str:
    """All prompts of a run with their answers so far; nothing before the first."""
    if not samples:
        return ""
    by_prompt: dict[tuple[int, str], list[Sample]] = {}
    for sample in samples:
        by_prompt.setdefault((sample.row, sample.prompt), []).append(sample)
    items = "".join(_timeline(say, number, said) for number, said in enumerate(by_prompt.values()))
    about = f'<p class="muted small">{escape(say("samples.about"))}</p>'
    return views.panel(say("samples.title"), f"{about}{items}")


def _timeline(say: Words, number: int, said: Sequence[Sample]) -> str:
    """What was wanted, the first answer and the latest; those between them folded."""
    first, *rest = said
    prompt = first.prompt if len(first.prompt) <= _PROMPT else f"{first.prompt[:_PROMPT]} …"
    rows = [_line(say("samples.expected"), first.expected, "wanted")] if first.expected else []
    rows += [_answer(say, sample) for sample in (first, *rest[-1:])]
    between = "".join(_answer(say, sample) for sample in rest[:-1])
    folded = (
        live.fold(f"samples-{number}", say("samples.between", count=len(rest) - 1), _table([between]))
        if between
        else ""
    )
    return f'<section class="sample"><p class="sample-prompt">{escape(prompt)}</p>{_table(rows)}{folded}</section>'


def _table(rows: Sequence[str]) -> str:
    return f'<table class="sample-answers"><tbody>{"".join(rows)}</tbody></table>'


def _answer(say: Words, sample: Sample) -> str:
    when = say("samples.step", step=views.count(sample.step)) if sample.step else say("samples.before")
    return _line(when, sample.text.strip() + ("" if sample.ended else " …"))


def _line(name: str, text: str, look: str = "") -> str:
    return f'<tr class="{look}"><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>'
