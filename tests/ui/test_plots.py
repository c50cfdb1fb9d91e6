import re

from studio.domain.events import Metric, Started
from studio.ui import plots
from studio.ui.i18n import words
from studio.ui.progress import Progress, after

EN = words("en")


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
    assert plots.value_axis([3.1, 2.9]) == plots.value_axis([3.1, 2.9, 2.5])


def test_a_chart_says_its_numbers_in_words():
    drawn = plots.loss_chart(EN, run_of(2.0, 1.5, held_out={0: 3.0}))
    assert (
        '<desc id="loss-desc">Train loss from 2 to 1.5 at step 2. Held-out loss from 3 to 3 at step 0.</desc>'
        in drawn
    )


def test_the_table_lists_every_held_out_loss():
    table = plots.loss_table(EN, [(step, 1.0) for step in range(1, 1001)], [(0, 3.0), (333, 2.0)])
    assert "<tr><td>333</td><td>1</td><td>2</td></tr>" in table
    assert table.count("<tr>") < 60


def test_a_spike_survives_thinning():
    points = [(float(step), 1.0) for step in range(5000)]
    points[2500] = (2500.0, 9.0)
    thinned = plots.thinned(points, 600)
    assert (2500.0, 9.0) in thinned
    assert len(thinned) <= 601


def test_the_smoothed_loss_starts_at_the_first_loss():
    assert plots.smoothed([(1, 4.0), (2, 4.0)], 9) == ((1, 4.0), (2, 4.0))


def test_names_of_runs_are_escaped():
    drawn = plots.compared(EN, [("<script>", run_of(2.0, 1.0)), ("b", run_of(2.0, 1.0))])
    assert "<script>" not in drawn


def test_a_loss_that_is_no_number_is_left_out():
    assert run_of(2.0, float("inf"), 1.0).losses == ((1, 2.0), (3, 1.0))


def test_compared_runs_share_an_axis_that_ends_where_the_longest_of_them_is():
    drawn = plots.compared(EN, [("short", run_of(2.0, 1.0)), ("long", run_of(2.0, 1.5, 1.2, 1.0, steps=400))])
    assert '<span style="left:100.00%">4</span>' in drawn
