from studio.domain.events import Checkpoint, Event, Failed, Finished, Metric, Phase, Started, Warned
from studio.ui.progress import Progress, Watch, after


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


def test_events_are_read_once():
    class Jobs:
        def __init__(self) -> None:
            self.asked: list[int] = []

        def events(self, run_id: str, offset: int) -> tuple[list[Event], int]:
            self.asked.append(offset)
            return ([loss(1, 2.0)], 80) if offset == 0 else ([], 80)

    jobs = Jobs()
    watch = Watch(jobs)  # type: ignore[arg-type]
    assert watch.progress("r").losses == watch.progress("r").losses == ((1, 2.0),)
    assert jobs.asked == [0, 80]
