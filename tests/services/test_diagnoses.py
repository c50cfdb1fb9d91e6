"""Curves as runs draw them, made up: what each diagnosis sees, and the noisy ones that it must leave alone."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from studio.domain.events import Finished, Metric, Started
from studio.services.diagnoses import diagnoses
from studio.services.progress import Progress, after

Curve = Callable[[int], float]


def run(
    steps: int,
    loss: Curve,
    held_out: Curve | None = None,
    *,
    done: int | None = None,
    every: int | None = None,
    noise: float = 0.1,
    moved: Curve = lambda step: 0.5,
    seed: int = 0,
) -> Progress:
    """A run of `steps`, `done` of them, measured every tenth of it."""
    draw = random.Random(seed)
    every = every or max(1, steps // 10)
    events = [
        Started(
            run="r",
            steps=steps,
            rows=8,
            held_out_rows=2,
            tokens=9,
            trained_tokens=5,
            encoded_sha256="0",
        )
    ]
    for step in range(done or steps):
        if held_out and step % every == 0:
            events.append(Metric(step=step, epoch=0, eval_loss=held_out(step), divergence=moved(step)))
        events.append(Metric(step=step + 1, epoch=0, loss=loss(step) + draw.gauss(0, noise)))
    if held_out:
        last = done or steps
        events.append(Metric(step=last, epoch=0, eval_loss=held_out(last), divergence=moved(last)))
    return after(Progress(), events if done else [*events, Finished(state="finished")])


def falling(steps: int) -> Curve:
    return lambda step: 1.2 + 1.3 * math.exp(-6 * step / steps)


def said(progress: Progress) -> list[str]:
    return [str(found.said.text) for found in diagnoses(progress)]


def test_a_healthy_run_is_left_alone():
    assert said(run(300, falling(300), falling(300))) == []


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("steps", [24, 60, 300, 3000])
def test_noise_alone_is_no_diagnosis_at_any_point_of_a_run(noise: float, steps: int):
    """Twelve runs each, two of the long ones, looked at nine times on their way; held-out losses waver by a percent."""
    wrong = []
    for seed in range(12 if steps < 1000 else 2):
        waver = random.Random(seed)
        curve = falling(steps)
        jitter = {step: curve(step) * (1 + waver.gauss(0, 0.005)) for step in range(steps + 1)}
        for done in range(steps // 10, steps, steps // 10):
            wrong += said(run(steps, curve, jitter.get, done=done, noise=noise, seed=seed))
    assert wrong == []


def test_a_run_over_the_same_rows_again_and_again_whose_loss_drops_by_epochs_is_left_alone():
    stairs = lambda step: 2.0 - 0.4 * (step // 50)  # noqa: E731
    assert said(run(200, stairs, lambda step: max(1.4, 2.0 - step / 150), noise=0.2)) == []


def test_a_rising_train_loss_is_said_to_diverge_with_the_step_where_it_was_lowest():
    rising = lambda step: 2.0 - step / 100 if step < 60 else 1.4 + (step - 60) / 40  # noqa: E731
    (text,) = said(run(200, rising, rising, done=140))
    assert text.startswith("The train loss is rising: from 1.4")


def test_a_rising_held_out_loss_names_the_best_step():
    v = lambda step: 2.0 - step / 200 if step <= 120 else 1.4 + (step - 120) / 400  # noqa: E731
    (text,) = said(run(300, falling(300), v, done=240))
    assert text == (
        "Since step 120 the held-out loss has been rising, from 1.400 to 1.700: the run learns its rows by heart."
    )


def test_one_worse_evaluation_is_not_yet_overfitting():
    v = lambda step: 2.0 - step / 200 if step <= 120 else 1.6  # noqa: E731
    assert said(run(300, falling(300), v, done=150)) == []


def test_a_held_out_loss_that_has_wavered_as_much_before_is_left_alone():
    wavering = {0: 2.0, 30: 1.6, 60: 1.75, 90: 1.5, 120: 1.55, 150: 1.62}
    assert said(run(300, falling(300), wavering.get, done=150)) == []


@pytest.mark.parametrize(
    "measured",
    [
        (6.721, 3.959, 3.604, 3.964, 3.436, 4.294, 4.569, 4.001, 3.218, 6.788, 5.235, 5.624),
        (6.721, 3.383, 2.939, 3.7, 3.164, 2.424, 2.393, 2.671, 2.435, 3.657, 1.97, 2.02),
        (6.721, 5.843, 6.298, 5.586, 4.507, 4.879, 4.145, 3.858, 3.595, 3.466),
        (3.122, 0.702, 0.287, 0.299),
        (7.067, 5.516, 3.526, 2.612, 2.165, 2.052),
    ],
)
def test_held_out_losses_of_real_short_runs_are_left_alone_all_along(measured: tuple[float, ...]):
    steps = len(measured) - 1
    for done in range(1, steps + 1):
        assert said(run(steps, lambda step: 1.0, measured.__getitem__, done=done, every=1, noise=0.5)) == []


def test_a_real_run_over_25_rows_twelve_times_is_seen_to_learn_them_by_heart():
    measured = dict(
        zip(range(0, 64, 8), (1.69, 1.755, 2.025, 2.103, 2.242, 2.296, 2.523, 2.552), strict=True)
    )
    (text,) = said(run(84, falling(84), lambda step: measured.get(step, 2.552), done=57, every=8))
    assert text.startswith("Since step 8 the held-out loss has been rising, from 1.755 to 2.552")


def test_a_loss_that_does_not_move_blames_the_rate():
    (text,) = said(run(100, lambda step: 2.0, lambda step: 2.0 - step / 1e4, done=40, moved=lambda _: 1e-4))
    assert text == (
        "After 40 steps the held-out loss has hardly changed, from 2.000 to 1.996: the learning rate is too low to "
        "move the model."
    )


def test_a_flat_loss_of_a_model_that_moved_is_not_blamed_on_the_rate():
    assert said(run(100, lambda step: 2.0, lambda step: 2.0, done=40, moved=lambda step: 0.2)) == []


def test_a_rate_is_not_judged_in_warm_up():
    assert said(run(100, lambda step: 2.0, lambda step: 2.0, done=20, moved=lambda _: 1e-4)) == []


def test_few_steps_that_taught_little_are_too_few():
    (text,) = said(
        run(6, lambda step: 2.0 - step / 60, lambda step: 2.0 - step / 60, every=3, moved=lambda _: 0.05)
    )
    assert text == "6 steps are too few to learn much: the held-out loss went from 2.000 to 1.900."


def test_few_steps_that_taught_much_are_enough():
    assert said(run(6, lambda step: 2.0 - step / 6, lambda step: 2.0 - step / 6, every=3)) == []


def test_a_run_that_ended_while_it_still_learnt_says_so():
    straight = lambda step: 2.5 - step / 300  # noqa: E731
    (text,) = said(run(300, straight, straight))
    assert text == "The held-out loss was still falling when the run ended."


def test_without_held_out_rows_nothing_is_claimed_about_them():
    assert said(run(300, falling(300))) == []
