"""A frozen base in parts: one layer at a time is whole, and what comes out is what comes out of all of it."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from studio.domain.config import TrainConfig
from tests.tiny import tiny_model
from tests.trainings import BASE, encoded_rows


def _member(rank: int, model: Path, home: Path, method: str) -> None:
    import torch
    from torch import distributed

    from studio.engine import sharding, trainee
    from studio.engine.frozen_shards import FrozenShards
    from studio.engine.ranks import Ranks

    distributed.init_process_group("gloo", init_method=f"file://{home}/meet", rank=rank, world_size=2)
    config = TrainConfig.model_validate({**BASE, "method": method})
    built = trainee.build(model, config, "cpu", pad_id=0)
    rows = encoded_rows(model)[:3]
    layers = sharding.layers(built.base)

    def held() -> int:
        storages = {
            parameter.untyped_storage().data_ptr(): parameter.untyped_storage().nbytes()
            for layer in layers
            for parameter in layer.parameters()
            if not parameter.requires_grad and parameter.ndim > 1 and parameter.untyped_storage().nbytes()
        }
        return sum(storages.values())

    def passed() -> tuple[float, list[torch.Tensor]]:
        built.model.zero_grad(set_to_none=True)
        loss = built.loss(built.collate(rows))
        loss.backward()
        return loss.item(), [p.grad.clone() for p in built.parameters.values() if p.grad is not None]

    whole, (loss, gradients) = held(), passed()
    shards = FrozenShards(layers, Ranks(rank, 2))
    nothing = held()
    again = [passed() for _ in range(2)]
    said: dict[str, Any] = {
        "layers": len(layers),
        "whole": whole,
        "nothing": nothing,
        "one": held(),
        "kept": shards.bytes,
        "losses": [loss, *(found for found, _ in again)],
        "gradients": len(gradients),
        "equal": all(map(torch.equal, gradients, again[0][1]))
        and all(map(torch.equal, gradients, again[1][1])),
    }
    (home / f"said-{rank}.json").write_text(json.dumps(said))
    distributed.destroy_process_group()


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_one_layer_at_a_time_is_whole_and_gradients_are_the_same_bit_for_bit(
    tmp_path: Path, method: str
) -> None:
    model = tiny_model(tmp_path / "model")
    context = multiprocessing.get_context("spawn")
    members = [context.Process(target=_member, args=(rank, model, tmp_path, method)) for rank in range(2)]
    for member in members:
        member.start()
    for member in members:
        member.join(120)
    for rank in range(2):
        said = json.loads((tmp_path / f"said-{rank}.json").read_text())
        assert said["nothing"] == 0
        assert said["one"] == said["whole"] / said["layers"]
        assert said["kept"] == pytest.approx(said["whole"] / 2, abs=said["layers"])
        assert len(set(said["losses"])) == 1
        assert said["gradients"] > 0
        assert said["equal"]
