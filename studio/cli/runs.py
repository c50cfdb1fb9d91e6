"""Runs: `studio estimate`, `studio train` and `studio runs`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli import parsing
from studio.cli.parsing import add_verb, add_verbs
from studio.cli.printing import AT_FAULT, DONE, STOPPED, print_finding, print_json, size
from studio.cli.progress import Progress, shown_progress
from studio.domain.errors import StudioError
from studio.domain.events import Event, Failed, Metric, Phase, Started, Warned
from studio.domain.run import ALIVE, Run
from studio.services.files import write_text
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs
    from studio.engine.fit import Fitted
    from studio.services.jobs import Jobs


def add_to(verbs: Verbs) -> None:
    """Declare the verbs of this module."""
    cost = add_verb(verbs, "estimate", estimate, "memory, tokens, steps and time before a run")
    begin = add_verb(verbs, "train", train, "train to the end, or in the background")
    job = add_verb(verbs, "launch-file", launch_file, "a run as a job file for Slurm or SkyPilot")
    job.add_argument("--for", dest="scheduler", choices=["slurm", "skypilot"], required=True)
    job.add_argument("--out", help="where to write it; without it, it is printed")
    job.add_argument("--gpus", type=int, default=1, help="GPUs of the machine, each with a process; 0: none")
    job.add_argument("--gpu", default="", help="their kind, as the scheduler calls it")
    job.add_argument("--cores", type=int, default=8)
    job.add_argument("--hours", type=int, default=24, help="after which Slurm ends the job")
    for parser in (cost, begin, job):
        parser.add_argument("config", help="YAML or JSON file")
        parser.add_argument("--set", action="append", metavar="section.key=value", help="replace one setting")
    cost.add_argument(
        "--fit", action="store_true", help="change what has to be changed for it to fit into memory"
    )
    inner = add_verbs(add_verb(verbs, "runs", list_runs, "all runs and their states"))
    show_one = add_verb(inner, "show", show, "one run with its configuration")
    proof = add_verb(inner, "receipt", receipt, "what a run was made from and by, with the hash of each")
    follow = add_verb(inner, "watch", watch, "follow a run until it ends")
    end = add_verb(
        inner, "stop", stop, "stop after the current step, with a checkpoint; a queued run leaves the queue"
    )
    go_on = add_verb(inner, "resume", resume, "go on from the last checkpoint")
    remove = add_verb(inner, "delete", delete, "remove a run and all its files")
    shift = add_verb(inner, "move", move, "give a queued run another place in the queue")
    for parser in (show_one, proof, follow, end, go_on, remove, shift):
        parser.add_argument("run", help="id of the run, as `studio runs` shows it")
    tidy = add_verb(
        inner, "clean", clean, "remove the checkpoints of runs that finished long ago; results stay"
    )
    tidy.add_argument(
        "--older-than",
        type=float,
        default=30.0,
        metavar="DAYS",
        help="days since they finished; 30 unless given",
    )
    tidy.add_argument("--yes", action="store_true", help="without it, only what would be removed is shown")
    taken = add_verb(
        inner, "import", import_run, "take over a run from another machine, checked by its hashes"
    )
    taken.add_argument("folder", help="the run's folder, copied as a whole, or a zip archive of it")
    taken.add_argument("--base", help="where its base model lies, if not where the run says")
    beside = add_verb(inner, "compare", compare, "runs side by side: figures, and the settings that differ")
    beside.add_argument("run", nargs="+", help="ids of the runs, as `studio runs` shows them")
    beside.add_argument("--by", default="held_out_loss", help="the figure to order by, the lowest first")
    shift.add_argument("place", type=int, help="1 is the next")
    for parser in (begin, go_on):
        parser.add_argument("--detach", action="store_true", help="return at once; the run goes on by itself")


def launch_file(options: argparse.Namespace, store: Store) -> int:
    """A run as a job file that another scheduler does."""
    from studio.services.job_files import Room, job_file

    config = parsing.config(options)
    room = Room(gpus=options.gpus, gpu=options.gpu, cores=options.cores, hours=options.hours)
    text = job_file(config, options.scheduler, room)
    if options.out:
        write_text(Path(options.out), text)
    if options.json:
        return print_json({"for": options.scheduler, "file": options.out, "text": text})
    print(f"{options.out} is written." if options.out else text, end="\n" if options.out else "")
    return DONE


def estimate(options: argparse.Namespace, store: Store) -> int:
    """Memory, tokens, steps and time before a run."""
    from studio.services.fitting import fitted
    from studio.services.plan import plan

    config = parsing.config(options)
    made = fitted(store, config) if options.fit else None
    found = plan(store, config.with_values(made.values) if made else config)
    cost = found.estimate
    if options.json:
        return print_json(
            {
                "memory_bytes": cost.memory,
                "total": cost.memory["total"],
                "fits": cost.fits,
                "steps": cost.steps,
                "tokens": cost.tokens,
                "trained_tokens": cost.trained_tokens,
                "seconds": cost.seconds,
                "rows": found.rows,
                "held_out_rows": found.held_out,
                "encoded_sha256": found.sha256,
                "config": found.config.model_dump(mode="json"),
                "findings": [item.to_json() for item in found.findings],
                **({"changed": made.values} if made else {}),
            }
        )
    if made:
        _print_fitted(made)
    for part, number in cost.memory.items():
        print(f"{part:12} {size(number):>10}")
    print(f"{'Fits.' if cost.fits else 'Does not fit into this machine.'}")
    print(f"{cost.steps} steps, {cost.tokens} tokens, {cost.trained_tokens} of them trained")
    if cost.seconds:
        print(f"about {cost.seconds / 60:.1f} minutes")
    for key, reason in found.reasons.items():
        section, _, name = key.partition(".")
        print(f"  {key} = {getattr(getattr(found.config, section), name)}: {reason}")
    for item in found.findings:
        print_finding(item)
    return DONE


def _print_fitted(fitted: Fitted) -> None:
    """What was changed, how to start it like that, and what could be done besides."""
    for change in fitted.changes:
        print(change.said)
    if fitted.changes:
        given = " ".join(f"--set {key}={json.dumps(value)}" for key, value in fitted.values.items())
        print(f"As options of `studio train`: {given}")
    if fitted.offer:
        print(
            f"Instead, --set train.method={fitted.offer.config.train.method}: {fitted.offer.changes[0].said}"
        )
    elif not fitted.fits:
        print(f"Nothing makes it fit: even so it needs {size(fitted.need)}. Choose a smaller model.")


def train(options: argparse.Namespace, store: Store) -> int:
    """Train to the end, or in the background."""
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    before = store.run_ids()
    run_id = jobs.submit(parsing.config(options))
    if run_id in before:
        print(f"{run_id} is the same and at work already: nothing new is started.", file=sys.stderr)
    if options.detach:
        return _print_run(jobs.get(run_id), options.json)
    return _follow(jobs, run_id, options.json)


def list_runs(options: argparse.Namespace, store: Store) -> int:
    """All runs and their states."""
    from studio.services.jobs import Jobs

    found = Jobs(store).list()
    if options.json:
        return print_json([run.to_json() for run in found])
    if not found:
        print("No run yet. `studio train CONFIG` starts one.")
    for run in found:
        _print_run(run, False)
    return DONE


def show(options: argparse.Namespace, store: Store) -> int:
    """One run with its configuration."""
    from studio.services.history import of_run
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    run = jobs.get(options.run)
    config = jobs.config(options.run).model_dump(mode="json")
    kept = jobs.files(options.run).history()
    if options.json:
        folder = str(store.run_dir(options.run))
        return print_json({**run.to_json(), "config": config, "history": kept, "folder": folder})
    _print_run(run, False)
    for one in of_run(kept):
        print(f"  its rows, step {one.step.number}: {one.what} {', '.join(map(str, one.names))}".rstrip())
    print(json.dumps(config, indent=2, ensure_ascii=False))
    return DONE


def receipt(options: argparse.Namespace, store: Store) -> int:
    """What a run was made from and by: versions, hardware, seed, and the hashes of data, base, template and result."""
    from studio.services.receipts import receipt
    from studio.services.run_files import RunFiles

    return print_json(receipt(RunFiles(store.run_dir(options.run))))


def clean(options: argparse.Namespace, store: Store) -> int:
    """The checkpoints that nothing needs any more; they go only with --yes."""
    from studio.services import home_check

    old = home_check.old_checkpoints(store, options.older_than)
    freed = home_check.remove_checkpoints(old) if options.yes else 0
    if options.json:
        runs = [{"run": run.run, "checkpoints": len(run.folders), "bytes": run.bytes} for run in old]
        return print_json({"runs": runs, "bytes": sum(run.bytes for run in old), "freed": freed})
    for run in old:
        print(f"{run.run:40} {len(run.folders):3} checkpoints {size(run.bytes):>9}")
    if not old:
        print("No run that finished so long ago has checkpoints.")
    elif options.yes:
        print(f"{size(freed)} freed.")
    else:
        print(
            f"{size(sum(run.bytes for run in old))} in all. With --yes they are removed: the results stay, but "
            "these runs' checkpoints can no longer be chatted with or gone on from."
        )
    return DONE


def import_run(options: argparse.Namespace, store: Store) -> int:
    """Take over a run from another machine."""
    from studio.services.run_imports import take_over

    base = Path(options.base) if options.base else None
    with shown_progress() as progress:
        run_id = take_over(store, Path(options.folder).expanduser(), base, progress)
    if options.json:
        return print_json({"run": run_id})
    print(run_id)
    return DONE


def watch(options: argparse.Namespace, store: Store) -> int:
    """Follow a run until it ends."""
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    with shown_progress() as progress:
        for event in jobs.watch(options.run):
            if options.json:
                print(event.model_dump_json(exclude_none=True), flush=True)
            else:
                _say(event, progress)
    run = jobs.get(options.run)
    return DONE if options.json else _print_run(run, False)


def stop(options: argparse.Namespace, store: Store) -> int:
    """Stop a run after its current step, with a checkpoint."""
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    jobs.stop(options.run)
    for _ in jobs.watch(options.run, jobs.events(options.run)[1]):
        pass
    _print_run(jobs.get(options.run), options.json)
    return DONE


def resume(options: argparse.Namespace, store: Store) -> int:
    """Go on from a run's last checkpoint."""
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    offset = jobs.events(options.run)[1]
    jobs.resume(options.run)
    if options.detach:
        return _print_run(jobs.get(options.run), options.json)
    return _follow(jobs, options.run, options.json, offset)


def move(options: argparse.Namespace, store: Store) -> int:
    """Give a queued run another place in the queue."""
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    jobs.move(options.run, options.place)
    order = jobs.queue()
    if options.json:
        return print_json({"queue": order})
    for place, run_id in enumerate(order, 1):
        print(f"{place}  {run_id}")
    return DONE


def compare(options: argparse.Namespace, store: Store) -> int:
    """Runs side by side: their figures, and the settings that differ."""
    from studio.services.comparison import FIGURES, candidates, differences, ordered
    from studio.services.jobs import Jobs

    if options.by not in FIGURES:
        raise StudioError(
            "Runs cannot be ordered by {figure}.",
            "Choose one of {known}.",
            figure=options.by,
            known=", ".join(FIGURES),
        )
    found = ordered(candidates(Jobs(store), list(dict.fromkeys(options.run))), options.by)
    runs, different = [one.to_json() for one in found], differences(found)
    if options.json:
        by_run = {
            key: {one.run.id: value for one, value in zip(found, values, strict=True)}
            for key, values in different.items()
        }
        return print_json({"by": options.by, "runs": runs, "differences": by_run})
    for name in runs[0]:
        print(f"{name:22}", *(f"{_cell(run[name]):>24}" for run in runs))
    for key, values in different.items():
        print(f"{key:22}", *(f"{_cell(value):>24}" for value in values))
    return DONE


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value in (None, []) else str(value)[-24:]


def delete(options: argparse.Namespace, store: Store) -> int:
    """Remove a run and all its files."""
    from studio.services.jobs import Jobs

    Jobs(store).delete(options.run)
    if options.json:
        return print_json({"deleted": options.run})
    print(f"{options.run} is deleted.")
    return DONE


def _follow(jobs: Jobs, run_id: str, as_json: bool, offset: int = 0) -> int:
    """Show a run until it ends; Ctrl-C stops it with a checkpoint."""
    print(f"run {run_id}", file=sys.stderr)
    events = jobs.watch(run_id, offset)
    with shown_progress() as progress:
        while True:
            try:
                for event in events:
                    _say(event, progress)
                break
            except KeyboardInterrupt:
                print("\nstopping after this step …", file=sys.stderr)
                if jobs.get(run_id).state in ALIVE:
                    jobs.stop(run_id)
                events = jobs.watch(run_id, jobs.events(run_id)[1])
    return _print_run(jobs.get(run_id), as_json)


def _say(event: Event, progress: Progress) -> None:
    if isinstance(event, Started):
        progress("training", event.step, event.steps)
    elif isinstance(event, Metric):
        if event.eval_loss is not None:
            progress.note(f"step {event.step}: held-out loss {event.eval_loss:.4f}")
        else:
            progress.step(event.step, f"loss {event.loss:.4f}")
    elif isinstance(event, Phase) and event.name in (
        "queued",
        "loading",
        "encoding",
        "remembering",
        "saving",
    ):
        progress.note(event.name)
    elif isinstance(event, Warned):
        progress.note(f"{event.severity}: {event.text}")
    elif isinstance(event, Failed):
        progress.note(f"failed: {event.text} {event.remedy_text}")


def _print_run(run: Run, as_json: bool) -> int:
    if as_json:
        print_json({"run": run.id, **run.to_json()})
    else:
        figures = "  ".join(f"{name} {value:.4g}" for name, value in run.metrics.items())
        place = f" ({run.place} of {run.waiting})" if run.place else ""
        print(f"{run.id}  {run.state}{place}  {run.step}/{run.steps}  {figures}")
        if run.reason:
            print(f"  {run.reason} {run.remedy}")
    return {"failed": AT_FAULT, "stopped": STOPPED, "interrupted": STOPPED}.get(run.state, DONE)
