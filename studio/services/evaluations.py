"""Evaluating a run: base and tuned model on rows kept from training, and on general ones; kept in the run's folder.

runs/<id>/evaluations/<key>/ has losses.jsonl and answers.jsonl, which grow as they come, and result.json at the end.
The key is made of the weights, the rows and the settings: an evaluation that was cut off goes on where it was, and
one that was done before is not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.domain.answer import SIDES, Side
from studio.domain.chat import Conversation
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine import dataset, metrics
from studio.engine.evaluate import GeneralRow, Question, RowLoss, answers, general_rows, losses, questions
from studio.engine.metrics import Answers
from studio.services import tasks
from studio.services.files import now, read_json, write_json
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.subject import Subject
from studio.services.trained import read_trained

if TYPE_CHECKING:
    from studio.engine.tuned import Pair, TunedRun

Progress = Callable[[str, float, float], None]
Records = list[dict[str, Any]]
SCHEMA = 3
WITH_MESSAGES = 2
"""From this schema on a result has the whole conversations."""
ROWS, TOKENS = 64, 256
"""Rows that are asked, and tokens of an answer at most, unless others are named."""
MOST_TOKENS = 4096
WORST = 6
"""General rows that suffered most, whose answers are shown."""


@dataclass(frozen=True)
class Asked:
    """What is to be evaluated: the run's held-out rows, or those of another file."""

    run: str
    data: str | None = None
    rows: int = ROWS
    tokens: int = TOKENS

    def __post_init__(self) -> None:
        if self.rows < 1 or not 1 <= self.tokens <= MOST_TOKENS:
            raise StudioError(
                "An evaluation needs at least one row, and answers of 1 to {most} tokens.",
                "Choose other numbers.",
                most=MOST_TOKENS,
            )


def start(store: Store, asked: Asked) -> str:
    """Evaluate in a process of its own; returns the task's id. StudioError at once where run or rows are at fault."""
    files = RunFiles(store.run_dir(asked.run))
    read_trained(files)
    _rows(files, asked)
    return tasks.start(store, "evaluate", asdict(asked))


def run(store: Store, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do what a request asks, in this process."""
    return evaluate(store, Asked(**request), progress)


def latest(store: Store, run_id: str) -> dict[str, Any] | None:
    """The newest result of a run, whatever was asked."""
    folder = RunFiles(store.run_dir(run_id)).evaluations
    found = sorted(folder.glob("*/result.json"), key=lambda file: file.stat().st_mtime)
    return read_json(found[-1]) if found else None


def evaluate(
    store: Store, asked: Asked, progress: Progress = lambda phase, done, total: None
) -> dict[str, Any]:
    """Base and tuned model on these rows; see docs/evaluation.md for what the result holds."""
    files = RunFiles(store.run_dir(asked.run))
    rows = _rows(files, asked)
    folder = _folder(files, asked, rows)
    if done := read_json(folder / "result.json"):
        (folder / "result.json").touch()  # the newest again, for all who ask for that
        return done
    trained = read_trained(files)
    # By their place: rows of several files, as a mixture holds, may have the same number.
    shown = {place: row.row for place, row in enumerate(rows, start=1)}
    rows = [replace(row, row=place) for place, row in enumerate(rows, start=1)]
    folder.mkdir(parents=True, exist_ok=True)
    pair = Subject(files.folder).load(lambda share: progress("loading", round(100 * share), 100))
    encoded = _encoded(trained, rows, pair.context)
    general = general_rows(trained, pair.context)
    measured = _measured(pair, folder, encoded, general, progress)
    asking = questions(trained, rows, pair.context, asked.tokens)
    worst = _worst(measured, general)
    also = questions(trained, [row.conversation for row in worst], pair.context, asked.tokens)
    total = len(SIDES) * (len(asking) + len(also))
    written: list[dict[tuple[str, int], dict[str, Any]]] = []
    for name, part in (("answers.jsonl", asking), ("general.jsonl", also)):
        before = sum(map(len, written))
        written.append(
            answered(
                pair,
                trained,
                folder / name,
                part,
                asked.tokens,
                lambda done, before=before: progress("answering", before + done, total),  # type: ignore[misc]
            )
        )
    progress("counting", 0, 0)
    result = {
        "schema": SCHEMA,
        "run": asked.run,
        "created": now(),
        "data": asked.data,
        "rows": len(rows),
        "answered": len(asking),
        "left_out": [shown[place] for place in sorted(shown.keys() - {question.row for question in asking})],
        "max_new_tokens": asked.tokens,
        **_judged(measured, asking, written[0], shown),
        **_forgotten(measured, general, _worst_answers(worst, also, written[1])),
    }
    write_json(folder / "result.json", result)
    return result


def _rows(files: RunFiles, asked: Asked) -> list[Conversation]:
    """The first rows of those kept from training, or of a file; StudioError where there are none."""
    found = dataset.read(asked.data).conversations if asked.data else files.held_out_rows()
    if not found:
        raise StudioError(
            "The run {run} kept no rows from training: there is nothing to evaluate on.",
            "Name a file of rows that it has not seen.",
            run=asked.run,
        )
    return list(found[: asked.rows])


def _folder(files: RunFiles, asked: Asked, rows: Sequence[Conversation]) -> Path:
    seen = {
        "schema": SCHEMA,
        "weights": Subject(files.folder).stamps(),
        "template": files.template.read_text(encoding="utf-8") if files.template.is_file() else "",
        "rows": [row.to_json() for row in rows],
        "tokens": asked.tokens,
    }
    key = hashlib.sha256(json.dumps(seen, sort_keys=True, default=list).encode()).hexdigest()[:16]
    return files.evaluations / key


def _encoded(run: TunedRun, rows: Sequence[Conversation], context: int) -> list[Encoded]:
    """As in training, but cut only where the model can read no further."""
    return [row for row in run.encoder.encode_many(rows, context) if row.problem is None and row.trained]


@dataclass(frozen=True)
class _Measured:
    own: list[RowLoss]
    general: list[RowLoss]


def _measured(
    pair: Pair,
    folder: Path,
    own: Sequence[Encoded],
    general: Sequence[GeneralRow],
    progress: Progress,
) -> _Measured:
    """Losses of one's own rows and of general ones; those that were measured before are read back."""
    by_set = {"own": [*own], "general": [row.encoded for row in general]}
    file = folder / "losses.jsonl"
    found: dict[str, list[RowLoss]] = {}
    for name, rows in by_set.items():
        found[name] = [RowLoss(**item["loss"]) for item in _lines(file) if item["of"] == name]
        known = {(item.side, item.row) for item in found[name]}
        phase, total = f"measuring_{name}", len(rows) * len(pair.sides)
        progress(phase, len(known), total)
        with file.open("a", encoding="utf-8") as lines:
            for item in losses(pair, rows, known):
                _append(lines, {"of": name, "loss": asdict(item)})
                found[name].append(item)
                progress(phase, len(found[name]), total)
    return _Measured(found["own"], found["general"])


def answered(
    pair: Pair,
    run: TunedRun,
    file: Path,
    asking: Sequence[Question],
    tokens: int,
    step: Callable[[float], None],
) -> dict[tuple[str, int], dict[str, Any]]:
    """What both sides say, by side and row, kept in `file` as it comes; what it has is read back.

    `step` is told how many answers are written, those under way by how long an answer was so far.
    """
    found = {(item["side"], item["row"]): item for item in _lines(file)}
    missing = [(side, question) for side in SIDES for question in asking if (side, question.row) not in found]
    step(len(found))
    ended: list[int] = []
    told = float(len(found))

    def under_way(lengths: Sequence[int]) -> None:
        nonlocal told
        usual = sum(ended) / len(ended) if ended else tokens
        told = max(told, len(found) + sum(length / max(usual, length + 1) for length in lengths))
        step(told)

    with file.open("a", encoding="utf-8") as lines:
        for reply in answers(pair, missing, run.stop_ids, tokens, under_way):
            item = {
                "side": reply.side,
                "row": reply.row,
                "text": run.tokenizer.decode(reply.ids, skip_special=True),
                "tokens": len(reply.ids),
                "stop_reason": reply.stop_reason,
            }
            _append(lines, item)
            found[reply.side, reply.row] = item
            ended.append(len(reply.ids))
    step(len(found))
    return found


def _judged(
    measured: _Measured,
    asking: Sequence[Question],
    replies: Mapping[tuple[str, int], Mapping[str, Any]],
    shown: Mapping[int, int],
) -> dict[str, Any]:
    """Figures of both sides with their intervals, the differences, and every row with both answers.

    `shown` are the rows' numbers in their files.
    """
    given = {
        side: Answers(
            [replies[side, question.row]["text"] for question in asking],
            [question.expected for question in asking],
        )
        for side in SIDES
    }
    found = {
        side: {
            **(metrics.of_losses(*_sums(measured.own, side)) if measured.own else {}),
            **(metrics.measures(given[side]) if asking else {}),
        }
        for side in SIDES
    }
    base, tuned = (given[side] for side in SIDES)
    return {
        "metrics": {side: {name: item.value for name, item in found[side].items()} for side in SIDES},
        "intervals": {
            side: {name: [item.low, item.high] for name, item in found[side].items()} for side in SIDES
        },
        "differences": {
            **(_of_losses(measured.own) if measured.own else {}),
            **(
                {name: item.to_json() for name, item in metrics.differences(base, tuned).items()}
                if asking
                else {}
            ),
        },
        "language": base.language if asking else None,
        "samples": _samples(asking, replies, base, tuned, shown),
    }


def _sums(found: Sequence[RowLoss], side: str) -> tuple[list[float], list[int]]:
    rows = sorted((item for item in found if item.side == side), key=lambda item: item.row)
    return [item.loss for item in rows], [item.tokens for item in rows]


def _of_losses(found: Sequence[RowLoss]) -> dict[str, Any]:
    (before, tokens), (after, _) = (_sums(found, side) for side in SIDES)
    return {
        "loss": metrics.difference_of_losses(before, after, tokens).to_json(),
        "perplexity": metrics.difference_of_perplexities(before, after, tokens).to_json(),
    }


def _samples(
    asking: Sequence[Question],
    replies: Mapping[tuple[str, int], Mapping[str, Any]],
    base: Answers,
    tuned: Answers,
    shown: Mapping[int, int],
) -> Records:
    """Each row with both answers and how near they come (`chrf`, 0 to 100; `score`: `Answers.score`), those that gained
    most first: by the score, and of the same one by chrF."""
    rows: Records = [
        {
            "row": shown[question.row],
            "prompt": question.messages[-1].content,
            "messages": [message.to_json() for message in question.messages],
            "expected": question.expected,
            **{
                side: {
                    "text": replies[side, question.row]["text"],
                    "tokens": replies[side, question.row]["tokens"],
                    "stop_reason": replies[side, question.row]["stop_reason"],
                    "chrf": float(found.nearness[place]),
                    "score": float(found.score[place]),
                    "exact": bool(found.exact[place]),
                }
                for side, found in (("base", base), ("tuned", tuned))
            },
        }
        for place, question in enumerate(asking)
    ]
    return sorted(
        rows, key=lambda row: tuple(row["base"][name] - row["tuned"][name] for name in ("score", "chrf"))
    )


def _worst(measured: _Measured, general: Sequence[GeneralRow]) -> list[GeneralRow]:
    """The general rows whose loss a token rose most, the worst first; none that it fell for."""
    by_row = {(item.side, item.row): item.loss / item.tokens for item in measured.general}

    def rise(row: GeneralRow) -> float:
        return by_row["tuned", row.encoded.row] - by_row["base", row.encoded.row]

    return [row for row in sorted(general, key=rise, reverse=True)[:WORST] if rise(row) > 0]


def _worst_answers(
    worst: Sequence[GeneralRow],
    asking: Sequence[Question],
    replies: Mapping[tuple[str, int], Mapping[str, Any]],
) -> Records:
    """What both sides say to the general rows that suffered most, in that order, as `samples` has it."""
    if not asking:
        return []
    base, tuned = (
        Answers([replies[side, one.row]["text"] for one in asking], [one.expected for one in asking])
        for side in SIDES
    )
    tasks_ = {row.encoded.row: row.task for row in worst}
    found = {
        item["row"]: {**item, "task": tasks_[item["row"]]}
        for item in _samples(asking, replies, base, tuned, {row: row for row in tasks_})
    }
    return [found[row] for row in tasks_ if row in found]


def _forgotten(measured: _Measured, general: Sequence[GeneralRow], worst: Records) -> dict[str, Any]:
    """What general rows lost: nats a token more than before, in all and by kind of task, the worst first."""
    if not measured.general:
        return {"forgetting": None, "general": {"rows": 0, "tasks": [], "worst": []}}
    by_row = {(item.side, item.row): item for item in measured.general}

    def mean(side: Side, rows: Sequence[int]) -> float:
        found = [by_row[side, row] for row in rows]
        return sum(item.loss for item in found) / sum(item.tokens for item in found)

    by_task: dict[str, list[int]] = {}
    for row in general:
        by_task.setdefault(row.task, []).append(row.encoded.row)
    everything = sorted({item.row for item in measured.general})
    tasks_ = [
        {"task": task, "rows": len(rows), **{side: mean(side, rows) for side in SIDES}}
        for task, rows in by_task.items()
    ]
    return {
        "forgetting": mean("tuned", everything) - mean("base", everything),
        "general": {
            "rows": len(everything),
            **{side: mean(side, everything) for side in SIDES},
            "tasks": sorted(tasks_, key=lambda item: item["base"] - item["tuned"]),
            "worst": worst,
        },
    }


def _append(lines: Any, item: Mapping[str, Any]) -> None:
    lines.write(json.dumps(item, ensure_ascii=False) + "\n")
    lines.flush()


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """Whole lines; one that was cut off is left out, and its work done again."""
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                yield json.loads(line)
            except ValueError:
                continue
