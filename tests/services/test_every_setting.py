"""Every setting of a run changes what the run does: each is changed by itself, and the two runs are held together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers.models.llama.modeling_llama import LlamaMLP

from studio.domain.config import SECTIONS, RunConfig, parse_config, settings
from studio.domain.events import Event, Metric, Phase, Sample, Started
from studio.services.jobs import Jobs
from studio.services.store import Store
from studio.services.worker import Worker
from tests.tiny import CHATML, tiny_model
from tests.trainings import losses, measured, rates, steps

COMMITS = ("a" * 40, "b" * 40)
BASE: dict[str, Any] = {
    "model.id": "tiny",
    "data.path": "rows",
    "data.held_out_share": 0.25,
    "train.method": "lora",
    "train.epochs": 1,
    "train.batch_size": 4,
    "train.micro_batch_size": 4,
    "train.learning_rate": 1e-2,
    "train.max_length": 256,
    "train.rank": 4,
    "train.alpha": 8,
    "train.dtype": "float32",
    "train.gradient_checkpointing": False,
    "train.save_steps": 1,
    "train.eval_steps": 2,
    "evaluate.general_rows": 1,
    "evaluate.sample_tokens": 4,
}
"""Twelve rows, three of them measured on: three steps."""


@dataclass
class Did:
    """What a run did: what it said, what it left, and what went through the model."""

    run: str = ""
    name: str = ""
    events: list[Event] = field(default_factory=list)
    files: frozenset[str] = frozenset()
    metrics: Mapping[str, float] = field(default_factory=dict)
    inputs: list[tuple[int, ...]] = field(default_factory=list)
    """Shape of each batch."""
    layer_passes: int = 0
    """Through the inner part of a layer, which is computed again in the backward pass where it was not kept."""
    weight_types: set[torch.dtype] = field(default_factory=set)

    @property
    def started(self) -> Started:
        return next(event for event in self.events if isinstance(event, Started))


def loss(did: Did) -> Any:
    return losses(did.events)


def held_out_loss(did: Did) -> Any:
    return measured(did.events)


def rate(did: Did) -> Any:
    return rates(did.events)


def count_of_steps(did: Did) -> Any:
    return steps(did.events)


def trained_rows(did: Did) -> Any:
    return did.started.rows


def trained_tokens(did: Did) -> Any:
    return did.started.trained_tokens


def parameters(did: Did) -> Any:
    return did.started.trainable_parameters


def scored_rows(did: Did) -> Any:
    return {event.total for event in did.events if isinstance(event, Phase) and event.name == "evaluating"}


def general_loss(did: Did) -> Any:
    return [event.general_loss for event in did.events if isinstance(event, Metric)]


def answers(did: Did) -> Any:
    return [
        (event.step, event.prompt, event.text, event.tokens)
        for event in did.events
        if isinstance(event, Sample)
    ]


def checkpoints(did: Did) -> Any:
    return [event.step for event in did.events if event.type == "checkpoint"]


@dataclass(frozen=True)
class Change:
    """A setting's other value, what is looked at, and what is set in both runs."""

    to: Any
    seen: Callable[[Did], Any]
    given: Mapping[str, Any] = field(default_factory=dict)


DIVERGES = {
    "train.learning_rate": 0.1,
    "train.scheduler": "constant",
    "train.eval_steps": 1,
    "train.epochs": 6,
}
SEEN: dict[str, Change] = {
    "name": Change("another", lambda did: did.name),
    "model.id": Change("other", loss),
    "model.revision": Change(COMMITS[1], loss, {"model.id": "owner/tiny", "model.revision": COMMITS[0]}),
    "model.adapter": Change("<earlier run>", held_out_loss),
    "data.path": Change("others", loss),
    "data.format": Change("alpaca", trained_tokens),
    "data.columns": Change(
        {"prompt": "q", "response": "b"},
        trained_tokens,
        {"data.format": "columns", "data.columns": {"prompt": "q", "response": "a"}},
    ),
    "data.read_as": Change({"encoding": "latin-1"}, trained_tokens, {"data.path": "accented"}),
    "data.max_rows": Change(6, trained_rows),
    "data.held_out_path": Change("others", held_out_loss),
    "data.held_out_share": Change(0.5, trained_rows),
    "data.general_share": Change(0.5, trained_rows),
    "data.general_path": Change("others", loss, {"data.general_share": 0.5}),
    "data.overlong": Change("drop", trained_rows, {"train.max_length": 72}),
    "template.name": Change("qwen3", loss),
    "template.source": Change(
        CHATML.replace("\\n", "\\n\\n"), loss, {"template.name": "custom", "template.source": CHATML}
    ),
    "template.turns": Change("last", trained_tokens),
    "template.reasoning": Change(False, trained_tokens, {"template.name": "qwen3"}),
    "template.tool_calls": Change(False, trained_tokens, {"template.name": "qwen3"}),
    "template.prompts": Change(True, trained_tokens),
    "train.method": Change("full", lambda did: did.files),
    "train.epochs": Change(2, count_of_steps),
    "train.learning_rate": Change(1e-3, rate),
    "train.batch_size": Change(2, count_of_steps),
    "train.max_length": Change(70, trained_tokens),
    "train.rank": Change(8, parameters),
    "train.alpha": Change(32, loss),
    "train.dropout": Change(0.5, loss),
    "train.target_modules": Change(["q_proj"], parameters),
    "train.rank_stabilized": Change(True, loss),
    "train.dora": Change(True, parameters),
    "train.adapter_start": Change("pissa", loss),
    "train.lora_plus_ratio": Change(16, loss),
    "train.ewc": Change(1e5, loss),
    "train.max_steps": Change(1, count_of_steps),
    "train.micro_batch_size": Change(1, lambda did: len(did.inputs)),
    "train.packing": Change(False, lambda did: did.inputs),
    "train.plain": Change(True, lambda did: did.inputs),
    "train.optimizer": Change("adamw_8bit", loss, {"train.rank": 64}),
    "train.scheduler": Change("constant", rate),
    "train.decay_ratio": Change(1.0, rate, {"train.scheduler": "warmup_stable_decay"}),
    "train.warmup_ratio": Change(0.5, rate),
    "train.weight_decay": Change(1.0, loss),
    "train.max_grad_norm": Change(1e-4, loss),
    "train.neftune_alpha": Change(15, loss),
    "train.seed": Change(7, loss),
    "train.dtype": Change("bfloat16", lambda did: did.weight_types),
    "train.gradient_checkpointing": Change(True, lambda did: did.layer_passes),
    "train.save_steps": Change(2, checkpoints),
    "train.keep_checkpoints": Change(1, lambda did: did.files),
    "train.eval_steps": Change(1, held_out_loss),
    "train.patience": Change(1, count_of_steps, DIVERGES),
    "train.result": Change("last", lambda did: did.metrics["result_step"], DIVERGES),
    "train.report_to": Change(["tensorboard"], lambda did: {file.split("/")[0] for file in did.files}),
    "evaluate.rows": Change(1, scored_rows),
    "evaluate.general_rows": Change(2, general_loss),
    "evaluate.sample_rows": Change(1, answers),
    "evaluate.sample_prompts": Change("Who are you?", answers),
    "evaluate.sample_steps": Change(1, answers),
    "evaluate.sample_tokens": Change(2, answers),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    tiny_model(store.models_dir / "other", seed=3)
    for seed, commit in enumerate(COMMITS):
        tiny_model(store.home / "hub" / "models--owner--tiny" / "snapshots" / commit, seed=seed)
    write_rows(store.home / "rows.jsonl", "Answer")
    write_rows(store.home / "others.jsonl", "Reply")
    write_rows(store.home / "accented.jsonl", "Réponse")
    return store


def write_rows(file: Path, word: str) -> None:
    """Conversations of two turns with reasoning and a tool call; beside them other columns that could be trained on."""
    lines = []
    for number in range(12):
        call = {"type": "function", "function": {"name": "look_up", "arguments": {"number": number}}}
        messages = [
            {"role": "user", "content": f"Question {number}?"},
            {"role": "assistant", "content": f"{word} {number}.", "tool_calls": [call]},
            {"role": "tool", "name": "look_up", "content": "Found."},
            {
                "role": "assistant",
                "reasoning_content": "It is easy.",
                "content": f"{word} {number}" * (number // 4),
            },
        ]
        columns = {
            "instruction": f"Say {number}.",
            "output": f"{number}",
            "q": f"{number}?",
            "a": "Yes",
            "b": "Never",
        }
        lines.append(json.dumps({"messages": messages, **columns}, ensure_ascii=False))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def runs(store: Store) -> Callable[[Mapping[str, Any]], Did]:
    """Runs by what is set in them; each is done once."""
    done: dict[str, Did] = {}

    def run(values: Mapping[str, Any]) -> Did:
        key = json.dumps(values, sort_keys=True)
        if key not in done:
            done[key] = do(store, configured(store, values))
        return done[key]

    return run


def configured(store: Store, values: Mapping[str, Any]) -> RunConfig:
    """The base configuration with these values; files go by their stems."""
    named = {
        key: str(store.home / f"{value}.jsonl") if key.startswith("data.") and key.endswith("path") else value
        for key, value in {**BASE, **values}.items()
    }
    return parse_config({"data": {"path": named["data.path"]}}).with_values(named)


def do(store: Store, config: RunConfig) -> Did:
    """The run by its own worker, here and now."""
    jobs, did = Jobs(store), Did()
    files = jobs.write(config)
    with watched(did):
        assert Worker(files.folder).run() == 0, files.state().reason
    did.run, did.name = files.id, str(files.run()["name"])
    did.events = list(jobs.events(files.id)[0])
    did.metrics = jobs.get(files.id).metrics
    did.files = frozenset(path.relative_to(files.folder).as_posix() for path in files.folder.rglob("*"))
    return did


@contextmanager
def watched(did: Did) -> Iterator[None]:
    """Write down what passes through the model."""

    def look(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, LlamaMLP):
            did.layer_passes += 1
            did.weight_types.add(module.up_proj.weight.dtype)
        elif isinstance(module, torch.nn.Embedding):
            did.inputs.append(tuple(inputs[0].shape))

    handle = register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


def test_every_setting_is_walked() -> None:
    """Those of where a run runs leave it as it is, which tests/services/test_launch.py holds."""
    sections = set(SECTIONS) - {"launch"}
    declared = {setting.key for section in sections for setting in settings(section)} | {"name"}
    assert set(SEEN) == declared


@pytest.mark.parametrize("key", SEEN)
def test_a_setting_changes_what_the_run_does(
    runs: Callable[[Mapping[str, Any]], Did], store: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key == "train.report_to":
        pytest.importorskip("tensorboard")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(store.home / "hub"))
    change = SEEN[key]
    without = runs(change.given)
    to = without.run if key == "model.adapter" else change.to
    assert change.seen(runs({**change.given, key: to})) != change.seen(without)
