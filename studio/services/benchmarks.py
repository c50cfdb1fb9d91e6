"""Public benchmarks of base and tuned model by lm-evaluation-harness, an optional extra; kept in the run's folder.

runs/<id>/benchmarks/<key>/result.json, where the key is made of the weights and of what was asked.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.domain.answer import SIDES
from studio.domain.errors import StudioError
from studio.domain.loading import Step
from studio.services import tasks
from studio.services.files import now, read_json, write_json
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.services.subject import Subject
from studio.services.trained import read_trained

if TYPE_CHECKING:
    from studio.engine.tuned import Pair, TunedRun

Progress = Callable[[str, float, float], None]
SCHEMA = 1
USUAL = ("arc_easy", "hellaswag")
LIMIT = 100
"""Questions of a task, unless another number is named."""
_BATCH = 8


@dataclass(frozen=True)
class Asked:
    """Which tasks of the harness, and how."""

    run: str
    tasks: Sequence[str]
    limit: int | None = LIMIT
    """The first questions of each task; None: all."""
    chat: bool = True
    """Whether questions are asked through the run's own template, as a chat would."""
    include: str | None = None
    """A folder with further tasks, as the harness reads them. What stands in it may be code: only one's own."""

    def __post_init__(self) -> None:
        wanted = tuple(dict.fromkeys(name.strip() for name in self.tasks if name.strip()))
        object.__setattr__(self, "tasks", wanted)
        if not wanted or (self.limit is not None and self.limit < 1):
            raise StudioError(
                "A benchmark needs at least one task, and one question of each.",
                "Name tasks such as {usual}.",
                usual=", ".join(USUAL),
            )


def start(store: Store, asked: Asked) -> str:
    """Measure in a process of its own; returns the task's id. StudioError at once where the harness is missing."""
    _refuse_missing()
    _refuse_no_folder(asked)
    read_trained(RunFiles(store.run_dir(asked.run)))
    if tasks.running(store, "benchmark") is not None:
        raise StudioError(
            "Another benchmark is at work.", "Wait for its end, or cancel it: two would slow each other down."
        )
    return tasks.start(store, "benchmark", asdict(asked))


def run(store: Store, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do what a request asks, in this process."""
    return measure(store, Asked(**request), progress)


def results(store: Store, run_id: str) -> list[dict[str, Any]]:
    """All that was measured of a run, the newest first."""
    folder = RunFiles(store.run_dir(run_id)).benchmarks
    found = (read_json(file) for file in folder.glob("*/result.json"))
    return sorted((one for one in found if one), key=lambda one: str(one["created"]), reverse=True)


def measure(
    store: Store, asked: Asked, progress: Progress = lambda phase, done, total: None
) -> dict[str, Any]:
    """Both sides on the tasks: `figures` has a line for each task and measure, with the harness's own standard errors.

    StudioError where the harness or a task is missing, or a task's data cannot be had.
    """
    _refuse_missing()
    _refuse_no_folder(asked)
    files = RunFiles(store.run_dir(asked.run))
    folder = files.benchmarks / _key(files, asked)
    if done := read_json(folder / "result.json"):
        return done
    trained = read_trained(files)
    manager = _known(asked)
    pair = Subject(files.folder).load(lambda share: progress("loading", round(100 * share), 100))
    found = {}
    for number, side in enumerate(SIDES):

        def step(share: float, number: int = number) -> None:
            progress("measuring", number + share, len(SIDES))

        step(0.0)
        found[side] = _measured(pair, trained, side, asked, manager, step)
    result = {
        "schema": SCHEMA,
        "run": asked.run,
        "created": now(),
        "harness": found[SIDES[0]]["version"],
        "limit": asked.limit,
        "chat": asked.chat,
        "figures": _figures(found),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "result.json", result)
    return result


def _refuse_missing() -> None:
    if find_spec("lm_eval") is None:
        raise StudioError(
            "lm-evaluation-harness is not installed.",
            "Install it: {python} -m pip install -c constraints.txt -e '.[benchmarks]'",
            python=sys.executable,
        )


def _refuse_no_folder(asked: Asked) -> None:
    if asked.include and not any(Path(asked.include).glob("**/*.yaml")):
        raise StudioError(
            "{folder} has no tasks for lm-evaluation-harness.",
            "Name the folder in which their YAML files stand.",
            folder=asked.include,
        )


def _key(files: RunFiles, asked: Asked) -> str:
    include = sorted(Path(asked.include).rglob("*")) if asked.include else []
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in include if file.is_file()]
    weights = Subject(files.folder).stamps()
    seen = {
        **asdict(asked),
        "schema": SCHEMA,
        "weights": weights,
        "included": stamps,
        "harness": version("lm_eval"),
    }
    return hashlib.sha256(json.dumps(seen, sort_keys=True, default=list).encode()).hexdigest()[:16]


def _known(asked: Asked) -> Any:
    """The harness's task manager. StudioError for a task that it does not have."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=asked.include)
    for name in asked.tasks:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, 1)
            raise StudioError(
                "lm-evaluation-harness has no task {name}.",
                "Did you mean {near}? `lm-eval ls tasks` lists all.",
                name=name,
                near=near[0] if near else USUAL[0],
            )
    return manager


def _measured(
    pair: Pair, trained: TunedRun, side: str, asked: Asked, manager: Any, step: Step
) -> dict[str, Any]:
    """What the harness says of one side."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(trained.model_path))
    tokenizer.chat_template = trained.template.source
    model = HFLM(
        pretrained=pair.model(side),
        tokenizer=tokenizer,
        device=pair.device,
        batch_size=_BATCH,
        max_length=pair.context,
    )
    _tell(model, step)
    try:
        found = lm_eval.simple_evaluate(
            model,
            tasks=[*asked.tasks],
            limit=asked.limit,
            apply_chat_template=asked.chat,
            task_manager=manager,
            log_samples=False,
        )
    except (ConnectionError, OSError) as error:
        raise StudioError(
            "The data of {tasks} cannot be fetched: {problem}",
            "Public benchmarks load their questions from a hub: look whether this machine reaches it, or measure tasks "
            "of your own whose files are here.",
            tasks=", ".join(asked.tasks),
            problem=str(error)[:300],
        ) from error
    assert found is not None  # only other ranks of several get None
    return {
        "version": found.get("lm_eval_version") or getattr(lm_eval, "__version__", ""),
        "results": found["results"],
        "better": found.get("higher_is_better", {}),
        "counted": found.get("n-samples", {}),
    }


def _tell(model: Any, step: Step) -> None:
    """Let `step` be told which share of its requests a model of the harness has answered.

    The harness hands each answer to a model's cache hook as it comes; several kinds of requests follow each other.
    """
    from lm_eval.api.model import CacheHook

    asked, answered, told = 0, 0, 0.0

    class Hook(CacheHook):
        def add_partial(self, attr: str, req: Any, res: Any) -> None:
            nonlocal answered, told
            answered += 1
            told = max(told, answered / max(asked, answered))
            step(told)

    def counted(answer: Callable[..., Any]) -> Callable[..., Any]:
        def ask(requests: Sequence[Any], *given: Any, **options: Any) -> Any:
            nonlocal asked
            asked += len(requests)
            return answer(requests, *given, **options)

        return ask

    model.set_cache_hook(Hook(None))
    for kind in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
        setattr(model, kind, counted(getattr(model, kind)))


def _figures(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line for each task and measure: value and standard error of both sides."""
    base, tuned = (found[side]["results"] for side in SIDES)
    lines = []
    for task, measured in base.items():
        for name, value in measured.items():
            measure, _, how = name.partition(",")
            if not how or measure.endswith("_stderr") or not isinstance(value, int | float):
                continue
            errors = [side[task].get(f"{measure}_stderr,{how}") for side in (base, tuned)]
            lines.append(
                {
                    "task": task,
                    "measure": measure if how == "none" else f"{measure} ({how})",
                    "questions": found["base"]["counted"].get(task, {}).get("effective"),
                    "base": float(value),
                    "tuned": float(tuned[task][name]),
                    "base_error": _number(errors[0]),
                    "tuned_error": _number(errors[1]),
                    "higher_is_better": found["base"]["better"].get(task, {}).get(measure),
                }
            )
    return lines


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
