from studio.domain.events import Checkpoint, Event, Failed, Finished, Metric, Phase, Started, Warned
from studio.services.progress import Progress, Watch, after


def at(second: int, event: Event) -> Event:
    return event.model_copy(update={"at": f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"})


def started(step: int = 0) -> Started:
    return Started(
        run="r",
        steps=9,
        step=step,
        rows=8,
        held_out_rows=2,
        tokens=100,
        trained_tokens=50,
        encoded_sha256="0",
    )


def loss(step: int, value: float) -> Metric:
    return Metric(step=step, epoch=0.0, loss=value)


def measured(step: int, value: float) -> Metric:
    return Metric(step=step, epoch=0.0, eval_loss=value)


def test_steps_beyond_the_checkpoint_are_forgotten_on_resume():
    events = [
        started(),
        measured(0, 3.0),
        loss(1, 2.0),
        measured(1, 2.5),
        loss(2, 1.9),
        started(step=1),
        loss(2, 1.8),
    ]
    progress = after(Progress(), events)
    assert progress.losses == ((1, 2.0), (2, 1.8))
    assert progress.held_out == ((0, 3.0), (1, 2.5))


def test_a_run_that_begins_again_measures_its_baseline_anew():
    progress = after(Progress(), [started(), measured(0, 3.0), loss(1, 2.0), started(), measured(0, 3.0)])
    assert progress.held_out == ((0, 3.0),)
    assert progress.losses == ()


def test_before_and_after_are_the_first_and_the_last_held_out_loss():
    progress = after(Progress(), [started(), measured(0, 3.0), measured(4, 1.0), measured(9, 0.5)])
    assert (progress.baseline, progress.measured) == (3.0, 0.5)


def test_the_baseline_alone_is_no_result():
    assert after(Progress(), [started(), measured(0, 3.0)]).measured is None


def test_elapsed_time_leaves_out_the_time_between_two_lives():
    events = [
        at(0, Phase(name="loading")),
        at(5, Phase(name="training")),
        at(10, loss(1, 2.0)),  # killed here
        at(100, Phase(name="loading")),
        at(103, loss(2, 1.0)),
        at(104, Finished(state="finished")),
    ]
    assert after(Progress(), events).elapsed(alive=False) == 14.0


def test_waiting_for_the_device_is_no_work():
    events = [at(0, Phase(name="queued")), at(50, Phase(name="loading")), at(52, Finished(state="stopped"))]
    assert after(Progress(), events).elapsed(alive=False) == 2.0


def test_a_failure_is_over_once_the_run_goes_on():
    failed = [at(0, Phase(name="loading")), at(1, Failed(template="The machine ran out of memory."))]
    assert after(Progress(), failed).failed is not None
    assert after(Progress(), [*failed, at(9, Phase(name="loading"))]).failed is None


def test_the_same_warning_is_shown_once():
    warned = Warned(template="Row {row} is long.", values={"row": 3})
    assert len(after(Progress(), [warned, warned]).warnings) == 1


def test_the_last_checkpoint_counts():
    assert after(Progress(), [Checkpoint(step=5, path="a"), Checkpoint(step=9, path="b")]).saved == 9


def test_what_an_evaluation_of_the_result_says_counts_not_that_of_the_last_step():
    def general(step: int, value: float) -> Metric:
        return Metric(step=step, epoch=0.0, general_loss=value)

    events = [started(), general(0, 2.0), general(4, 2.25), general(9, 3.0)]
    ended = Finished(state="finished", metrics={"result_step": 4.0})
    assert after(Progress(), events).forgotten == 1.0
    assert after(Progress(), [*events, ended]).forgotten == 0.25


def test_the_time_left_is_told_from_the_pace_of_this_life():
    events = [started(), at(0, loss(1, 2.0)), at(50, loss(2, 2.0)), started(step=1), at(100, loss(2, 1.9))]
    assert after(Progress(), events).seconds_left is None
    assert after(Progress(), [*events, at(104, loss(3, 1.8))]).seconds_left == 24.0


def test_many_events_at_once_come_to_the_same_as_one_after_the_other():
    events = [started(), measured(0, 3.0), loss(1, 2.0), measured(1, 2.5), loss(2, 1.9), started(step=1)]
    singly = Progress()
    for event in events:
        singly = after(singly, [event])
    assert singly == after(Progress(), events)


def test_events_are_read_once():
    asked = []

    def read(run_id: str, offset: int) -> tuple[list[Event], int]:
        asked.append(offset)
        return ([loss(1, 2.0)], 80) if offset == 0 else ([], 80)

    watch = Watch(read)
    assert watch.progress("r").losses == watch.progress("r").losses == ((1, 2.0),)
    assert asked == [0, 80, 80]
