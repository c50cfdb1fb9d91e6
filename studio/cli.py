"""Every verb of the studio without a browser: one call into a service or the engine each."""

from __future__ import annotations

import argparse
import gc
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import __version__
from studio.domain.answer import SIDES, ChatSettings, Side
from studio.domain.chat import Message
from studio.domain.config import RunConfig, settings
from studio.domain.errors import StudioError
from studio.domain.events import Event, Failed, Metric, Phase, Started, Warned
from studio.domain.finding import Finding
from studio.domain.run import ALIVE, Run
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.services.jobs import Jobs

DONE, AT_FAULT, USAGE, STOPPED = 0, 1, 2, 3
"""Exit statuses: done; the input or environment is at fault; usage; stopped or interrupted and resumable."""

Verb = Callable[[argparse.Namespace, Store], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        verb: Verb = options.verb
        return verb(options, Store(options.home))
    except StudioError as error:
        print(f"studio: {error}", file=sys.stderr)
        return AT_FAULT
    except KeyboardInterrupt:
        print("studio: interrupted.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


# The page


def serve(options: argparse.Namespace, store: Store) -> int:
    gc.disable()  # importing the page makes many objects and no garbage; `app.serve` switches it on again
    from studio.ui import app

    app.serve(store, options.host, options.port, auth=_login(options), open_browser=options.open)
    return DONE


def _login(options: argparse.Namespace) -> tuple[str, str] | None:
    """User and password for a page that others can reach; the password never stands on the command line."""
    if not options.user:
        return None
    password = os.environ.get("STUDIO_PASSWORD") or (
        getpass.getpass(f"Password for {options.user}: ") if sys.stdin.isatty() else ""
    )
    if len(password) < 8:
        raise StudioError(
            "The password for {user} has fewer than 8 characters.",
            "Set the environment variable STUDIO_PASSWORD to a longer one.",
            user=options.user,
        )
    return options.user, password


# The machine and the models


def doctor(options: argparse.Namespace, store: Store) -> int:
    from studio.services import probe

    machine = probe.cached(store.machine_file) if not options.fresh else probe.renewed(store.machine_file)
    reachable = _hub_reachable()
    problems = list(machine.problems)
    if not (store.models_dir / "starter").is_dir():
        problems.append("The starter model is not prepared: run `studio models get starter`.")
    data = {**machine.to_json(), "home": str(store.home), "hub_reachable": reachable, "problems": problems}
    if options.json:
        return _print_json(data)
    print(f"device      {machine.device}: {machine.name}, {machine.cores} cores")
    print(f"memory      {_size(machine.memory_bytes)}, {_size(machine.free_bytes)} free")
    speeds = ", ".join(f"{name} {flops / 1e9:.0f} GFLOP/s" for name, flops in machine.flops.items())
    print(f"formats     {speeds}")
    print(f"4-bit       {'yes' if machine.can_qlora else 'no'}")
    print(f"hub         {'reachable' if reachable else 'not reachable'}")
    print(f"home        {store.home}")
    print(f"versions    {', '.join(f'{name} {version}' for name, version in machine.versions.items())}")
    for problem in problems:
        print(f"problem     {problem}")
    return DONE


def _hub_reachable() -> bool:
    from studio.engine import hub

    return hub.reachable()


def models_list(options: argparse.Namespace, store: Store) -> int:
    from studio.engine.models import known

    found = [model.to_json() for model in known(store.models_dir)]
    if options.json:
        return _print_json(found)
    if not found:
        print("No model yet. `studio models get starter` prepares one.")
    for model in found:
        print(f"{model['id']:30} {model['parameters'] / 1e6:9.0f} M  {model['source']:8} {model['path']}")
    return DONE


def models_get(options: argparse.Namespace, store: Store) -> int:
    from studio.engine import models
    from studio.engine.starter import prepare_starter

    with _Progress() as progress:
        if options.model == "starter":
            path = prepare_starter(store.models_dir, progress)
        else:
            path = models.locate(
                options.model, store.models_dir, revision=options.revision, progress=progress
            )
    info = models.inspect(path, options.model)
    if options.json:
        return _print_json(info.to_json())
    print(f"{options.model} is ready: {info.parameters / 1e6:.0f} million parameters in {path}")
    return DONE


# Data


def data_check(options: argparse.Namespace, store: Store) -> int:
    from studio.engine import checks, dataset
    from studio.services.plan import token_report

    data = dataset.read(options.file, format=options.format, columns=_columns(options.columns))
    tokens = token_report(store, data.conversations, options.model, options.template, options.max_length)
    report = checks.run_checks(data.conversations, findings=[*data.findings, *tokens])
    if options.json:
        return _print_json(
            {
                "file": options.file,
                "rows": data.total,
                "format": data.format,
                "score": report.scores,
                "findings": [found.to_json() for found in report.findings],
            }
        )
    print(f"{options.file}: {data.total} rows, format {data.format}")
    print("score  " + "  ".join(f"{name} {score:.0f}" for name, score in report.scores.items()))
    for found in report.findings:
        _print_finding(found)
    if any(found.fixable for found in report.findings):
        print(f"`studio data clean {options.file} --fix all --out FILE` repairs what can be repaired.")
    return DONE


def data_clean(options: argparse.Namespace, store: Store) -> int:
    from studio.engine import checks, dataset

    data = dataset.read(options.file, format=options.format, columns=_columns(options.columns))
    cleaned = checks.clean(data.conversations, options.fix.split(","))
    _refuse_overwriting(options.file, options.out)
    dataset.write_messages(cleaned.conversations, options.out)
    changed = sorted({change.row for change in cleaned.changes if change.action == "changed"})
    dropped = sorted({change.row for change in cleaned.changes if change.action == "dropped"})
    if options.json:
        return _print_json(
            {
                "rows_in": data.total,
                "rows_out": len(cleaned.conversations),
                "changed": [row for row in changed if row not in dropped],
                "dropped": dropped,
                "unusable": sorted({row for found in data.findings for row in found.rows}),
                "changes": [
                    {"row": c.row, "check": c.check, "action": c.action, "before": c.before, "after": c.after}
                    for c in cleaned.changes
                ],
                "out": options.out,
            }
        )
    for change in cleaned.changes:
        print(f"row {change.row}: {change.action} ({change.check})")
    for found in data.findings:
        _print_finding(found)
    print(f"{data.total} rows in, {len(cleaned.conversations)} out to {options.out}: ", end="")
    print(f"{len(changed)} changed, {len(dropped)} dropped.")
    return DONE


def data_convert(options: argparse.Namespace, store: Store) -> int:
    from studio.engine import dataset

    data = dataset.read(options.file, format=options.format, columns=_columns(options.columns))
    _refuse_overwriting(options.file, options.out)
    dataset.write_messages(data.conversations, options.out)
    if options.json:
        found = [item.to_json() for item in data.findings]
        return _print_json(
            {"rows": len(data.conversations), "format": data.format, "out": options.out, "findings": found}
        )
    for item in data.findings:
        _print_finding(item)
    print(f"{len(data.conversations)} rows of format {data.format} written to {options.out}.")
    return DONE


def data_list(options: argparse.Namespace, store: Store) -> int:
    entries, damaged = store.datasets(), store.damaged_datasets()
    if options.json:
        found = [
            {
                "id": entry.id,
                "name": entry.name,
                "path": str(entry.path),
                "created": entry.created,
                "cleaned": entry.cleaned,
                "damaged": False,
            }
            for entry in entries
        ]
        return _print_json([*found, *({"id": name, "damaged": True} for name in damaged)])
    if not entries and not damaged:
        print("No dataset yet. The page keeps those that are uploaded.")
    for entry in entries:
        print(f"{entry.id:30} {entry.created[:10]}  {'repaired' if entry.cleaned else '':8}  {entry.name}")
    for name in damaged:
        print(f"{name:30} damaged: `studio data delete {name}` removes it.")
    return DONE


def data_delete(options: argparse.Namespace, store: Store) -> int:
    store.delete_dataset(options.dataset)
    if options.json:
        return _print_json({"deleted": options.dataset})
    print(f"{options.dataset} is deleted.")
    return DONE


def preview(options: argparse.Namespace, store: Store) -> int:
    from studio.services.plan import preview_row

    shown = preview_row(
        store,
        options.file,
        options.row,
        model=options.model,
        template=options.template,
        max_length=options.max_length,
        format=options.format,
        columns=_columns(options.columns),
    )
    if options.json:
        return _print_json(shown.to_json())
    print(f"template {shown.template}, {shown.encoded.trained} of {shown.encoded.total} tokens trained")
    print("".join(_marked(text, trained) for _, text, trained in shown.tokens))
    for found in shown.findings:
        _print_finding(found)
    return DONE


def _marked(text: str, trained: bool) -> str:
    return f"\033[1;32m{text}\033[0m" if trained and sys.stdout.isatty() else text


def estimate(options: argparse.Namespace, store: Store) -> int:
    from studio.services.plan import plan

    found = plan(store, _config(options))
    cost = found.estimate
    if options.json:
        return _print_json(
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
            }
        )
    for part, size in cost.memory.items():
        print(f"{part:12} {_size(size):>10}")
    print(f"{'Fits.' if cost.fits else 'Does not fit into this machine.'}")
    print(f"{cost.steps} steps, {cost.tokens} tokens, {cost.trained_tokens} of them trained")
    if cost.seconds:
        print(f"about {cost.seconds / 60:.1f} minutes")
    for key, reason in found.reasons.items():
        section, _, name = key.partition(".")
        print(f"  {key} = {getattr(getattr(found.config, section), name)}: {reason}")
    for item in found.findings:
        _print_finding(item)
    return DONE


# Runs


def train(options: argparse.Namespace, store: Store) -> int:
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    run_id = jobs.submit(_config(options))
    if options.detach:
        return _print_run(jobs.get(run_id), options.json)
    return _follow(jobs, run_id, options.json)


def _follow(jobs: Jobs, run_id: str, as_json: bool, offset: int = 0) -> int:
    """Show a run until it ends; Ctrl-C stops it with a checkpoint."""
    print(f"run {run_id}", file=sys.stderr)
    events = jobs.watch(run_id, offset)
    with _Progress() as progress:
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


def _say(event: Event, progress: _Progress) -> None:
    if isinstance(event, Started):
        progress("training", event.step, event.steps)
    elif isinstance(event, Metric):
        if event.eval_loss is not None:
            progress.note(f"step {event.step}: held-out loss {event.eval_loss:.4f}")
        else:
            progress.step(event.step, f"loss {event.loss:.4f}")
    elif isinstance(event, Phase) and event.name in ("queued", "loading", "encoding", "saving"):
        progress.note(event.name)
    elif isinstance(event, Warned):
        progress.note(f"warning: {event.text}")
    elif isinstance(event, Failed):
        progress.note(f"failed: {event.text} {event.remedy_text}")


def _print_run(run: Run, as_json: bool) -> int:
    if as_json:
        _print_json({"run": run.id, **run.to_json()})
    else:
        figures = "  ".join(f"{name} {value:.4g}" for name, value in run.metrics.items())
        print(f"{run.id}  {run.state}  {run.step}/{run.steps}  {figures}")
        if run.reason:
            print(f"  {run.reason} {run.remedy}")
    return {"failed": AT_FAULT, "stopped": STOPPED, "interrupted": STOPPED}.get(run.state, DONE)


def runs_list(options: argparse.Namespace, store: Store) -> int:
    from studio.services.jobs import Jobs

    found = Jobs(store).list()
    if options.json:
        return _print_json([run.to_json() for run in found])
    if not found:
        print("No run yet. `studio train CONFIG` starts one.")
    for run in found:
        _print_run(run, False)
    return DONE


def runs_show(options: argparse.Namespace, store: Store) -> int:
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    run = jobs.get(options.run)
    config = jobs.config(options.run).model_dump(mode="json")
    if options.json:
        return _print_json({**run.to_json(), "config": config, "folder": str(store.run_dir(options.run))})
    _print_run(run, False)
    print(json.dumps(config, indent=2, ensure_ascii=False))
    return DONE


def runs_watch(options: argparse.Namespace, store: Store) -> int:
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    with _Progress() as progress:
        for event in jobs.watch(options.run):
            if options.json:
                print(event.model_dump_json(exclude_none=True), flush=True)
            else:
                _say(event, progress)
    run = jobs.get(options.run)
    return DONE if options.json else _print_run(run, False)


def runs_stop(options: argparse.Namespace, store: Store) -> int:
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    jobs.stop(options.run)
    for _ in jobs.watch(options.run, jobs.events(options.run)[1]):
        pass
    _print_run(jobs.get(options.run), options.json)
    return DONE


def runs_resume(options: argparse.Namespace, store: Store) -> int:
    from studio.services.jobs import Jobs

    jobs = Jobs(store)
    offset = jobs.events(options.run)[1]
    jobs.resume(options.run)
    if options.detach:
        return _print_run(jobs.get(options.run), options.json)
    return _follow(jobs, options.run, options.json, offset)


def runs_delete(options: argparse.Namespace, store: Store) -> int:
    from studio.services.jobs import Jobs

    Jobs(store).delete(options.run)
    if options.json:
        return _print_json({"deleted": options.run})
    print(f"{options.run} is deleted.")
    return DONE


# The tuned model


def chat(options: argparse.Namespace, store: Store) -> int:
    from studio.services.chat import ChatProcess

    messages = [Message("system", options.system)] if options.system else []
    messages.append(Message("user", options.prompt))
    sides: Sequence[Side] = (options.only,) if options.only else SIDES
    settings = ChatSettings(options.seed, options.temperature, options.top_p, options.max_new_tokens)
    process = ChatProcess(store)
    try:
        answers = process.complete(options.run, messages, settings, sides)
    finally:
        process.close()
    if options.json:
        return _print_json({side: answer.to_json() for side, answer in answers.items()})
    for side, answer in answers.items():
        print(f"--- {side} ({answer.tokens} tokens, {answer.seconds:.1f} s)\n{answer.text}")
    return DONE


def export(options: argparse.Namespace, store: Store) -> int:
    from studio.domain.config import ExportConfig, parse_section
    from studio.services import exports

    config = parse_section(ExportConfig, {"to": options.to, "dtype": options.dtype}, source="export")
    with _Progress() as progress:
        result = exports.run_export(store, options.run, config, Path(options.out), progress)
    if options.json:
        _print_json(result.to_json())
    else:
        proof = result.verified
        print(f"{result.path}: {_size(result.bytes)}")
        print(
            f"proof: largest logit difference {proof.max_logit_difference:.4g}, mean KL {proof.mean_kl:.4g}, "
            f"equal greedy answers {proof.greedy_match:.0%}: {'passed' if proof.passed else 'FAILED'}"
        )
    return DONE if result.verified.passed else AT_FAULT


# Printing


class _Progress:
    """A bar on standard error for a step with a known length, lines for the rest."""

    def __enter__(self) -> _Progress:
        self._bar: Any = None
        self._phase = ""
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, phase: str, done: float, total: float) -> None:
        """Show `done` of `total` of a phase; the engine's and services' progress callback."""
        from tqdm import tqdm

        if phase != self._phase:
            self._close()
            self._phase = phase
            bytes_too = phase == "download" or total > 1_000_000
            self._bar = tqdm(
                total=total or None,
                desc=phase,
                unit="B" if bytes_too else "",
                unit_scale=bytes_too,
                file=sys.stderr,
            )
        self._bar.total = total or None
        self._bar.n = int(done)
        self._bar.refresh()

    def step(self, step: int, note: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.n = step
            self._bar.refresh()

    def note(self, line: str) -> None:
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _print_json(data: Any) -> int:
    json.dump(data, sys.stdout, ensure_ascii=False, indent=2)
    print()
    return DONE


def _print_finding(found: Finding) -> None:
    rows = ", ".join(map(str, found.rows[:10])) + (" …" if found.count > 10 else "")
    print(f"{found.severity:8} {found.dimension}/{found.check}: {found.message} {found.remedy}")
    if rows:
        print(f"         rows {rows}")


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


# Reading the command line


def _config(options: argparse.Namespace) -> RunConfig:
    from studio.engine.config_file import load_config

    values = {}
    for item in options.set or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise StudioError("--set {item} has no value.", "Write --set section.key=value.", item=item)
        values[key.strip()] = _value(value)
    return load_config(options.config, values)


def _value(text: str) -> Any:
    """What was written after `=`: JSON where it is JSON (numbers, true, null, lists), text otherwise."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _columns(pairs: Iterable[str] | None) -> dict[str, str] | None:
    if not pairs:
        return None
    columns = {}
    for pair in pairs:
        role, equals, column = pair.partition("=")
        if not equals:
            raise StudioError(
                "--column {pair} names no column.",
                "Write --column prompt=COLUMN --column response=COLUMN.",
                pair=pair,
            )
        columns[role] = column
    return columns


def _refuse_overwriting(source: str, out: str) -> None:
    if Path(source).resolve() == Path(out).resolve():
        raise StudioError("{out} is the file that is read.", "Write to another file.", out=out)


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="studio",
        description="From a data file to a tuned model that you can trust.",
        parents=[_home_option(None)],
    )
    top.add_argument("--version", action="version", version=f"studio {__version__}")
    common = _home_option(argparse.SUPPRESS)
    verbs = top.add_subparsers(title="verbs", metavar="VERB")

    def add(to: Any, name: str, verb: Verb, help: str, *, json: bool = True) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = to.add_parser(name, help=help, description=help, parents=[common])
        parser.set_defaults(verb=verb)
        if json:
            parser.add_argument(
                "--json", action="store_true", help="print one JSON document and nothing else"
            )
        return parser

    _serve_options(top)
    top.set_defaults(verb=serve)
    _serve_options(add(verbs, "serve", serve, "the web page (also without any verb)", json=False))
    add(verbs, "doctor", doctor, "what this machine can do").add_argument(
        "--fresh", action="store_true", help="look again instead of using what was found before"
    )
    _add_models(add, verbs)
    _add_data(add, verbs)
    _add_runs(add, verbs)
    _add_tuned(add, verbs)
    return top


def _home_option(default: Any) -> argparse.ArgumentParser:
    """--home before or after the verb; after it, it stays unset unless given, so as not to undo the one before."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--home", default=default, help="where everything is kept (default: $STUDIO_HOME or ~/.studio)"
    )
    return parser


def _serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; any but loopback needs --user"
    )
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument(
        "--user", help="name to log in with; the password is asked for, or taken from STUDIO_PASSWORD"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def _group(add: Any, verbs: Any, name: str, help: str) -> Any:
    parser = verbs.add_parser(name, help=help, description=help)
    parser.set_defaults(verb=lambda *_: parser.error("a verb is missing"))
    return parser, parser.add_subparsers(title="verbs", metavar="VERB")


def _add_models(add: Any, verbs: Any) -> None:
    parser = add(verbs, "models", models_list, "the models on this machine")
    inner = parser.add_subparsers(title="verbs", metavar="VERB")
    get = add(inner, "get", models_get, "prepare the starter model, or fetch one from the hub")
    get.add_argument("model", help="`starter`, or a hub id such as Qwen/Qwen3-0.6B")
    get.add_argument("--revision")


def _add_data(add: Any, verbs: Any) -> None:
    _, inner = _group(add, verbs, "data", "check, clean and convert data files; list and delete uploads")
    check = add(inner, "check", data_check, "the quality checklist")
    clean = add(inner, "clean", data_clean, "apply repairs and write the result")
    convert = add(inner, "convert", data_convert, "write any supported format as messages JSONL")
    add(inner, "list", data_list, "the datasets that were uploaded")
    delete = add(
        inner, "delete", data_delete, "remove an upload with its repaired rows; runs keep their own copy"
    )
    delete.add_argument("dataset", help="id of the dataset, as `studio data list` shows it")
    look = add(verbs, "preview", preview, "one row exactly as it will be trained")
    for parser in (check, clean, convert, look):
        parser.add_argument("file", help="JSON, JSONL, CSV or Parquet")
        parser.add_argument("--format", default="auto", choices=[*_choices("data", "format")])
        parser.add_argument(
            "--column",
            dest="columns",
            action="append",
            metavar="ROLE=COLUMN",
            help="map prompt, response, system or input by hand",
        )
    for parser in (check, look):
        parser.add_argument("--model", default="starter" if parser is look else None)
        parser.add_argument("--template", default="auto")
        parser.add_argument("--max-length", type=int)
    look.add_argument("--row", type=int, required=True, help="number of the row in the file, from 1")
    clean.add_argument("--fix", required=True, help="names of checks, separated by commas, or `all`")
    for parser in (clean, convert):
        parser.add_argument("--out", required=True, help="the file to write (JSONL)")


def _choices(section: str, name: str) -> tuple[str, ...]:
    return next(item.choices for item in settings(section) if item.name == name)


def _add_runs(add: Any, verbs: Any) -> None:
    cost = add(verbs, "estimate", estimate, "memory, tokens, steps and time before a run")
    begin = add(verbs, "train", train, "train to the end, or in the background")
    for parser in (cost, begin):
        parser.add_argument("config", help="YAML or JSON file")
        parser.add_argument("--set", action="append", metavar="section.key=value", help="replace one setting")
    begin.add_argument("--detach", action="store_true", help="return at once; the run goes on by itself")
    parser = add(verbs, "runs", runs_list, "all runs and their states")
    inner = parser.add_subparsers(title="verbs", metavar="VERB")
    for name, verb, help in (
        ("show", runs_show, "one run with its configuration"),
        ("watch", runs_watch, "follow a run until it ends"),
        ("stop", runs_stop, "stop after the current step, with a checkpoint"),
        ("resume", runs_resume, "go on from the last checkpoint"),
        ("delete", runs_delete, "remove a run and all its files"),
    ):
        one = add(inner, name, verb, help)
        one.add_argument("run", help="id of the run, as `studio runs` shows it")
        if name == "resume":
            one.add_argument(
                "--detach", action="store_true", help="return at once; the run goes on by itself"
            )


def _add_tuned(add: Any, verbs: Any) -> None:
    talk = add(verbs, "chat", chat, "base and tuned model answer the same prompt")
    talk.add_argument("run")
    talk.add_argument("--prompt", required=True)
    talk.add_argument("--system")
    talk.add_argument("--seed", type=int, default=0)
    talk.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token each time")
    talk.add_argument("--top-p", type=float, default=1.0)
    talk.add_argument("--max-new-tokens", type=int, default=256)
    talk.add_argument("--only", choices=["base", "tuned"])
    send = add(verbs, "export", export, "export a run's model, and prove that it answers like the chat")
    send.add_argument("run")
    send.add_argument("--to", choices=["merged", "adapter"], default="merged")
    send.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    send.add_argument("--out", required=True, help="the folder to write")


if __name__ == "__main__":
    sys.exit(main())
