"""What the model is fed in a run is what the preview shows: watched at the model itself, packed and padded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch.nn.modules.module import register_module_forward_hook
from transformers import AutoModelForCausalLM
from transformers.models.llama import LlamaModel

from studio.domain.config import RunConfig, parse_config
from studio.domain.encoded import IGNORED, Encoded
from studio.domain.events import Metric
from studio.engine.assets import ASSETS
from studio.engine.encode import fingerprint
from studio.engine.steps import plan_steps
from studio.services.log import tail
from studio.services.plan import encoded, load_data, plan
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from studio.services.worker import Worker
from tests.tiny import SPECIAL, tiny_model

SAMPLE = ASSETS / "samples" / "support-train.jsonl"
HELD_OUT = ASSETS / "samples" / "support-heldout.jsonl"
VOCABULARY = 900
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
MAX_LENGTH = 110
"""Cuts some of the sample's rows, and leaves no room for the answers of others."""


@dataclass
class Fed:
    """One batch as it arrived at the model, and the positions whose hidden states got a gradient from the loss."""

    ids: list[list[int]]
    places: list[list[int]]
    mask: list[list[int]] | None
    row_lengths: tuple[int, ...]
    predicts: list[list[bool]] | None = None
    """None until the backward pass has been through."""

    def rows(self, pad_id: int) -> Iterator[Encoded]:
        """Its rows, taken apart again; a position that predicts trains the token after it."""
        assert self.predicts is not None
        for ids, places, predicts in self._parts(pad_id):
            assert places == list(range(len(ids)))
            assert not predicts[-1], "a row's last token predicts nothing"
            labels = [
                IGNORED,
                *(token if on else IGNORED for token, on in zip(ids[1:], predicts, strict=False)),
            ]
            yield Encoded(tuple(ids), tuple(labels), (), "")

    def _parts(self, pad_id: int) -> Iterator[tuple[list[int], list[int], list[bool]]]:
        assert self.predicts is not None
        if self.mask is None:
            start = 0
            for length in self.row_lengths:
                part = slice(start, start + length)
                yield self.ids[0][part], self.places[0][part], self.predicts[0][part]
                start += length
            assert set(self.ids[0][start:]) <= {pad_id}, "packed rows lie end to end"
            assert not any(self.predicts[0][start:]), "what fills up is in the loss"
            assert len(self.ids[0]) - start < 64
            return
        for ids, places, mask, predicts in zip(self.ids, self.places, self.mask, self.predicts, strict=True):
            length = sum(mask)
            assert mask == [1] * length + [0] * (len(mask) - length)
            assert set(ids[length:]) <= {pad_id}
            assert not any(predicts[length:]), "padding is in the loss"
            yield ids[:length], places[:length], predicts[:length]


@contextmanager
def watched() -> Iterator[list[Fed]]:
    """Every batch that a Llama model is trained with while this is open."""
    seen: list[Fed] = []

    def on_forward(module: torch.nn.Module, _: Any, inputs: dict[str, Any], output: Any) -> None:
        if not isinstance(module, LlamaModel) or not output.last_hidden_state.requires_grad:
            return
        mask = inputs.get("attention_mask")
        fed = Fed(
            inputs["input_ids"].tolist(),
            inputs["position_ids"].tolist(),
            None if mask is None else mask.tolist(),
            tuple(inputs.get("row_lengths", ())),
        )
        seen.append(fed)
        output.last_hidden_state.register_hook(
            lambda grad: setattr(fed, "predicts", (grad != 0).any(-1).tolist())
        )

    handle = register_module_forward_hook(on_forward, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    with_words(tiny_model(store.models_dir / "tiny", **SMALL))
    folder = with_words(tiny_model(store.models_dir / "pads-with-its-end", **SMALL))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    text = json.dumps({**config, "pad_token": config["eos_token"]})
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    store.machine()
    kept = json.loads(store.machine_file.read_text(encoding="utf-8"))
    kept["machine"]["cores"] = 1  # as everywhere in the tests
    store.machine_file.write_text(json.dumps(kept), encoding="utf-8")
    return store


def with_words(folder: Path) -> Path:
    """Give the model a tokenizer that knows the sample's words, as bytes are many tokens."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train(
        [str(SAMPLE)],
        BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(SPECIAL),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def configured(model: str, **settings: Any) -> RunConfig:
    """A run over the sample that sees each row once and, at this rate, stays where it began."""
    sections = {
        "model": {"id": model},
        "data": {"path": str(SAMPLE), "held_out_path": str(HELD_OUT)},
        "evaluate": {"rows": 8},
        "train": {
            "method": "lora",
            "dtype": "float32",
            "rank": 2,
            "epochs": 1,
            "batch_size": 12,
            "micro_batch_size": 4,
            "learning_rate": 1e-12,
            "max_length": MAX_LENGTH,
            "gradient_checkpointing": False,
        },
    }
    return parse_config(sections).with_values(settings)


def work(store: Store, config: RunConfig) -> RunFiles:
    """The run as it is submitted, done in this process."""
    data = load_data(store, config)
    files = RunFiles(store.new_run_dir("run"))
    files.write_data(data.train, data.held_out)
    files.write_findings(data.findings)
    files.write_state(State("queued"))
    files.write_run(config, "run")
    assert Worker(files.folder).run() == 0, files.state().reason
    return files


def in_the_order_of_steps(rows: tuple[Encoded, ...], config: RunConfig) -> list[list[Encoded]]:
    train = config.train
    steps = plan_steps(len(rows), train.batch_size, 1.0, None, train.seed)
    return [[rows[index] for index in steps.batch(step)] for step in range(steps.count)]


def plain_loss(model: Any, rows: list[Encoded]) -> float:
    """Mean loss of a trained token as transformers computes it from ids and labels, one row at a time."""
    total = 0.0
    with torch.no_grad():
        for row in rows:
            out = model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels]))
            total += float(out.loss) * row.trained
    return total / sum(row.trained for row in rows)


CASES = {
    "packed": ("tiny", {"train.packing": True}),
    "padded": ("tiny", {"train.packing": False}),
    "padded with the end token": ("pads-with-its-end", {"train.packing": False}),
    "packed, Alpaca, last turn": ("tiny", {"template.name": "alpaca", "template.turns": "last"}),
    "padded with the end token, Llama 2": (
        "pads-with-its-end",
        {"train.packing": False, "template.name": "llama2", "data.overlong": "split"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_batch_of_a_run_is_the_previews_rows(case: str, store: Store) -> None:
    model, settings = CASES[case]
    config = configured(model, **settings)
    shown = encoded(store, config)
    with watched() as seen:
        files = work(store, config)
    assert all((fed.mask is None) is config.train.packing for fed in seen)

    fed_rows = [row for fed in seen for row in fed.rows(shown.encoder.tokenizer.pad_id)]
    wanted = in_the_order_of_steps(shown.data.rows, config)
    flat = [row for batch in wanted for row in batch]
    assert len(fed_rows) == len(flat) > 200
    for fed_row, row in zip(fed_rows, flat, strict=True):
        assert (row.row, fed_row.input_ids) == (row.row, row.input_ids)
        assert (row.row, fed_row.labels) == (row.row, row.labels)

    losses = [
        event.loss
        for event in tail(files.events, 0)[0]
        if isinstance(event, Metric) and event.loss is not None
    ]
    base = AutoModelForCausalLM.from_pretrained(store.models_dir / model, dtype=torch.float32).eval()
    assert len(losses) == len(wanted)
    for loss, rows in zip(losses, wanted, strict=True):
        assert math.isclose(loss, plain_loss(base, rows), rel_tol=1e-5)

    fed_by_row = {row.row: fed_row for row, fed_row in zip(flat, fed_rows, strict=True)}
    fed_in_order = [fed_by_row[row.row] for row in shown.data.rows]
    assert fingerprint(fed_in_order) == shown.data.sha256
    assert (files.env()["sha256"]["encoded"], plan(store, config).sha256) == (shown.data.sha256,) * 2


def test_a_row_alone_is_shown_as_it_is_in_the_set(store: Store) -> None:
    shown = encoded(store, configured("tiny"))
    fed = {row.row: row for row in shown.data.rows}
    cut = left_out = 0
    for conversation in shown.conversations:
        alone = shown.encoder.encode(conversation, shown.max_length)
        if conversation.row in fed:
            assert replace(alone, text="", spans=()) == fed[conversation.row]
            cut += alone.truncated
        else:
            assert "prompt_fills_length" in alone.hazards
            left_out += 1
    assert cut > 10
    assert left_out > 10
