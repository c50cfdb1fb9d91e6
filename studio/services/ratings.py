"""The blind desk: people say which of two answers is better, and do not know which model wrote it.

runs/<id>/ratings/<desk>/ has desk.json (the pairs of answers, and the secret that shuffles them) and ratings.jsonl, to
which each rating is appended; the last one of a rater on a pair counts. Whose an answer is leaves this module only once
the desk is closed, and a closed desk takes no more ratings.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock

from studio.domain.answer import SIDES, Side
from studio.domain.chat import Message
from studio.domain.errors import StudioError
from studio.engine import ratings as figures
from studio.engine.ratings import DIMENSIONS, LEAST, MOST, Rating
from studio.services import evaluations, tasks
from studio.services.files import explained, now, read_json, write_json
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.trained import read_trained

Progress = Callable[[str, float, float], None]
Place = Literal["left", "right"]
PLACES: tuple[Place, ...] = get_args(Place)
Choice = Literal["left", "right", "tie"]
SCHEMA = 1
MOST_PROMPTS = 500
JUDGE = "judge: "
"""What the name of a rater begins with that is a model."""
_NAME_LENGTH = 40


@dataclass(frozen=True)
class Compared:
    """A prompt with both answers."""

    messages: Sequence[Mapping[str, Any]]
    """In OpenAI's shape."""
    expected: str
    """Empty where nobody said what the answer is to be."""
    base: str
    tuned: str

    @property
    def alike(self) -> bool:
        """Nobody can tell them apart, and nobody is asked to."""
        return self.base.strip() == self.tuned.strip()

    def of(self, side: Side) -> str:
        return self.tuned if side == "tuned" else self.base


@dataclass(frozen=True)
class Desk:
    """Pairs of answers that are rated."""

    folder: Path
    run: str
    created: str
    source: str
    """The file of the prompts, `held_out` or `prompts`."""
    secret: str
    pairs: Sequence[Compared]
    closed: str
    """When; empty as long as it is blind."""

    @property
    def id(self) -> str:
        return self.folder.name

    @cached_property
    def asked(self) -> list[int]:
        """Numbers of the pairs that are rated."""
        return [number for number, pair in enumerate(self.pairs) if not pair.alike]

    def order(self, rater: str) -> list[tuple[int, bool]]:
        """Each pair that a rater sees, and whether the tuned model's answer stands left: so for half of them."""
        shuffle = random.Random(f"{self.secret} {rater}")
        numbers, lefts = self.asked[:], [place % 2 == 0 for place in range(len(self.asked))]
        shuffle.shuffle(numbers)
        shuffle.shuffle(lefts)
        return [*zip(numbers, lefts, strict=True)]


@dataclass(frozen=True)
class Given:
    """What a rater says of a pair as it stands before them."""

    vote: Choice
    scores: Mapping[Place, Mapping[str, int]]


@dataclass(frozen=True)
class Shown:
    """A pair as a rater sees it."""

    place: int
    """In this rater's order, from 1."""
    total: int
    done: int
    messages: Sequence[Mapping[str, Any]]
    left: str
    right: str
    given: Given | None


@dataclass(frozen=True)
class Asked:
    """Prompts of one's own, which both sides are to answer first; `desk` is the folder that waits for them."""

    run: str
    desk: str
    prompts: Sequence[str]
    tokens: int = evaluations.TOKENS


# Making a desk


def from_evaluation(store: Store, run_id: str) -> Desk:
    """A desk of the answers of the run's newest evaluation: the open one that there is, or else a new one. StudioError
    where the run has no evaluation."""
    source, pairs = of_evaluation(store, run_id)
    same = (desk for desk in desks(store, run_id) if not desk.closed and list(desk.pairs) == pairs)
    return next(same, None) or _make(RunFiles(store.run_dir(run_id)), _fresh(store, run_id), source, pairs)


def outlined(store: Store, run_id: str) -> Desk:
    """What `from_evaluation` would make, of which nothing is kept: to tell what a judge would cost."""
    source, pairs = of_evaluation(store, run_id)
    folder = RunFiles(store.run_dir(run_id)).ratings / "desk"
    return Desk(folder, run_id, now(), source, "", pairs, "")


def of_evaluation(store: Store, run_id: str) -> tuple[str, list[Compared]]:
    """The file and both answers to each row of a run's newest evaluation. StudioError where there is none."""
    found = evaluations.latest(store, run_id)
    if found is None or found["schema"] < evaluations.WITH_MESSAGES:
        raise StudioError(
            "The run {run} has no evaluation whose answers could be compared.",
            "Evaluate it first: that writes both answers to each held-out row.",
            run=run_id,
        )
    pairs = [
        Compared(row["messages"], row["expected"], row["base"]["text"], row["tuned"]["text"])
        for row in sorted(found["samples"], key=lambda row: row["row"])
    ]
    return Path(found["data"]).name if found["data"] else "held_out", pairs


def start(store: Store, run_id: str, prompts: Sequence[str], tokens: int = evaluations.TOKENS) -> str:
    """Have both sides answer prompts of one's own, in a process of its own, for a desk; returns the task's id."""
    read_trained(RunFiles(store.run_dir(run_id)))
    wanted = [text for prompt in prompts if (text := prompt.strip())]
    if not 1 <= len(wanted) <= MOST_PROMPTS:
        raise StudioError(
            "There are {count} prompts, and a comparison takes 1 to {most}.",
            "Write one prompt a line.",
            count=len(wanted),
            most=MOST_PROMPTS,
        )
    return tasks.start(store, "compare", asdict(Asked(run_id, _fresh(store, run_id).name, wanted, tokens)))


def cancel(store: Store, task: str) -> None:
    """End the writing of answers to one's own prompts; the desk that waited for them is none."""
    tasks.cancel(store, task)
    _forget_unmade(store, Asked(**tasks.status(store, task).request))


def _forget_unmade(store: Store, asked: Asked) -> None:
    """Remove the folder of a desk that was not made, as the writing of its answers ended before."""
    folder = RunFiles(store.run_dir(asked.run)).ratings / asked.desk
    if not (folder / "desk.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)


def run(store: Store, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do what a request asks, in this process."""
    asked = Asked(**request)
    try:
        return {"run": asked.run, "desk": compare(store, asked, progress).id}
    finally:
        _forget_unmade(store, asked)


def compare(store: Store, asked: Asked, progress: Progress) -> Desk:
    """Both sides' answers to prompts of one's own, and the desk that they are rated at."""
    from studio.engine.evaluate import Question
    from studio.services.subject import Subject

    files = RunFiles(store.run_dir(asked.run))
    trained, folder = read_trained(files), files.ratings / asked.desk
    pair = Subject(files.folder).load(lambda share: progress("loading", round(100 * share), 100))
    asking = []
    for number, prompt in enumerate(asked.prompts, start=1):
        messages = [Message("user", prompt)]
        ids = trained.encoder.prompt(messages)
        if len(ids) + asked.tokens > pair.context:
            raise StudioError(
                "Prompt {number} has {tokens} tokens: with an answer of {room} that is more than the {context} that "
                "the model can see.",
                "Shorten it, or let answers be shorter.",
                number=number,
                tokens=len(ids),
                room=asked.tokens,
                context=pair.context,
            )
        asking.append(Question(number, ids, messages, ""))
    total = len(SIDES) * len(asking)
    replies = evaluations.answered(
        pair,
        trained,
        folder / "answers.jsonl",
        asking,
        asked.tokens,
        lambda done: progress("answering", done, total),
    )
    compared = [
        Compared(
            [message.to_json() for message in question.messages],
            "",
            *(replies[side, question.row]["text"] for side in SIDES),
        )
        for question in asking
    ]
    return _make(files, folder, "prompts", compared)


def _fresh(store: Store, run_id: str) -> Path:
    """An empty folder for a desk; it is none before desk.json is there."""
    parent = RunFiles(store.run_dir(run_id)).ratings
    with explained(parent):
        parent.mkdir(exist_ok=True)
        for number in range(1, 10_000):
            folder = parent / f"desk-{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    raise StudioError("There are too many comparisons of this run.", "Delete some of the old ones.")


def _make(files: RunFiles, folder: Path, source: str, pairs: Sequence[Compared]) -> Desk:
    desk = Desk(folder, files.id, now(), source, secrets.token_hex(16), pairs, "")
    if not desk.asked:
        shutil.rmtree(folder)
        raise StudioError(
            "Both models give the same answer to each of the {count} prompts: there is nothing to choose between.",
            "Try other prompts, or train for longer.",
            count=len(pairs),
        )
    _write(desk)
    return desk


def _write(desk: Desk) -> None:
    told = {name: value for name, value in vars(desk).items() if name in _FIELDS}
    write_json(
        desk.folder / "desk.json", {"schema": SCHEMA, **told, "pairs": [asdict(pair) for pair in desk.pairs]}
    )


_FIELDS = ("run", "created", "source", "secret", "closed")


# Rating


def desks(store: Store, run_id: str) -> list[Desk]:
    """Those of a run, the newest first."""
    folder = RunFiles(store.run_dir(run_id)).ratings
    found = [_read(file.parent) for file in folder.glob("desk-*/desk.json")]
    return sorted(found, key=lambda desk: desk.created, reverse=True)


def desk_of(store: Store, run_id: str, name: str) -> Desk:
    """StudioError where the run has no such desk."""
    files = RunFiles(store.run_dir(run_id)).ratings.glob("desk-*/desk.json")
    # Compared with what is there, never joined to a path as it comes.
    folder = next((file.parent for file in files if file.parent.name == name), None)
    if folder is None:
        raise StudioError(
            "The run {run} has no comparison {name}.", "Choose one from the list.", run=run_id, name=name
        )
    return _read(folder)


def _read(folder: Path) -> Desk:
    stat = (folder / "desk.json").stat()
    return _read_at(folder, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _read_at(folder: Path, changed: int, size: int) -> Desk:
    """A desk as of this change: each vote looks at the desks of its run, whose answers stay as they are."""
    data = read_json(folder / "desk.json") or {}
    pairs = [Compared(**pair) for pair in data["pairs"]]
    return Desk(folder, pairs=pairs, **{name: data[name] for name in _FIELDS})


def rater_name(name: str) -> str:
    """A person's name as it is kept. StudioError where it is none."""
    found = " ".join(name.split())
    if not found or len(found) > _NAME_LENGTH or not found.isprintable() or found.startswith(JUDGE.strip()):
        raise StudioError(
            "{name} cannot be a rater's name.",
            "Write 1 to {most} characters that can be printed, not beginning with {judge}.",
            name=repr(name[: 2 * _NAME_LENGTH]),
            most=_NAME_LENGTH,
            judge=JUDGE.strip(),
        )
    return found


def look(desk: Desk, rater: str, place: int | None = None) -> Shown:
    """The pair at a place of the rater's order; without one the first that is not rated yet, or the last of all."""
    rater, order = rater_name(rater), desk.order(rater_name(rater))
    own = {item["pair"]: item for item in _lines(desk) if item["rater"] == rater}
    open_places = (at for at, (number, _) in enumerate(order, start=1) if number not in own)
    place = min(max(1, place if place is not None else next(open_places, len(order))), len(order))
    number, tuned_left = order[place - 1]
    pair, sides = desk.pairs[number], _sides(tuned_left)
    given = None
    if said := own.get(number):
        vote: Choice = next((at for at in PLACES if sides[at] == said["vote"]), "tie")
        given = Given(vote, {at: said["scores"].get(sides[at], {}) for at in PLACES})
    return Shown(
        place, len(order), len(own), pair.messages, pair.of(sides["left"]), pair.of(sides["right"]), given
    )


def token(desk: Desk, rater: str, place: int) -> str:
    """Names what stands before a rater, and nothing about it: a vote that comes with another one was not for this."""
    seen = f"{desk.secret} {rater_name(rater)} {place}"
    return hashlib.sha256(seen.encode()).hexdigest()[:16]


def rate(desk: Desk, rater: str, place: int, given: Given) -> None:
    """Keep what a rater says of the pair at a place of their order. StudioError where the desk is closed."""
    rater = rater_name(rater)
    order = desk.order(rater)
    if not 1 <= place <= len(order):
        raise StudioError("There is no pair {place}.", "There are {total}.", place=place, total=len(order))
    _check(given)
    number, tuned_left = order[place - 1]
    sides = _sides(tuned_left)
    vote = "tie" if given.vote == "tie" else sides[given.vote]
    scores = {sides[at]: dict(given.scores.get(at, {})) for at in PLACES}
    keep(desk, {"rater": rater, "pair": number, "left": sides["left"], "vote": vote, "scores": scores})


def keep(desk: Desk, *said: Mapping[str, Any]) -> None:
    """Append ratings. StudioError where the desk is closed, but for a judge model's: no end unblinds it."""
    judged = all(str(item["rater"]).startswith(JUDGE) for item in said)
    _refuse_gone(desk)
    with FileLock(desk.folder / ".lock"), explained(desk.folder):
        _refuse_gone(desk)
        if _read(desk.folder).closed and not judged:
            raise StudioError(
                "This comparison is finished: it is known which model is which.",
                "Begin another one to rate more.",
            )
        with (desk.folder / "ratings.jsonl").open("a+b") as lines:
            # After a line that was cut off by a power failure a new one begins.
            whole = not lines.tell() or (lines.seek(-1, os.SEEK_END) >= 0 and lines.read() == b"\n")
            text = "".join(json.dumps({**item, "at": now()}, ensure_ascii=False) + "\n" for item in said)
            lines.write((text if whole else f"\n{text}").encode())
            lines.flush()
            os.fsync(lines.fileno())


def _refuse_gone(desk: Desk) -> None:
    """StudioError where a desk was deleted meanwhile, also if another one has its name by now."""
    if not (desk.folder / "desk.json").is_file() or _read(desk.folder).secret != desk.secret:
        raise StudioError("This comparison was deleted.", "Begin another one.")


def _check(given: Given) -> None:
    sound = given.vote in get_args(Choice) and all(
        at in PLACES
        and isinstance(scores, Mapping)
        and all(
            name in DIMENSIONS and type(score) is int and LEAST <= score <= MOST
            for name, score in scores.items()
        )
        for at, scores in given.scores.items()
    )
    if not sound:
        raise StudioError(
            "This is no rating: {given}.",
            "Choose A, B or a tie, and scores from {least} to {most}.",
            given=repr(given)[:200],
            least=LEAST,
            most=MOST,
        )


def _sides(tuned_left: bool) -> dict[Place, Side]:
    return {"left": "tuned", "right": "base"} if tuned_left else {"left": "base", "right": "tuned"}


def _lines(desk: Desk) -> Iterator[dict[str, Any]]:
    """Ratings as they were given, whole lines only; one that was cut off by a power failure is left out."""
    file = desk.folder / "ratings.jsonl"
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n") if file.is_file() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue


# What came of it


def is_blind(store: Store, run_id: str) -> bool:
    """Whether people still rate answers of the run, so that nothing may show how each side writes."""
    return any(not desk.closed for desk in desks(store, run_id))


def refuse_while_blind(store: Store, run_id: str) -> None:
    """StudioError where what came of an ended desk would tell apart the models of one that is blind."""
    if is_blind(store, run_id):
        raise StudioError(
            "A comparison of this run is still blind, and this would tell its models apart.",
            "End or delete it first.",
        )


def done(desk: Desk) -> dict[str, int]:
    """How many pairs each rater has rated."""
    return dict(Counter(rater for rater, _ in _newest(desk)))


def rated_by(desk: Desk, rater: str) -> set[int]:
    """Numbers of the pairs that a rater has rated, person or model."""
    return {number for name, number in _newest(desk) if name == rater}


def delete(desk: Desk) -> None:
    """Remove a desk, with all that was rated there."""
    with explained(desk.folder):
        gone = desk.folder.with_name(f".gone-{desk.id}")
        shutil.rmtree(gone, ignore_errors=True)
        desk.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def close(desk: Desk) -> Desk:
    """End the ratings; from now on it is known which model is which. StudioError where nobody rated."""
    if not done(desk):
        raise StudioError(
            "Nothing was rated yet.", "Rate at least one pair before the end, or delete the comparison."
        )
    with FileLock(desk.folder / ".lock"):
        found = _read(desk.folder)
        if not found.closed:
            found = replace(found, closed=now())
            _write(found)
    return found


def summary(desk: Desk) -> dict[str, Any]:
    """Figures of what people said (see `engine.ratings.summary`). StudioError before the end."""
    _refuse_blind(desk)
    return _of_raters(desk, lambda name: not name.startswith(JUDGE))


def judges(desk: Desk) -> dict[str, dict[str, Any]]:
    """The same figures of each judge model, by name. StudioError before the end: they would tell raters who wins."""
    _refuse_blind(desk)
    return judged(desk)


def by_judges_alone(desk: Desk) -> bool:
    """Whether something was rated, and by no person."""
    names = done(desk)
    return bool(names) and all(name.startswith(JUDGE) for name in names)


def judged(desk: Desk) -> dict[str, dict[str, Any]]:
    """The figures of each judge model, also of a desk that is blind: not to be shown then."""
    names = [name for name in done(desk) if name.startswith(JUDGE)]
    return {name.removeprefix(JUDGE): _of_raters(desk, name.__eq__) for name in names}


def _of_raters(desk: Desk, wanted: Callable[[str], bool]) -> dict[str, Any]:
    said = [
        Rating(rater, number, item["vote"], item["scores"])
        for (rater, number), item in _newest(desk).items()
        if wanted(rater)
    ]
    return figures.summary(said, len(desk.pairs) - len(desk.asked) if said else 0)


def as_csv(desk: Desk) -> str:
    """A line for each rating, with prompt and answers. StudioError before the end."""
    _refuse_blind(desk)
    out = io.StringIO()
    lines = csv.writer(out)
    scores = [(name, side) for name in DIMENSIONS for side in SIDES]
    lines.writerow(
        [
            "pair",
            "rater",
            "left",
            "vote",
            *(f"{name}_{side}" for name, side in scores),
            "at",
            "prompt",
            *SIDES,
        ]
    )
    for (rater, number), item in sorted(_newest(desk).items(), key=lambda found: found[0][::-1]):
        pair = desk.pairs[number]
        texts = [rater, pair.messages[-1]["content"], *(pair.of(side) for side in SIDES)]
        name, prompt, *answers = map(_as_cell, texts)
        given = [item["scores"].get(side, {}).get(dimension, "") for dimension, side in scores]
        lines.writerow(
            [number + 1, name, item.get("left", ""), item["vote"], *given, item["at"], prompt, *answers]
        )
    return out.getvalue()


def _newest(desk: Desk) -> dict[tuple[str, int], dict[str, Any]]:
    return {(item["rater"], item["pair"]): item for item in _lines(desk)}


def _refuse_blind(desk: Desk) -> None:
    if not desk.closed:
        raise StudioError(
            "This comparison is still blind.", "End it first: then it is shown which model is which."
        )


def _as_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
