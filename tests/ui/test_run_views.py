from dataclasses import replace

from studio.domain.config import RunConfig
from studio.domain.events import Checkpoint, Failed, Finished, Metric, Phase, Started, Warned
from studio.domain.run import STATES, Run
from studio.services import history
from studio.services.progress import Progress, after
from studio.ui import run_views
from studio.ui.i18n import words
from studio.ui.run_views import Listed, Look

EN, ZH = words("en"), words("zh")
RUN = Run(
    "20260101-000000-a",
    "Tickets",
    "running",
    created="2026-01-01T00:00:00.000Z",
    model="starter",
    method="lora",
)
STARTED = Started(run="r", steps=8, rows=9, held_out_rows=2, tokens=9, trained_tokens=5, encoded_sha256="0")


def step(number: int, **values: float) -> Metric:
    return Metric(step=number, epoch=0.5, **values)


def test_every_state_has_a_chip_in_both_languages():
    for state in STATES:
        run = replace(RUN, state=state)
        assert 'class="chip' in run_views.chip(EN, run)
        assert 'class="chip' in run_views.chip(ZH, run)


def test_progress_is_said_in_steps_and_percent():
    drawn = run_views.status(EN, RUN, after(Progress(), [STARTED, step(2, loss=1.5)]))
    assert "2 of 8" in drawn
    assert 'aria-valuenow="25"' in drawn


def test_the_phase_is_said_in_words():
    progress = after(Progress(), [STARTED, Phase(name="evaluating")])
    assert run_views.doing(EN, RUN, progress) == "Measuring the held-out loss"


def test_a_stopping_run_says_that_its_checkpoint_comes():
    assert "checkpoint" in run_views.doing(EN, replace(RUN, state="stopping"), Progress())


def test_a_failure_is_red_with_cause_remedy_and_folded_traceback_in_the_readers_language():
    failed = Failed(
        template="The loss is no longer a number at step {step}: training has diverged.",
        remedy="Start a new run in another number format, or get the model anew.",
        values={"step": 7},
        traceback="Traceback <x>",
    )
    drawn = run_views.trouble(ZH, replace(RUN, state="failed"), after(Progress(), [failed]))
    assert 'class="error-box"' in drawn
    assert "The loss" not in drawn
    assert "Start" not in drawn
    assert "<pre>Traceback &lt;x&gt;</pre></details>" in drawn


def test_an_interrupted_run_says_which_step_is_kept():
    progress = after(Progress(), [Checkpoint(step=5, path="checkpoints/step-5")])
    assert "The checkpoint of step 5 is kept." in run_views.trouble(
        EN, replace(RUN, state="interrupted"), progress
    )


def test_the_result_says_how_far_the_held_out_loss_fell():
    progress = after(Progress(), [STARTED, step(0, eval_loss=2.0), step(8, eval_loss=0.5)])
    assert "75 % lower" in run_views.outcome(EN, replace(RUN, state="finished"), progress)


def test_a_loss_that_rose_is_not_called_a_success():
    progress = after(Progress(), [STARTED, step(0, eval_loss=2.0), step(8, eval_loss=3.0)])
    drawn = run_views.outcome(EN, replace(RUN, state="finished"), progress)
    assert "50 % higher" in drawn
    assert 'class="outcome bad"' in drawn


def test_without_held_out_rows_nothing_is_claimed():
    assert run_views.outcome(EN, replace(RUN, state="finished"), after(Progress(), [STARTED])) == ""


def test_a_run_that_ended_early_is_done_and_shows_the_loss_of_its_result():
    """Measured at 0.5, then 0.9; the result is of the first."""
    note = Warned(severity="info", template="Training ended.")
    ended = Finished(state="finished", metrics={"eval_loss": 0.5})
    events = [
        STARTED,
        step(0, eval_loss=2.0),
        step(2, loss=1.0, eval_loss=0.5),
        step(4, loss=0.4, eval_loss=0.9),
    ]
    progress = after(Progress(), [*events, note, ended])
    finished = replace(RUN, state="finished")
    drawn = run_views.status(EN, finished, progress)
    assert "4 of 8" in drawn
    assert 'aria-valuenow="100"' in drawn
    assert "0.500" in run_views.outcome(EN, finished, progress)
    assert 'class="chip chip-info">Note<' in run_views.notes(EN, progress, [])


def test_warnings_name_their_rows():
    progress = after(Progress(), [Warned(template="Something.", rows=[3, 17])])
    assert "Rows: 3, 17" in run_views.notes(EN, progress, [])


def test_the_list_offers_only_what_a_state_allows():
    def offered(state: str) -> str:
        return run_views.table(EN, [Listed(replace(RUN, state=state), Progress())], Look())

    assert 'data-do="stop"' in offered("running")
    assert 'data-do="resume"' not in offered("running")
    assert 'data-do="resume"' in offered("interrupted")
    assert 'data-do="stop"' not in offered("finished")
    assert 'data-do="resume"' not in offered("finished")


def test_deleting_asks_first():
    listed = Listed(replace(RUN, state="finished"), Progress(), size=2048)
    assert 'data-do="delete-yes"' not in run_views.table(EN, [listed], Look())
    asked = run_views.table(EN, [listed], Look(deleting=RUN.id))
    assert 'data-do="delete-yes"' in asked
    assert "2.0 KiB" in asked


def test_an_opened_run_names_the_steps_that_its_rows_went_through():
    step = {"number": 2, "kind": "edit", "at": "", "changed": 1, "dropped": 0, "asked": {"row": 7}}
    listed = Listed(RUN, Progress(), taken=history.of_run({"steps": [step]}))
    assert "Row 7 was edited." not in run_views.table(EN, [listed], Look())
    assert "<b>2. Row 7 was edited.</b>" in run_views.table(EN, [listed], Look(opened=RUN.id))


def test_names_are_escaped():
    assert "<b>x" not in run_views.table(EN, [Listed(replace(RUN, name="<b>x"), Progress())], Look())


def test_the_configuration_is_shown_as_it_was_used():
    config = RunConfig.model_validate({"data": {"path": "<rows>.jsonl"}, "train": {"rank": 7}})
    drawn = run_views.configuration(EN, config)
    assert "rank: 7" in drawn
    assert "path: &lt;rows&gt;.jsonl" in drawn


def test_a_run_that_was_cancelled_before_it_began_speaks_of_no_checkpoint():
    drawn = run_views.trouble(EN, replace(RUN, state="stopped"), Progress())
    assert "It had not begun yet." in drawn
    assert "checkpoint" not in drawn


def test_a_failure_offers_to_start_again_with_what_helps():
    failed = after(Progress(), [STARTED, Failed(template="The machine ran out of memory.", kind="memory")])
    remedies = {"memory": {"train.micro_batch_size": 1, "train.gradient_checkpointing": True}}
    drawn = run_views.trouble(EN, replace(RUN, state="failed"), failed, remedies)
    assert 'data-again="memory">Start again with Micro-batch size 1, Gradient checkpointing Yes<' in drawn
    assert "data-again" not in run_views.trouble(EN, replace(RUN, state="failed"), failed, {"memory": {}})


def test_what_the_curves_say_stands_among_the_notes():
    measured = [step(number, eval_loss=loss) for number, loss in ((0, 3.0), (1, 1.0), (2, 1.2), (3, 1.4))]
    drawn = run_views.notes(
        EN, after(Progress(), [STARTED, *measured]), [], {"overfitting": {"train.epochs": 1.0}}
    )
    assert "Since step 1 the held-out loss has been rising" in drawn
    assert "The weights of step 1 become the result" in drawn
    assert 'data-again="overfitting">Start again with Epochs 1<' in drawn
