"""Make a run fit into memory: the changes that cost least first, each said in a sentence with what it saves.

Fewer rows at once cost a little speed, computing activations again about a third of the time; neither changes what is
learnt. Shorter rows do, and come last. Another method trains other weights: it is offered, never done unasked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from studio.domain.config import Method, Overlong, RunConfig, TrainConfig
from studio.domain.machine import Machine
from studio.domain.text import Text
from studio.engine import memory
from studio.engine.model_facts import ModelFacts

_SHORTEST = 128
"""Tokens: rows are not cut below that, as little would be left to learn."""
_LENGTHS = 64
"""Lengths are multiples of so many tokens."""
_FULL_TO_ADAPTER = 10
"""An adapter learns at about ten times the rate of full tuning."""


@dataclass(frozen=True)
class Change:
    """One setting by its dotted key, and the sentence that says what changed and what that saves."""

    key: str
    before: Any
    after: Any
    said: Text


@dataclass(frozen=True)
class Fitted:
    """What became of a configuration. `need` is what it takes in all, in bytes; `fits` whether there is so much."""

    config: RunConfig
    changes: tuple[Change, ...]
    need: int
    fits: bool
    offer: Fitted | None = None
    """With another method: where rows would have to be cut otherwise, or nothing else makes it fit."""

    @property
    def values(self) -> dict[str, Any]:
        """The changed settings by dotted key."""
        return {change.key: change.after for change in self.changes}


def fit(config: RunConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]) -> Fitted:
    """Change a resolved configuration until it fits, or as far as that goes. The effective batch stays as it is.

    `lengths` are tokens a training row, uncut, in the order of the data.
    """
    found = _Search(config, machine, model, lengths).best()
    if found.fits and found.config.train.max_length == config.train.max_length:
        return found
    others = [_with_method(config, machine, model, lengths, method) for method in _lighter(config, machine)]
    uncut = [other for other in others if other.config.train.max_length == config.train.max_length]
    offer = next((other for other in [*uncut, *others] if other.fits), None)
    return Fitted(found.config, found.changes, found.need, found.fits, offer)


def _lighter(config: RunConfig, machine: Machine) -> list[Method]:
    """The methods that need less, the one that is nearest first."""
    methods: list[Method] = ["full", "lora", "qlora"] if machine.can_qlora else ["full", "lora"]
    method = config.train.method
    return methods[methods.index(method) + 1 :] if method in methods else []


def _with_method(
    config: RunConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int], method: Method
) -> Fitted:
    train = config.train
    values: dict[str, Any] = {"method": method}
    if train.method == "full" and train.learning_rate is not None:
        values["learning_rate"] = min(1.0, train.learning_rate * _FULL_TO_ADAPTER)
    search = _Search(_changed(config, values), machine, model, lengths)
    changes = _Search(config, machine, model, lengths).said(values)
    found = search.best()
    return Fitted(found.config, (*changes, *found.changes), found.need, found.fits)


class _Search:
    """One configuration on one machine."""

    def __init__(
        self, config: RunConfig, machine: Machine, model: ModelFacts, lengths: Sequence[int]
    ) -> None:
        self.config, self.machine, self.model, self.lengths = config, machine, model, lengths

    def best(self) -> Fitted:
        """The first that fits, or what needs least."""
        values: dict[str, Any] = {}
        for values in self._trials():
            if self._need(values) <= memory.usable(self.machine):
                break
        need = self._need(values)
        changed = _changed(self.config, values)
        return Fitted(changed, self.said(values), need, need <= memory.usable(self.machine))

    def said(self, values: dict[str, Any]) -> tuple[Change, ...]:
        """Each change by itself, in the order of what it costs; what it saves is counted after those before it."""
        changes, done = [], dict[str, Any]()
        for name, after in values.items():
            before = getattr(self.config.train, name)
            if after == before:
                continue
            saved = self._need(done) - self._need({**done, name: after})
            done[name] = after
            changes.append(Change(f"train.{name}", before, after, self._sentence(name, before, after, saved)))
        return tuple(changes)

    def _trials(self) -> Iterator[dict[str, Any]]:
        """What to change, the least first."""
        train = self.config.train
        sizes = memory.halvings(train.micro_batch_size or train.batch_size)
        kept = [False, True] if not train.gradient_checkpointing else [True]
        for recompute in kept:
            for size in sizes:
                yield {"micro_batch_size": size, "gradient_checkpointing": recompute}
        if self.config.data.overlong == "keep" or not self.lengths:
            return
        longest = min(train.max_length or self.model.context, max(self.lengths))
        for length in range((longest - 1) // _LENGTHS * _LENGTHS, _SHORTEST - 1, -_LENGTHS):
            if 2 * len(_fed(self.lengths, length, self.config.data.overlong)) < len(self.lengths):
                return  # more than half of the rows would be left out
            yield {"micro_batch_size": 1, "gradient_checkpointing": True, "max_length": length}

    def _need(self, values: dict[str, Any]) -> int:
        changed = _changed(self.config, values)
        limit = changed.train.max_length or self.model.context
        lengths = _fed(self.lengths, limit, self.config.data.overlong)
        return sum(memory.needs(changed, self.machine, self.model, lengths).values())

    def _sentence(self, name: str, before: Any, after: Any, saved: int) -> Text:
        train: TrainConfig = self.config.train
        values = {"before": before, "after": after, "saved": _size(max(0, saved))}
        if name == "micro_batch_size":
            portions = -(-train.batch_size // after)
            return Text(
                "Micro-batch {after} instead of {before}: {saved} less. A step takes its {batch} rows in {portions} "
                "portions, so that the effective batch, and what is learnt, stay the same.",
                {**values, "batch": train.batch_size, "portions": portions},
            )
        if name == "max_length":
            over = sum(length > after for length in self.lengths)
            return Text(
                _SHORTENED[self.config.data.overlong],
                {**values, "before": before or self.model.context, "over": over, "rows": len(self.lengths)},
            )
        return Text(_SENTENCES[name if name != "method" else f"{before} to {after}"], values)


_SENTENCES = {
    "gradient_checkpointing": "Gradient checkpointing is on: {saved} less. Activations are computed again instead of "
    "being kept, which takes about a third more time and changes nothing in the result.",
    "learning_rate": "Learning rate {after:g} instead of {before:g}: an adapter learns at about ten times the rate of "
    "full tuning.",
    "full to lora": "LoRA instead of full tuning: {saved} less. A small adapter is trained and the model's own weights "
    "stay as they are, which suits most tasks.",
    "full to qlora": "QLoRA instead of full tuning: {saved} less. A small adapter is trained and the model's own "
    "weights are held in 4 bits, which costs a little quality, and without a GPU much time.",
    "lora to qlora": "QLoRA instead of LoRA: {saved} less. The model's own weights are held in 4 bits, which costs a "
    "little quality, and without a GPU much time.",
}
_SHORTENED: dict[Overlong, str] = {
    "cut": "Maximum length {after} instead of {before}: {saved} less. {over} of {rows} rows are longer and are cut.",
    "drop": "Maximum length {after} instead of {before}: {saved} less. {over} of {rows} rows are longer and are left "
    "out.",
    "split": "Maximum length {after} instead of {before}: {saved} less. {over} of {rows} rows are longer and are "
    "split.",
}


def _size(number: int) -> str:
    """
    >>> _size(3_400_000), _size(25_769_803_776)
    ('3 MiB', '24.0 GiB')
    """
    return f"{number / 2**20:.0f} MiB" if number < 2**30 else f"{number / 2**30:.1f} GiB"


def _changed(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update=values)})


def _fed(lengths: Sequence[int], limit: int, overlong: Overlong) -> list[int]:
    """Tokens of the rows that a run would be fed; a part of one that is split is taken as long as may be."""
    if overlong == "keep":
        return list(lengths)
    if overlong == "drop":
        return [length for length in lengths if length <= limit]
    return [min(length, limit) for length in lengths]
