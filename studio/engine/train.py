"""The run itself: train(job, emit, should_stop)."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from studio.domain.config import TrainConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import Stopped, StudioError
from studio.domain.events import Checkpoint, Emit, Event, Metric, Phase, Started, Warned
from studio.engine import checkpoint, divergence, forgetting, neftune, optimizers, recovery, sharding, trainee
from studio.engine.encode import fingerprint
from studio.engine.forgetting import Forgotten, Remembering
from studio.engine.general import General
from studio.engine.out_of_memory import fitting, is_out_of_memory
from studio.engine.ranks import ALONE, Ranks, check_sharding
from studio.engine.samples import Samples, answer
from studio.engine.schedule import learning_rate
from studio.engine.steps import Steps, micro_batches, plan_steps

ShouldStop = Callable[[], bool]
Result = TypeVar("Result")


@dataclass(frozen=True)
class TrainJob:
    """All that a run needs. `config` is resolved; `folder` receives checkpoints/ and in the end adapter/ or model/."""

    run: str
    model_path: Path
    config: TrainConfig
    train: Sequence[Encoded]
    held_out: Sequence[Encoded]
    folder: Path
    device: str
    pad_id: int
    adapter: Path | None = None
    """What the adapter begins with, in continual tuning."""
    general: General = field(default_factory=General)
    """What forgetting is measured on and held against."""
    samples: Samples = field(default_factory=Samples)
    """Prompts that are answered now and then."""
    ranks: Ranks = ALONE
    """The processes that train together: each calls `train` with the same job, and its own rank."""

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def steps(self) -> Steps:
        config = self.config
        return plan_steps(
            len(self.train), config.batch_size, _given(config.epochs), config.max_steps, config.seed
        )


@dataclass
class _Tally:
    """What a run has done so far; goes into each checkpoint and comes back from it."""

    step: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    """Spent in optimizer steps alone."""
    loss: float = 0.0
    eval_loss: float | None = None
    evaluated_step: int = -1
    answered_step: int = -1
    best_loss: float | None = None
    best_step: int = 0
    since_best: int = 0
    rows_at_once: int | None = None
    calm_losses: Sequence[float] = ()
    wild_steps: int = 0
    rate_share: float = 1.0
    """Of the planned learning rate; less once the run has diverged."""
    since: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.since

    def progress(self) -> checkpoint.Progress:
        return checkpoint.Progress(
            step=self.step,
            tokens=self.tokens,
            trained_tokens=self.trained_tokens,
            seconds=self.elapsed(),
            train_seconds=self.train_seconds,
            loss=self.loss,
            eval_loss=self.eval_loss,
            evaluated_step=self.evaluated_step,
            best_loss=self.best_loss,
            best_step=self.best_step,
            since_best=self.since_best,
            rows_at_once=self.rows_at_once,
            calm_losses=self.calm_losses,
            wild_steps=self.wild_steps,
            answered_step=self.answered_step,
        )

    def measured(self, eval_loss: float | None) -> None:
        """Take down an evaluation; that before the first step is of no weights of this run, and never its best.

        Without held-out rows there is no loss, and nothing is better than another.
        """
        self.eval_loss, self.evaluated_step = eval_loss, self.step
        if eval_loss is None:
            return
        if self.step and (self.best_loss is None or eval_loss < self.best_loss):
            self.best_loss, self.best_step, self.since_best = eval_loss, self.step, 0
        elif self.step:
            self.since_best += 1

    def stepped(self, loss: float) -> None:
        """Take down that a step was done, with this loss."""
        self.step, self.loss = self.step + 1, loss
        self.calm_losses, self.wild_steps = divergence.after(self.calm_losses, self.wild_steps, loss)

    @classmethod
    def resumed(cls, done: checkpoint.Progress) -> _Tally:
        return cls(**asdict(done))


def train(job: TrainJob, emit: Emit, should_stop: ShouldStop) -> dict[str, float]:
    """Run to the end and return the final metrics.

    Goes on from the latest checkpoint in `job.folder` where there is one, bit for bit as if it had not stopped. Raises
    Stopped once `should_stop()` is true, after a checkpoint if a step was done; StudioError where it cannot go on.
    Of several processes, only the leader's `emit` is called, and only the leader writes; it is enough that one is told
    to stop. Raises PeerLost where another one is gone.
    """
    ranks = job.ranks
    if not ranks.leads:
        emit = _silent
    if ranks.sharded:
        check_sharding(job.config)
        should_stop = _agreed(ranks, should_stop)  # all go through the model together, or none does
    emit(Phase(name="loading"))
    model = trainee.build(
        job.model_path,
        job.config,
        job.device,
        pad_id=job.pad_id,
        adapter=job.adapter,
        in_parts=ranks.sharded,
    )
    if ranks.sharded:
        _shard(model, job)
    _check_packing(model, job, emit)
    optimizer = optimizers.build(model.parameters, job.config, job.device)
    tally = _Tally()
    found = _newest_checkpoint(job, emit)
    if ranks.rank:  # dropout on different rows must not be the same one
        torch.manual_seed(
            job.config.seed + 1_000_003 * ranks.rank + (recovery.step_of(found) if found else 0)
        )
    if found:
        tally = _Tally.resumed(checkpoint.restore(found, model.state, optimizer, ranks.rank))
    emit(
        Started(
            run=job.run,
            steps=job.steps.count,
            step=tally.step,
            rows=len(job.train),
            held_out_rows=len(job.held_out),
            tokens=sum(row.total for row in job.train),
            trained_tokens=sum(row.trained for row in job.train),
            encoded_sha256=fingerprint(job.train),
            trainable_parameters=model.trainable,
        )
    )
    tally.rate_share = ranks.from_leader(divergence.rate_share(job.checkpoints, tally.step, emit))
    kept = _remember(model, job, tally, emit, should_stop)
    if _evaluation_is_due(job, tally, kept):
        _evaluate(model, job, tally, kept, emit, should_stop)
    _answer_samples(model, job, tally, emit, should_stop)
    emit(Phase(name="training", done=tally.step, total=job.steps.count))
    try:
        _loop(model, optimizer, job, tally, kept, emit, should_stop)
    except divergence.Diverged:
        if ranks.leads:
            divergence.remember(job.checkpoints, tally.step - tally.wild_steps)
        raise
    emit(Phase(name="saving"))
    step, eval_loss = _take_best(model, job, tally, emit)
    _save_result(model, job)
    return {
        "steps": float(tally.step),
        "tokens": float(tally.tokens),
        "trained_tokens": float(tally.trained_tokens),
        "loss": tally.loss,
        "seconds": round(tally.elapsed(), 3),
        "train_seconds": round(tally.train_seconds, 3),
        "result_step": float(step),
        **({"eval_loss": eval_loss} if eval_loss is not None else {}),
    }


def _silent(_: Event) -> None:
    """What the processes beside the leader say."""


def _agreed(ranks: Ranks, should_stop: ShouldStop) -> ShouldStop:
    return lambda: ranks.any(should_stop())


def _newest_checkpoint(job: TrainJob, emit: Emit) -> Path | None:
    """What all processes go on from: the leader looks, and hands it to those on other machines."""
    ranks = job.ranks
    found = recovery.newest_whole(job.checkpoints, emit) if ranks.leads else None
    if ranks.size == 1:
        return found
    step = int(ranks.from_leader(recovery.step_of(found) if found else 0))
    if not step:
        return None
    path = checkpoint.of_step(job.checkpoints, step)
    ranks.hand_on(path)
    return path


def _loop(
    model: trainee.Trainee,
    optimizer: torch.optim.Optimizer,
    job: TrainJob,
    tally: _Tally,
    kept: Remembering,
    emit: Emit,
    should_stop: ShouldStop,
) -> None:
    config, steps, ranks = job.config, job.steps.count, job.ranks
    checkpoint_is_due = False
    model.model.train()
    while tally.step < steps and not _is_out_of_patience(config, tally):
        if ranks.any(should_stop()):
            _save_checkpoint(model, optimizer, job, tally, emit)
            raise Stopped
        begun = time.monotonic()
        rate = learning_rate(tally.step, steps, config) * tally.rate_share
        optimizers.set_rate(optimizer, rate)
        rows = [job.train[index] for index in job.steps.batch(tally.step)]
        loss, penalty, norm = _step(model, optimizer, rows, config, kept, tally, emit, ranks)
        took = time.monotonic() - begun
        tokens, trained = sum(row.total for row in rows), sum(row.trained for row in rows)
        tally.stepped(loss)
        tally.tokens += tokens
        tally.trained_tokens += trained
        tally.train_seconds += took
        emit(
            Metric(
                step=tally.step,
                epoch=round(job.steps.epoch_at(tally.step), 6),
                loss=loss,
                penalty=penalty,
                learning_rate=rate,
                grad_norm=norm,
                tokens=tally.tokens,
                trained_tokens=tally.trained_tokens,
                tokens_per_second=tokens / took,
                memory_bytes=memory_in_use(job.device),
            )
        )
        divergence.check_calm(tally.step, tally.calm_losses, tally.wild_steps, loss)
        # Measured before it is saved: a run that goes on from here has not lost the measurement.
        if _evaluation_is_due(job, tally, kept):
            _evaluate(model, job, tally, kept, emit, should_stop)
        _answer_samples(model, job, tally, emit, should_stop)
        ends = tally.step == steps or _is_out_of_patience(config, tally)
        checkpoint_is_due |= tally.step % (config.save_steps or steps) == 0
        # While the loss may be exploding, the checkpoints from before are worth more.
        if ends or (checkpoint_is_due and not tally.wild_steps):
            _save_checkpoint(model, optimizer, job, tally, emit)
            checkpoint_is_due = False
    if tally.step < steps:
        emit(
            Warned(
                severity="info",
                template="Training ended at step {step} of {steps}: in {patience} evaluations since step {best}, the "
                "held-out loss had not improved.",
                values={
                    "step": tally.step,
                    "steps": steps,
                    "best": tally.best_step,
                    "patience": config.patience,
                },
            )
        )


def _is_out_of_patience(config: TrainConfig, tally: _Tally) -> bool:
    return config.patience is not None and tally.since_best >= config.patience


def _remember(
    model: trainee.Trainee, job: TrainJob, tally: _Tally, emit: Emit, should_stop: ShouldStop
) -> Remembering:
    """What the model knows before the first step; of a run that goes on, as it was then."""
    folder = job.folder / "remembering"
    ranks = job.ranks
    if tally.step:
        ranks.hand_on(folder)
        return forgetting.resume(model, job.config, folder, emit)
    if job.general.gauged or job.config.ewc:
        emit(Phase(name="remembering"))

    def begun(size: int) -> Remembering:
        if not (ranks.leads or ranks.sharded):
            return Remembering()  # the leader asks the model for all
        return forgetting.begin(
            model,
            job.config,
            job.general,
            folder,
            size,
            should_stop,
            lambda done, total: emit(Phase(name="remembering", done=done, total=total)),
            writes=ranks.leads,
        )

    kept = _in_memory(begun, job.config.micro_batch_size or 8, tally, emit, ranks)
    ranks.hand_on(folder)
    return kept if ranks.leads or ranks.sharded else forgetting.resume(model, job.config, folder, emit)


def _evaluation_is_due(job: TrainJob, tally: _Tally, kept: Remembering) -> bool:
    """At the start, every `eval_steps`, and at the end; once each, also when a run was stopped in between."""
    if not (job.held_out or kept.gauge) or tally.evaluated_step == tally.step:
        return False
    every = job.config.eval_steps or job.steps.count
    return tally.step % every == 0 or tally.step == job.steps.count


def _step(
    model: trainee.Trainee,
    optimizer: torch.optim.Optimizer,
    rows: Sequence[Encoded],
    config: TrainConfig,
    kept: Remembering,
    tally: _Tally,
    emit: Emit,
    ranks: Ranks,
) -> tuple[float, float | None, float]:
    """One optimizer step: mean loss over the batch's trained tokens, EWC's penalty, gradient's norm before clipping.

    Of several processes each adds up its share of the rows; from the sum on, all do the same.
    """

    def accumulated(size: int) -> float:
        optimizer.zero_grad(set_to_none=True)
        return accumulate(model, rows, config, tally.step, size, ranks)

    own = _in_memory(accumulated, config.micro_batch_size or len(rows), tally, emit, ranks)
    if model.sharded is None:  # else it was done in the backward pass
        ranks.sum_gradients(model.parameters.values())
    (total,) = ranks.total(own)
    penalty = kept.add_gradients()
    parameters = list(model.parameters.values())
    if tally.step == 0 and not ranks.any(any(_reaches(parameter) for parameter in parameters)):
        raise StudioError(
            "No gradient reaches the trained weights: the run would learn nothing.",
            "Choose another method or number format, and report this model.",
        )
    limit = config.max_grad_norm or math.inf
    norm = float(sharding.whole(torch.nn.utils.clip_grad_norm_(parameters, limit)))
    divergence.check_number(tally.step + 1, total, norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total, penalty, norm


def _reaches(parameter: torch.nn.Parameter) -> bool:
    """Whether a gradient reaches it, or the part of it that is here."""
    return parameter.grad is not None and bool(sharding.part(parameter.grad).any())


def accumulate(
    model: trainee.Trainee,
    rows: Sequence[Encoded],
    config: TrainConfig,
    step: int,
    size: int,
    ranks: Ranks = ALONE,
) -> float:
    """Add up the gradient of the 0-based step `step` over this process's share of its rows; returns the loss's share.

    `size` rows pass through the model at once. Each micro-batch's sum is divided by the trained tokens of the whole
    batch, so that how the batch is cut up does not weigh its tokens differently.
    """
    trained = sum(row.trained for row in rows)
    total = 0.0
    seeds = neftune.seeds(config.seed, step, len(rows)) if config.neftune_alpha else []
    share = ranks.share(rows) if ranks.size > 1 else [*range(len(rows))]
    for places in micro_batches(share, size):
        batch = model.collate([rows[place] for place in places], fills=True)
        loss = model.loss(batch, [seeds[place] for place in places] if seeds else ()) / trained
        loss.backward()
        total += loss.item()
        del loss  # its graph's small pieces would lie strewn over the heap while the next portion needs room
    for _ in range(ranks.passes(rows, size) - -(-len(share) // size) if ranks.sharded else 0):
        # The others still pass through the model, and need this process's part of the weights.
        (0.0 * model.loss(model.collate(rows[:1]))).backward()
    return total


def _in_memory(
    work: Callable[[int], Result], size: int, tally: _Tally, emit: Emit, ranks: Ranks = ALONE
) -> Result:
    """`work(rows at once)`, with `size` or as few as fit on every process: from then on the run keeps to those."""

    def halved(fewer: int) -> None:
        tally.rows_at_once = fewer
        emit(
            Warned(
                template="Memory ran out at step {step}: from here on, the micro-batch size is {rows}.",
                remedy="Nothing to do: the result is the same, only slower.",
                values={"step": tally.step + 1, "rows": fewer},
            )
        )

    try:
        if ranks.sharded:  # the others are amid a pass of as many rows, which nobody can go on with alone
            return work(size)
        return fitting(ranks.together(work), min(size, tally.rows_at_once or size), halved)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise StudioError(
            "Memory ran out at step {step}, even with one row at once.",
            "Close what else uses the memory, then resume it from its last checkpoint. Or start a new run with a lower "
            "maximum length, gradient checkpointing or QLoRA.",
            step=tally.step + 1,
        ) from error


def _evaluate(
    model: trainee.Trainee,
    job: TrainJob,
    tally: _Tally,
    kept: Remembering,
    emit: Emit,
    should_stop: ShouldStop,
) -> None:
    """Mean held-out loss a trained token, and what is forgotten; leaves the random state as it was.

    What `should_stop` breaks off is measured again when the run goes on.
    """

    ranks = job.ranks

    def measured(size: int) -> tuple[float, Forgotten]:
        summed = _held_out_loss(model, job.held_out, size, emit, should_stop, ranks)
        if not (ranks.leads or ranks.sharded):
            return summed, Forgotten()
        return summed, kept.measure(model, size, should_stop)

    model.model.eval()
    with contextlib.suppress(Stopped):
        own, told = _in_memory(measured, job.config.micro_batch_size or 8, tally, emit, ranks)
        (summed,) = ranks.total(own)
        trained = sum(row.trained for row in job.held_out)
        tally.measured(summed / trained if trained else None)
        if job.config.result == "best" and tally.best_step == tally.step > 0:
            checkpoint.save_best(job.checkpoints, model.state, tally.step, ranks)
        emit(
            Metric(
                step=tally.step,
                epoch=round(job.steps.epoch_at(tally.step), 6),
                eval_loss=tally.eval_loss,
                tokens=tally.tokens,
                trained_tokens=tally.trained_tokens,
                general_loss=told.general_loss,
                divergence=told.divergence,
                forgetting=told.forgetting,
            )
        )
    model.model.train()
    emit(Phase(name="training", done=tally.step, total=job.steps.count))


def _answer_samples(
    model: trainee.Trainee, job: TrainJob, tally: _Tally, emit: Emit, should_stop: ShouldStop
) -> None:
    """What the model says by now, where it is time for that: at the start, every so many steps, and at the end.

    What `should_stop` breaks off is said when the run goes on.
    """
    steps = job.steps.count
    ends = tally.step == steps or _is_out_of_patience(job.config, tally)
    due = ends or tally.step % job.samples.every(job.config, steps) == 0
    if not (job.samples.asked and due) or tally.answered_step == tally.step:
        return
    ranks = job.ranks
    emit(Phase(name="answering"))
    model.model.eval()

    def answered(_: int) -> None:
        if ranks.leads or ranks.sharded:
            answer(model, job.samples, tally.step, emit, should_stop)

    try:
        ranks.together(answered)(1)
        tally.answered_step = tally.step
    except Stopped:
        pass  # the training loop hears it too
    except Exception as error:
        if ranks.sharded or not is_out_of_memory(error):
            raise
        emit(
            Warned(
                template="Memory was too short for the sample answers at step {step}.",
                remedy="Training goes on without them. Fewer or shorter ones take less.",
                values={"step": tally.step},
            )
        )
    model.model.train()
    emit(Phase(name="training", done=tally.step, total=job.steps.count))


@torch.no_grad()
def _held_out_loss(
    model: trainee.Trainee,
    rows: Sequence[Encoded],
    size: int,
    emit: Emit,
    should_stop: ShouldStop,
    ranks: Ranks,
) -> float:
    """Summed over this process's share of the rows, in nats. Raises Stopped once `should_stop()` is true."""
    if not rows:
        return 0.0
    share = [rows[place] for place in ranks.share(rows)] if ranks.size > 1 else rows
    total, done = 0.0, 0
    emit(Phase(name="evaluating", total=len(rows)))
    for part in micro_batches(share, size):
        if should_stop():
            raise Stopped
        total += float(model.loss(model.collate(part, fills=True)))
        done += len(part)
        emit(Phase(name="evaluating", done=round(done * len(rows) / len(share)), total=len(rows)))
    for _ in range(ranks.passes(rows, size) - -(-len(share) // size) if ranks.sharded else 0):
        if should_stop():
            raise Stopped
        model.loss(model.collate(rows[:1]))  # only to pass with the others
    return total


def _save_checkpoint(
    model: trainee.Trainee, optimizer: torch.optim.Optimizer, job: TrainJob, tally: _Tally, emit: Emit
) -> None:
    if tally.step == 0:
        return
    folder = checkpoint.save(
        job.checkpoints, model.state, optimizer, tally.progress(), job.config.keep_checkpoints, job.ranks
    )
    emit(Checkpoint(step=tally.step, path=folder.relative_to(job.folder).as_posix()))


def _take_best(model: trainee.Trainee, job: TrainJob, tally: _Tally, emit: Emit) -> tuple[int, float | None]:
    """Put the best weights back in place where they are the result: the result's step and held-out loss."""
    if job.config.result == "last" or tally.best_step in (0, tally.step):
        return tally.step, tally.eval_loss
    best, ranks = checkpoint.best(job.checkpoints, tally.best_step), job.ranks
    whole = ranks.leads and recovery.best_is_whole(best, tally.best_step, tally.step, emit)
    if not ranks.any(whole):
        return tally.step, tally.eval_loss
    ranks.hand_on(best)
    checkpoint.restore_weights(best, model.state)
    emit(
        Warned(
            severity="info",
            template="The result is of step {best}, where the held-out loss was lowest: {loss}; it ended at {last}.",
            remedy="The last weights are kept as the latest checkpoint.",
            values={
                "best": tally.best_step,
                "loss": f"{tally.best_loss:.4f}",
                "last": f"{tally.eval_loss:.4f}",
            },
        )
    )
    return tally.best_step, tally.best_loss


def _save_result(model: trainee.Trainee, job: TrainJob) -> None:
    """adapter/ (or model/ after full tuning), written beside and then renamed."""
    weights = model.whole_weights()
    if not job.ranks.leads:
        return
    target = job.folder / ("model" if job.config.method == "full" else "adapter")
    partial = job.folder / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.save(partial, weights)
    shutil.rmtree(target, ignore_errors=True)  # of a process that was killed between here and its last word
    partial.rename(target)


def _check_packing(model: trainee.Trainee, job: TrainJob, emit: Emit) -> None:
    if model.packing and job.ranks.any(not trainee.packing_is_exact(model, job.train)):
        trainee.unpack(model)
        emit(
            Warned(
                template="This model's rows cannot be packed without seeing each other, so batches are padded.",
                remedy="Nothing to do: the result is the same, only slower.",
            )
        )


def _shard(model: trainee.Trainee, job: TrainJob) -> None:
    """Hold the weights in parts from here on: all of them, or the frozen ones under an adapter."""
    if job.config.method != "full":
        sharding.shard_frozen(model, job.ranks)
        return
    model.sharded = sharding.shard(model, job.ranks)
    # torch takes whatever is called first for the outermost part: that has to be the whole, not a layer that generates.
    model.model.eval()
    with torch.no_grad():
        model.loss(model.collate([min(job.train, key=lambda row: row.total)]))
    model.model.train()


def memory_in_use(device: str) -> int:
    """Bytes: the most allocated so far on a GPU, this process's resident memory elsewhere."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)


def _given(value: float | None) -> float:
    assert value is not None, "the configuration was not resolved"
    return value
