"""What a machine can do: the facts that defaults and estimates are made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Device = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Machine:
    """One computer as probed. Memory in bytes; FLOP/s as measured by a short matrix product, 0 when not measured."""

    device: Device
    name: str
    memory_bytes: int
    """Of the accelerator; of the machine where there is none."""
    free_bytes: int
    cores: int
    dtypes: tuple[str, ...]
    can_qlora: bool
    flops: dict[str, float] = field(default_factory=dict)
    """Measured matmul FLOP/s by dtype."""
    versions: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Machine:
        return cls(**{**data, "dtypes": tuple(data["dtypes"]), "problems": tuple(data.get("problems", ()))})
