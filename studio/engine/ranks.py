"""Several processes that train one model as one: who takes which rows, sums over all, and what all decide alike."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from studio.domain.config import TrainConfig
from studio.domain.errors import Stopped, StudioError
from studio.engine.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")
_BUCKET = 32 * 1024 * 1024
"""Numbers of gradients that are summed at once: a copy of so many is held beside them."""
_PIECE = 64 * 1024 * 1024
"""Bytes of a file that are handed on at once."""
_FINE, _STOPPED, _MEMORY, _FAILED = range(4)


class PeerLost(Exception):
    """Another process of the run is gone: this one can only end, and all begin again from the last checkpoint."""


class AnotherFailed(Exception):
    """Another process of the run failed, and says itself why."""


class Sized(Protocol):
    @property
    def total(self) -> int: ...


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run. Alone, nothing is exchanged and nothing costs anything."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    """Where the numbers lie that are exchanged."""
    sharded: bool = False
    """Whether each holds only a part of the weights (FSDP): then all go through the model together, pass by pass."""

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes, speaks and measures what is measured once."""
        return self.rank == 0

    def share(self, rows: Sequence[Sized]) -> list[int]:
        """The places of the rows that this process takes, ascending."""
        return shares(rows, self.size)[self.rank]

    def passes(self, rows: Sequence[Sized], size: int) -> int:
        """Through the model, `size` rows at once, of the process that has most of them."""
        return max(-(-len(share) // size) for share in shares(rows, self.size))

    def any(self, flag: bool) -> bool:
        """Whether it is so for one process at least."""
        return bool(self._largest(int(flag))) if self.size > 1 else flag

    def total(self, *numbers: float) -> list[float]:
        """Each number summed over all processes."""
        if self.size == 1:
            return [*numbers]
        import torch

        tensor = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        self._reduce(tensor)
        return [float(number) for number in tensor]

    def from_leader(self, number: float) -> float:
        """The leader's number, whatever one's own is."""
        return self.total(number if self.leads else 0.0)[0]

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes; one that a process has none of counts as zero."""
        if self.size == 1:
            return
        import torch

        for bucket in _buckets(parameters):
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
            self._reduce(flat)
            parts = flat.split([p.numel() for p in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                parameter.grad = part.view_as(parameter)

    def together(self, work: Callable[[int], Result]) -> Callable[[int], Result]:
        """`work`, which ends alike for all: where one ran out of memory, was stopped or failed, no one goes on.

        `work` exchanges nothing. With sharded weights it does, and a process that fails leaves the others waiting: it
        ends, and with it the others.
        """
        if self.size == 1 or self.sharded:
            return work

        def agreed(size: int) -> Result:
            error: Exception | None = None
            try:
                result = work(size)
            except Exception as problem:
                error = problem
            worst = self._largest(_kind(error))
            if worst == _FINE:
                return result
            try:
                if error is not None and _kind(error) == worst:
                    raise error
            finally:
                error = None  # with it go the tensors that its frames hold
            if worst == _STOPPED:
                raise Stopped
            raise MemoryError if worst == _MEMORY else AnotherFailed

        return agreed

    def barrier(self) -> None:
        """Wait until all are here."""
        self.any(False)

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The leader does it, then all others do: they find what it has written."""
        if not self.leads:
            self.barrier()
        yield
        if self.leads:
            self.barrier()

    def hand_on(self, folder: Path, names: Sequence[str] | None = None) -> None:
        """Give a folder of the leader's, or the files in it that the leader names, to those that do not see them."""
        if self.size == 1:
            return
        import json

        if names is None and self.leads:
            names = (
                sorted(file.name for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
            )
        told: list[str] = json.loads(self._bytes(json.dumps(names or []).encode()))
        for name in told:
            if self.any(not (folder / name).is_file()):
                self._hand_on_file(folder / name)

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """That of every process, by rank; all are of one shape and type."""
        import torch
        from torch import distributed

        here = tensor.to(self.device)
        found = [torch.empty_like(here) for _ in range(self.size)]
        with _lost_peers():
            distributed.all_gather(found, here)
        return [one.cpu() for one in found]

    def end_to_end(self, part: torch.Tensor) -> torch.Tensor:
        """The parts of all processes, by rank; they lie where it lies, and are of one size and type."""
        import torch
        from torch import distributed

        found = torch.empty(self.size * part.numel(), dtype=part.dtype, device=part.device)
        with _lost_peers():
            distributed.all_gather_into_tensor(found, part)
        return found

    def _hand_on_file(self, file: Path) -> None:
        own = self.leads or file.is_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        size = int(self.from_leader(file.stat().st_size if self.leads else 0))
        temporary = file.with_name(f".{file.name}.{self.rank}.partial")
        with file.open("rb") if own else temporary.open("wb") as handle:
            for start in range(0, size, _PIECE):
                length = min(_PIECE, size - start)
                piece = self._broadcast(handle.read(length) if self.leads else b"", length)
                if not own:
                    handle.write(piece)
        if not own:
            temporary.replace(file)

    def _bytes(self, data: bytes) -> bytes:
        return self._broadcast(data, int(self.from_leader(len(data))))

    def _broadcast(self, data: bytes, length: int) -> bytes:
        import torch
        from torch import distributed

        if self.leads:
            tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(self.device)
        else:
            tensor = torch.empty(length, dtype=torch.uint8, device=self.device)
        with _lost_peers():
            distributed.broadcast(tensor, src=0)
        return bytes(tensor.cpu().numpy())

    def _largest(self, number: int) -> int:
        import torch
        from torch import distributed

        tensor = torch.tensor(number, device=self.device)
        with _lost_peers():
            distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
        return int(tensor)

    def _reduce(self, tensor: torch.Tensor) -> None:
        from torch import distributed

        with _lost_peers():
            distributed.all_reduce(tensor)


ALONE = Ranks()


def shares(rows: Sequence[Sized], size: int) -> list[list[int]]:
    """The places of a step's rows, cut into `size` shares of about as many tokens; the same wherever it is asked.

    The longest row goes to whoever has least so far.

    >>> from dataclasses import make_dataclass
    >>> Row = make_dataclass("Row", ["total"])
    >>> shares([Row(5), Row(9), Row(3), Row(2)], 2)
    [[1], [0, 2, 3]]
    """
    loads = [(0, rank) for rank in range(size)]
    found: list[list[int]] = [[] for _ in range(size)]
    for place in sorted(range(len(rows)), key=lambda place: (-rows[place].total, place)):
        load, rank = heapq.heappop(loads)
        found[rank].append(place)
        heapq.heappush(loads, (load + rows[place].total, rank))
    return [sorted(share) for share in found]


def check_sharding(config: TrainConfig) -> None:
    """Raises StudioError where weights cannot be held in parts with these settings."""
    if config.plain or (config.method == "full" and config.optimizer != "adamw"):
        raise StudioError(
            "FSDP cannot be combined with {setting}.",
            "Set launch.strategy to data_parallel, or that setting to its default.",
            setting="train.plain" if config.plain else f"the optimiser {config.optimizer}",
        )


@contextmanager
def _lost_peers() -> Iterator[None]:
    """What a collective says of peers that are gone is no error of the run."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise PeerLost(str(error)) from error


def _kind(error: Exception | None) -> int:
    if error is None:
        return _FINE
    if isinstance(error, Stopped):
        return _STOPPED
    return _MEMORY if is_out_of_memory(error) else _FAILED


def _buckets(parameters: Iterable[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Of one type each, in the order in which they come."""
    by_type: dict[Any, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        by_type.setdefault(parameter.dtype, []).append(parameter)
    for members in by_type.values():
        bucket: list[torch.nn.Parameter] = []
        room = _BUCKET
        for parameter in members:
            if bucket and parameter.numel() > room:
                yield bucket
                bucket, room = [], _BUCKET
            bucket.append(parameter)
            room -= parameter.numel()
        yield bucket
