"""The tuned model: `studio chat`, `studio evaluate` and `studio export`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from studio.cli.parsing import add_verb
from studio.cli.printing import AT_FAULT, DONE, print_json, size
from studio.cli.progress import shown_progress
from studio.domain.answer import BASE, SIDES, TUNED, ChatSettings, Side
from studio.domain.chat import Message
from studio.domain.config import ExportConfig, Into, Quantization, Target, parse_section
from studio.domain.errors import StudioError
from studio.engine.hub_push import check_repository, check_token
from studio.services import pushing
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs
    from studio.engine.export import Verified


def add_to(verbs: Verbs) -> None:
    """Declare the verbs of this module."""
    talk = add_verb(
        verbs, "chat", chat, "base and tuned model, and others beside them, answer the same prompt"
    )
    talk.add_argument("run")
    talk.add_argument("--prompt", required=True)
    talk.add_argument("--system")
    talk.add_argument("--seed", type=int, default=0)
    talk.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token each time")
    talk.add_argument("--top-p", type=float, default=1.0)
    talk.add_argument("--max-new-tokens", type=int, default=256)
    talk.add_argument("--only", choices=[BASE, TUNED])
    talk.add_argument(
        "--with",
        dest="beside",
        action="append",
        default=[],
        metavar="RUN[@STEP]",
        help="another run of the same base, or a checkpoint, that answers too; can be repeated",
    )
    judge = add_verb(
        verbs,
        "evaluate",
        evaluate,
        "base and tuned model on rows kept from training, in figures; goes on where Ctrl-C ended it",
        goes_on=True,
    )
    judge.add_argument("run")
    judge.add_argument("--data", help="rows to evaluate on, instead of those that the run kept from training")
    judge.add_argument("--rows", type=int, default=64, help="so many of them at most")
    judge.add_argument("--max-new-tokens", type=int, default=256)
    bench = add_verb(
        verbs, "benchmark", benchmark, "base and tuned model on public benchmarks (lm-evaluation-harness)"
    )
    bench.add_argument("run")
    bench.add_argument(
        "--tasks", required=True, help="of the harness, with commas between them: arc_easy,hellaswag"
    )
    bench.add_argument("--limit", type=int, default=100, help="the first questions of each task; 0: all")
    bench.add_argument("--no-chat", action="store_true", help="ask without the run's template")
    bench.add_argument("--include", help="a folder with tasks of your own; code in it is run")
    hand_on = add_verb(verbs, "report", report, "a run as one HTML file: figures, plots, answers, settings")
    hand_on.add_argument("run")
    hand_on.add_argument("--out", required=True, help="the file to write (HTML)")
    hand_on.add_argument("--language", choices=["en", "zh"], default="en")
    send = add_verb(verbs, "export", export, "export a run's model, and prove that it answers like the chat")
    send.add_argument("run")
    send.add_argument("--to", choices=get_args(Target), default="merged")
    send.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    send.add_argument("--quantization", default="q8_0", choices=get_args(Quantization), help="of a GGUF file")
    send.add_argument(
        "--into",
        default="closer",
        choices=get_args(Into),
        help="the weights that a run on a 4-bit base is merged into; closer: make and measure both, keep one",
    )
    send.add_argument("--out", required=True, help="the folder to write")
    send.add_argument(
        "--push",
        metavar="OWNER/NAME",
        help="push it to this model repository of the hub; the access token is taken from HF_TOKEN, or asked for",
    )
    send.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="of the repository; it is private unless --no-private is said",
    )
    send.add_argument("--over", action="store_true", help="replace what the repository holds")


def chat(options: argparse.Namespace, store: Store) -> int:
    """Base and tuned model, and others beside them, answer the same prompt in one pass."""
    from studio.services.chat import ChatProcess

    messages = [Message("system", options.system)] if options.system else []
    messages.append(Message("user", options.prompt))
    sides: Sequence[Side] = (options.only,) if options.only else SIDES
    settings = ChatSettings(options.seed, options.temperature, options.top_p, options.max_new_tokens)
    process = ChatProcess(store)
    try:
        with shown_progress() as progress:
            answers = process.complete(
                options.run, messages, settings, sides, beside=options.beside, progress=progress
            )
    finally:
        process.close()
    if options.json:
        shown = ("text", "tokens", "seconds", "stop_reason", "prompt_tokens")
        return print_json(
            {side: {name: getattr(one, name) for name in shown} for side, one in answers.items()}
        )
    for side, answer in answers.items():
        print(f"--- {side} ({answer.tokens} tokens, {answer.seconds:.1f} s)\n{answer.text}")
    return DONE


def evaluate(options: argparse.Namespace, store: Store) -> int:
    """Base and tuned model on rows kept from training, and what the run forgot."""
    from studio.services import evaluations, ratings

    data = str(Path(options.data).expanduser().resolve()) if options.data else None
    asked = evaluations.Asked(options.run, data, options.rows, options.max_new_tokens)
    ratings.refuse_while_blind(store, options.run)
    with shown_progress() as progress:
        result = evaluations.evaluate(store, asked, progress)
    ratings.refuse_while_blind(store, options.run)  # one may have been begun meanwhile; the result is kept
    if options.json:
        return print_json(result)
    print(f"{result['answered']} of {result['rows']} rows answered, at most {asked.tokens} tokens each")
    print(f"{'':14}{'base':>12}{'tuned':>12}   change (95 %), chance")
    for name, base in result["metrics"]["base"].items():
        tuned, apart = result["metrics"]["tuned"].get(name), result["differences"].get(name)
        if tuned is None:
            continue
        change = (
            f"   {apart['value']:+.4g} ({apart['low']:+.4g} to {apart['high']:+.4g}), {apart['p']:.3f}"
            if apart
            else ""
        )
        print(f"{name:14}{base:12.4g}{tuned:12.4g}{change}")
    if result["forgetting"] is not None:
        print(f"loss on {result['general']['rows']} general rows: {result['forgetting']:+.4f} nats a token")
    return DONE


def benchmark(options: argparse.Namespace, store: Store) -> int:
    """Base and tuned model on public benchmarks."""
    from studio.services import benchmarks

    asked = benchmarks.Asked(
        options.run, options.tasks.split(","), options.limit or None, not options.no_chat, options.include
    )
    with shown_progress() as progress:
        result = benchmarks.measure(store, asked, progress)
    if options.json:
        return print_json(result)
    print(f"{'task':24}{'measure':24}{'base':>16}{'tuned':>16}")
    for line in result["figures"]:
        sides = (f"{line[side]:.4f} ± {line[f'{side}_error'] or 0:.4f}" for side in ("base", "tuned"))
        print(f"{line['task']:24}{line['measure']:24}" + "".join(f"{text:>18}" for text in sides))
    return DONE


def report(options: argparse.Namespace, store: Store) -> int:
    """A run as one HTML file to hand on."""
    from studio.services.files import write_text
    from studio.services.jobs import Jobs
    from studio.ui import run_report
    from studio.ui.i18n import words

    text = run_report.as_html(words(options.language), Jobs(store), options.run)
    out = Path(options.out).expanduser().resolve()
    if not out.parent.is_dir():
        raise StudioError(
            "There is no folder {folder}.", "Make it, or choose another file.", folder=str(out.parent)
        )
    write_text(out, text)
    if options.json:
        return print_json({"path": str(out), "bytes": out.stat().st_size})
    print(f"{out}: {size(out.stat().st_size)}")
    return DONE


def export(options: argparse.Namespace, store: Store) -> int:
    """Write a run's model to a folder, prove that it answers like the chat, and push it if that is asked for."""
    from studio.services import exports

    given = {name: getattr(options, name) for name in ExportConfig.model_fields}
    config = parse_section(ExportConfig, given, source="export")
    out = Path(options.out).expanduser().absolute()
    token = _token(options.push, config) if options.push else ""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing half-made is left then either
    if options.push and pushing.holds(exports.ready(store, options.run), config, out):
        pushing.check_files(out)
        print(f"{out} is this export already", file=sys.stderr)
        return _push(options, store, out, token, {"path": str(out)})
    with shown_progress() as progress:
        result = exports.run_export(store, options.run, config, out, progress)
    if not options.json:
        print(f"{result.path}: {size(result.bytes)}")
        print(_proof(result.verified) if result.verified else "train.py in it says how near its result comes")
    passed = result.verified is None or result.verified.passed
    if options.push and passed:
        return _push(options, store, out, token, result.to_json())
    if options.json:
        print_json(result.to_json())
    if options.push:
        pushing.proven_files(out)  # says why it is not pushed
    return DONE if passed else AT_FAULT


def _token(repo: str, config: ExportConfig) -> str:
    """The access token; asked for before the work begins, as are all mistakes that can be seen by then."""
    if config.to == "script":
        raise StudioError(
            "A script proves itself only by training again, so it is not pushed.",
            "Export as `merged`, `adapter` or `gguf`.",
        )
    check_repository(repo)
    token = os.environ.get("HF_TOKEN", "")
    if not token and sys.stdin.isatty():
        from getpass import getpass

        token = getpass("Access token of the hub (not shown, kept nowhere): ")
    return check_token(token)


def _push(options: argparse.Namespace, store: Store, folder: Path, token: str, made: dict[str, Any]) -> int:
    from studio.services import tasks

    task = pushing.start(store, folder, options.push, token, private=options.private, over=options.over)
    with shown_progress() as progress:
        pushed = tasks.wait(store, task, progress)
    if options.json:
        return print_json({**made, "pushed": pushed})
    access = "private" if pushed["private"] else "public"
    print(
        f"{pushed['url']} ({access}): {pushed['files']} files, {size(pushed['bytes'])}, commit {pushed['commit']}"
    )
    return DONE


def _proof(found: Verified) -> str:
    proof = (
        f"proof: largest logit difference {found.max_logit_difference:.4g}, mean KL {found.mean_kl:.4g}, "
        f"equal greedy answers {found.greedy_match:.0%}: {'passed' if found.passed else 'FAILED'}"
    )
    return f"{proof}\n{found.note}" if found.note else proof
