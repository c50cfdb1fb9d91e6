"""The optimiser of a run: AdamW, also with 8-bit or paged averages, and each group of weights with its own rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from studio.domain.config import Optimizer, TrainConfig
from studio.domain.errors import StudioError
from studio.domain.machine import Machine
from studio.domain.text import Text

if TYPE_CHECKING:
    import torch

_FASTER = ".lora_B."


def build(
    parameters: Mapping[str, torch.nn.Parameter], config: TrainConfig, device: str
) -> torch.optim.Optimizer:
    """AdamW over the trained parameters. Matrices decay; biases, norms and magnitudes do not.

    With LoRA+, B and magnitudes learn at a multiple of the rate, as in PEFT's own.
    """
    ratio = config.lora_plus_ratio if config.method != "full" else 1.0
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in parameters.items():
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        faster = _FASTER in name or parameter.ndim == 1
        groups.setdefault((decay, ratio if faster else 1.0), []).append(parameter)
    return _made(
        [
            {"params": members, "weight_decay": decay, "rate_ratio": times}
            for (decay, times), members in groups.items()
        ],
        config.optimizer,
        device,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step, each group at its multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_ratio"]


def unavailable(machine: Machine) -> dict[str, Text]:
    """The optimisers that this machine cannot run, each with the reason."""
    found: dict[str, Text] = {}
    if not machine.can_qlora:
        found["adamw_8bit"] = Text("8 bits need bitsandbytes, which does not work here.")
    if machine.device != "cuda" or not machine.can_qlora:
        found.update({"paged_adamw": _PAGED, "paged_adamw_8bit": _PAGED})
    return found


_PAGED = Text("Paged needs an NVIDIA GPU, whose memory it spares, and bitsandbytes.")


def check(config: TrainConfig, machine: Machine) -> None:
    """Raises StudioError where the machine cannot run the optimiser."""
    reason = unavailable(machine).get(config.optimizer)
    if reason is not None:
        raise StudioError(reason.template, "Choose another optimiser, such as `adamw`.")


def _made(groups: list[dict[str, Any]], optimizer: Optimizer, device: str) -> torch.optim.Optimizer:
    import torch

    if optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=device != "mps")
    from bitsandbytes import optim

    kinds = {
        "adamw_8bit": optim.AdamW8bit,
        "paged_adamw": optim.PagedAdamW,
        "paged_adamw_8bit": optim.PagedAdamW8bit,
    }
    made: torch.optim.Optimizer = kinds[optimizer](groups)
    return made
