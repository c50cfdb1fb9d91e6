import re

import pytest

from studio.domain.events import Metric, Started
from studio.services.progress import Progress, after
from studio.services.series import Series
from studio.ui import axes, plots
from studio.ui.i18n import words

EN = words("en")
LABELS = plots.Labels("Title", "What it shows.", "Step")


def started(steps: int, step: int = 0) -> Started:
    return Started(
        run="r",
        steps=steps,
        step=step,
        rows=8,
        held_out_rows=2,
        tokens=100,
        trained_tokens=50,
        encoded_sha256="0",
    )


def metric(step: int, **values: float) -> Metric:
    return Metric(step=step, epoch=step / 10, **values)


def run_of(*losses: float, steps: int = 10, held_out: dict[int, float] | None = None) -> Progress:
    events = [started(steps), *(metric(step, eval_loss=loss) for step, loss in (held_out or {}).items())]
    return after(
        Progress(), [*events, *(metric(step, loss=loss) for step, loss in enumerate(losses, start=1))]
    )


def test_before_the_first_loss_the_place_of_the_curve_is_kept():
    assert (
        plots.loss_chart(EN, Progress())
        == '<div class="plot-empty"><p>The curve begins with the first step.</p></div>'
    )


def test_the_first_step_is_drawn_as_a_point():
    drawn = plots.loss_chart(EN, run_of(2.0))
    assert '<path class="plot-dot line-raw" d="M100.0 ' in drawn


def test_the_held_out_loss_before_the_first_step_stands_at_zero():
    drawn = plots.loss_chart(EN, run_of(held_out={0: 3.0}))
    assert '<path class="plot-dot line-held-out" d="M0.0 ' in drawn


def test_the_axis_of_steps_is_the_planned_run_from_the_first_point_on():
    early, late = plots.loss_chart(EN, run_of(2.0, 1.9)), plots.loss_chart(EN, run_of(*[2.0] * 10))
    marks = re.search(r'class="plot-x".*?</div>', early)
    assert marks is not None
    assert marks.group() in late


def test_the_axis_of_losses_stands_still_while_the_loss_falls_within_its_room():
    assert axes.roomy(2.9, 3.1) == axes.roomy(2.5, 3.1)


def test_the_axis_of_what_is_forgotten_shows_small_changes():
    axis = axes.fitted(2.31, 2.53)
    assert (axis.low, axis.high) == (2.3, 2.55)


def test_on_a_log_scale_equal_ratios_are_equally_far_apart():
    axis = axes.logarithmic(0.01, 100.0)
    assert axis.share(1.0) - axis.share(0.1) == pytest.approx(axis.share(10.0) - axis.share(1.0))


def test_a_log_scale_leaves_out_what_is_not_above_zero():
    drawn = plots.chart("x", [plots.Curve("c", Series([(1, 0.0), (2, 1.0)]), "train")], 2, LABELS, log=True)
    assert drawn.count("plot-dot") == 1


def test_a_chart_says_its_numbers_in_words():
    drawn = plots.loss_chart(EN, run_of(2.0, 1.5, held_out={0: 3.0}))
    assert (
        '<desc id="loss-desc">Train loss from 2 to 1.5 at step 2. Held-out loss from 3 to 3 at step 0.</desc>'
        in drawn
    )


def test_the_table_lists_every_evaluation_beside_steps_at_even_distances():
    events = [started(1000), *(metric(step, loss=1.0, learning_rate=1e-3) for step in range(1, 1001))]
    table = plots.table(EN, after(Progress(), [*events, metric(333, eval_loss=2.0)]))
    assert "<th>Train loss</th><th>Held-out loss</th><th>Learning rate</th></tr>" in table
    assert "<tr><td>333</td><td>1</td><td>2</td><td>0.001</td></tr>" in table
    assert table.count("<tr>") < 60


def test_smoothing_draws_the_loss_pale_and_its_average_beside_it():
    run = run_of(2.0, 1.0, 2.0, 1.0)
    assert "line-raw" in plots.loss_chart(EN, run)
    plain = plots.loss_chart(EN, run, plots.View(smoothing=0))
    assert "line-raw" not in plain
    assert "line-train" in plain


def test_a_hundred_thousand_steps_are_drawn_as_a_few_hundred_points():
    steps = 100_000
    events = [metric(step, loss=1.0 + 1 / step, learning_rate=1e-3) for step in range(1, steps + 1)]
    drawn = plots.run_charts(EN, after(Progress(), [started(steps), *events]))
    assert len(drawn) < 300_000
    assert '<span style="left:100.00%">100,000</span>' in drawn


def test_names_of_runs_are_escaped():
    drawn = plots.compared(EN, [("<script>", run_of(2.0, 1.0)), ("b", run_of(2.0, 1.0))])
    assert "<script>" not in drawn


def test_a_loss_that_is_no_number_is_left_out():
    assert run_of(2.0, float("inf"), 1.0).losses == ((1, 2.0), (3, 1.0))


def test_compared_runs_share_an_axis_that_ends_where_the_longest_of_them_is():
    drawn = plots.compared(EN, [("short", run_of(2.0, 1.0)), ("long", run_of(2.0, 1.5, 1.2, 1.0, steps=400))])
    assert '<span style="left:100.00%">4</span>' in drawn
