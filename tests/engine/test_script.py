"""The script of a run trains the same adapter again, alone: to the last bit where the run's operations were plain."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.domain.config import RunConfig, TrainConfig
from studio.domain.errors import StudioError
from studio.engine.assets import ASSETS
from studio.engine.export.script import Recipe, check_repeatable, write_script
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer
from studio.engine.tuned import TunedRun
from tests.runs import ROWS
from tests.tiny import tiny_model
from tests.trainings import BASE, encoded_rows, losses, rates, trained


def made(folder: Path, **settings: Any) -> tuple[TunedRun, Recipe]:
    """A short run of ten rows, with all that its script is written from."""
    model = tiny_model(folder / "base")
    rows = encoded_rows(model)
    events, metrics, result = trained(model, rows, folder / "run", **settings)
    config = TrainConfig.model_validate({**BASE, **settings})
    run_config = RunConfig.model_validate({"model": {"id": str(model)}, "data": {"path": "rows.jsonl"}})
    tokenizer = load_tokenizer(model)
    run = TunedRun(
        "run-1",
        "run",
        run_config.model_copy(update={"train": config}),
        model,
        resolve("model", tokenizer),
        tokenizer,
        "adapter",
        result / "adapter",
    )
    until = int(metrics["result_step"])
    return run, Recipe(rows, ROWS, rates(events)[:until], losses(events)[:until], 1, {}, False)


def run_script(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "train.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "settings",
    [
        {"micro_batch_size": 3, "weight_decay": 0.1, "lora_plus_ratio": 4.0, "max_grad_norm": 0.5},
        {"dtype": "bfloat16", "dora": True},
    ],
    ids=["lora in micro-batches", "dora in bfloat16"],
)
def test_the_script_of_a_plain_run_gives_the_same_weights_to_the_last_bit(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    run, recipe = made(tmp_path, plain=True, **settings)
    (tmp_path / "out").mkdir()
    write_script(run, recipe, tmp_path / "out")
    assert run_script(tmp_path / "out").splitlines()[-1] == "the same to the last bit"


def test_the_script_imports_nothing_of_the_studio() -> None:
    tree = ast.parse((ASSETS / "script" / "train.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        name.partition(".")[0]
        for node in imports
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    own = {"torch", "transformers", "peft", "safetensors"}
    assert names - own <= set(sys.stdlib_module_names)


def test_what_lies_in_the_folder(tmp_path: Path) -> None:
    run, recipe = made(tmp_path)
    (tmp_path / "out").mkdir()
    write_script(run, recipe, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert [len(step) for step in written["steps"]] == [4, 4, 2, 4, 4, 2]
    assert sorted(row for step in written["steps"][:3] for row in step) == list(range(10))
    assert len(written["learning_rates"]) == len(written["losses"]) == 6
    first = json.loads((tmp_path / "out" / "data" / "encoded.jsonl").read_text().splitlines()[0])
    assert first == {"input_ids": [*recipe.rows[0].input_ids], "labels": [*recipe.rows[0].labels]}
    assert "peft==" in (tmp_path / "out" / "requirements.txt").read_text()
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "is the same up to rounding. A run with `train.plain` is repeated to the last bit." in readme


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"neftune_alpha": 5.0}, "noise on embeddings"),
        ({"ewc": 1.0}, "holding on to general skills"),
        ({"adapter_start": "pissa"}, "PiSSA"),
        ({"optimizer": "adamw_8bit"}, "an optimiser other than `adamw`"),
    ],
)
def test_what_a_script_cannot_repeat_is_refused(settings: dict[str, Any], what: str) -> None:
    config = RunConfig.model_validate({"data": {"path": "rows.jsonl"}, "train": {**BASE, **settings}})
    run: Any = TunedRun("r", "r", config, Path(), None, None, "adapter", Path())  # type: ignore[arg-type]
    with pytest.raises(StudioError) as error:
        check_repeatable(run, Recipe([], [], [], [], 1, {}, False))
    assert error.value.message == f"A script cannot repeat {what}."
