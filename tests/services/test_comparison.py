from typing import Any

from studio.domain.config import RunConfig
from studio.domain.events import Finished, Metric, Started
from studio.domain.run import Run
from studio.services.comparison import Candidate, differences, ordered
from studio.services.progress import Progress, after
from studio.ui import comparison_views
from studio.ui.i18n import words

EN = words("en")


def candidate(name: str, held_out: float | None, **train: Any) -> Candidate:
    started = Started(
        run=name, steps=9, rows=8, held_out_rows=2, tokens=9, trained_tokens=5, encoded_sha256="0"
    )
    metrics = {} if held_out is None else {"eval_loss": held_out}
    progress = after(
        Progress(), [started, Metric(step=9, epoch=1, loss=1.0), Finished(state="finished", metrics=metrics)]
    )
    config = RunConfig.model_validate({"data": {"path": "rows.jsonl"}, "train": train})
    return Candidate(Run(name, name, "finished"), progress, config)


def test_only_settings_that_differ_are_named():
    runs = [candidate("a", 1.0, rank=8), candidate("b", 1.0, rank=16, seed=7)]
    assert differences(runs) == {"train.rank": [8, 16], "train.seed": [42, 7]}
    assert differences([runs[0], runs[0]]) == {}


def test_the_lowest_comes_first_and_what_was_not_measured_last():
    runs = [candidate("a", None), candidate("b", 2.0), candidate("c", 1.0)]
    assert [one.run.id for one in ordered(runs, "held_out_loss")] == ["c", "b", "a"]


def test_runs_are_ordered_by_a_setting_too():
    runs = [candidate("a", 1.0, rank=16), candidate("b", 2.0, rank=8)]
    assert [one.run.id for one in ordered(runs, "rank")] == ["b", "a"]


def test_a_run_keeps_its_colour_wherever_it_stands():
    drawn = comparison_views.table(EN, [candidate("a", 2.0), candidate("b", 1.0)], "held_out_loss")
    assert drawn.index("key-run-2") < drawn.index("key-run-1")
    assert 'aria-sort="ascending"' in drawn


def test_names_are_escaped_and_same_settings_are_said():
    runs = [candidate("<b>a", 1.0), candidate("<b>b", 1.0)]
    assert "<b>a" not in comparison_views.table(EN, runs, "rank")
    assert comparison_views.settings(EN, runs) == '<p class="muted">All settings are the same.</p>'
