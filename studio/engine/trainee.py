"""The model under training: base weights, what of them is trained, and its loss on a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from studio.domain.config import TrainConfig
from studio.domain.encoded import IGNORED, Encoded
from studio.engine import adapters, attention, fused_layers, sharding
from studio.engine.batches import Batch, collate
from studio.engine.loss import CHUNK, head_loss
from studio.engine.models import load_base
from studio.engine.neftune import Noise
from studio.engine.token_losses import decoder_of, head_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PACKED_TOLERANCE = 0.05
"""Largest difference of a mean loss, in nats, between packed and single rows that rounding can explain in bfloat16."""


@dataclass
class Trainee:
    """A loaded model with its trained parameters, ready for `loss`."""

    model: torch.nn.Module
    """What is called: a PeftModel, or the model itself in full tuning."""
    base: PreTrainedModel
    device: str
    autocast: torch.dtype | None
    """Products are made in this type where it differs from the weights'."""
    packing: bool
    pad_id: int
    own_attention: str
    """What transformers computes this architecture's attention with."""
    plain_head: bool
    """Whether logits are hidden states times one matrix and nothing else."""
    noise: Noise | None
    plain: bool = False
    """Whether the model is called as anyone would, its loss over all logits at once."""
    sharded: Any = None
    """What is called for the loss where weights are held in parts: `sharding.Whole`."""

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The trained parameters by name, in the model's order; tied ones once."""
        return {
            name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad
        }

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """All that the base does not have, by name: the trained parameters and what PiSSA holds beside them."""
        return {**self.parameters, **adapters.fixed(self.model)}

    @property
    def trainable(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    def collate(self, rows: Sequence[Encoded], *, fills: bool = False) -> Batch:
        """`fills`: on a CPU, up to one of few lengths (`batches.collate`)."""
        fills = fills and self.device == "cpu"
        return collate(rows, packing=self.packing, pad_id=self.pad_id, device=self.device, fills=fills)

    def loss(self, batch: Batch, noise_seeds: Sequence[int] = ()) -> torch.Tensor:
        """Summed cross-entropy of the trained tokens in nats: divide by the trained tokens of the effective batch.

        `noise_seeds`, one a row, are those of NEFTune's noise; without them there is none.
        """
        if self.sharded is not None:
            summed: torch.Tensor = self.sharded(batch, noise_seeds)
            if not torch.is_grad_enabled():
                self.sharded.reshard()  # a backward pass would have done it: else the next pass sees these weights
            return summed
        return self.own_loss(batch, noise_seeds)

    def own_loss(self, batch: Batch, noise_seeds: Sequence[int]) -> torch.Tensor:
        """The loss with all weights in place."""
        with self.precision():
            if self.plain:
                return self._models_loss(batch, noise_seeds)
            hidden = self._hidden(batch, noise_seeds)
            if self.plain_head:
                weight: torch.Tensor = self.base.get_output_embeddings().weight
                if self.autocast and weight.dtype != self.autocast:
                    hidden, weight = hidden.to(self.autocast), weight.to(self.autocast)
                return head_loss(hidden.to(weight.dtype), weight, batch.labels)
            parts = zip(hidden.split(CHUNK), batch.labels.split(CHUNK), strict=True)
            sums = [checkpoint(self._part_loss, part, wanted, use_reentrant=False) for part, wanted in parts]
        return torch.stack(sums).sum()

    @torch.no_grad()
    def log_probabilities(self, batch: Batch) -> Iterator[torch.Tensor]:
        """Of every token of the vocabulary at the positions that predict a trained token, some positions at a time.

        Each is (positions, vocabulary), float32.
        """
        with self.whole(), self.precision():
            hidden = self._hidden(batch)
            for part in hidden.split(CHUNK):
                yield torch.log_softmax(head_logits(self.base, part).float(), -1)

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """What the model is to be called in."""
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=self.autocast)

    def whole(self) -> contextlib.AbstractContextManager[None]:
        """For calls of the model other than for its loss, where its weights are held in parts."""
        return contextlib.nullcontext() if self.sharded is None else sharding.gathered(self.sharded)

    @contextlib.contextmanager
    def unpacked(self) -> Iterator[None]:
        """With transformers' own attention and without noise, as it is needed to generate."""
        if self.noise:
            self.noise.of((), ())
        self.base.set_attn_implementation(self.own_attention)
        try:
            yield
        finally:
            if self.packing:
                self.base.set_attn_implementation(attention.NAME)

    def _hidden(self, batch: Batch, noise_seeds: Sequence[int] = ()) -> torch.Tensor:
        """(trained tokens, size): what the output layer is given where a trained token is predicted."""
        if self.noise:
            self.noise.of(batch.row_lengths, noise_seeds)
        inputs: dict[str, Any] = {
            "input_ids": batch.input_ids,
            "position_ids": batch.position_ids,
            "use_cache": False,
        }
        if batch.attention_mask is not None:
            inputs["attention_mask"] = batch.attention_mask
        else:
            inputs["row_lengths"] = batch.row_lengths
        hidden: torch.Tensor = decoder_of(self.base)(**inputs).last_hidden_state.flatten(0, 1)
        return hidden[batch.positions]

    def _models_loss(self, batch: Batch, noise_seeds: Sequence[int]) -> torch.Tensor:
        """As transformers' Trainer asks a model for it: what the script of a plain run repeats."""
        if self.noise:
            self.noise.of(batch.row_lengths, noise_seeds)
        labels = torch.full_like(batch.input_ids, IGNORED)
        labels.view(-1)[batch.positions + 1] = batch.labels  # a position predicts the token after it
        output = self.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            labels=labels,
            num_items_in_batch=torch.ones((), dtype=torch.long, device=labels.device),
        )
        loss: torch.Tensor = output.loss
        return loss

    def _part_loss(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """For heads that do more than one product; their logits are made again in the backward pass, not kept."""
        logits = head_logits(self.base, hidden).float()
        return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

    def whole_weights(self) -> dict[str, torch.Tensor] | None:
        """Of a model that is held in parts, for `save`; all processes ask alike. None where it is whole."""
        if self.sharded is None:
            return None
        held = self.base.state_dict(keep_vars=True)
        # Tied ones once, by their first name.
        once = {id(tensor): (name, tensor) for name, tensor in reversed(held.items())}
        return {name: sharding.whole(tensor.detach()).cpu() for name, tensor in reversed(once.values())}

    def save(self, folder: Path, weights: dict[str, torch.Tensor] | None = None) -> None:
        """The adapter in PEFT's format, or the whole model after full tuning: `weights`, or those in place."""
        described: Any = self.model
        if self.model is self.base:
            described.save_pretrained(folder, state_dict=weights, safe_serialization=True)
        else:
            adapters.write(self.state, described.peft_config["default"], folder)


def build(
    model_path: Path,
    config: TrainConfig,
    device: str,
    *,
    pad_id: int,
    adapter: Path | None = None,
    in_parts: bool = False,
) -> Trainee:
    """Load the base and put on it what is to be trained. `config` is resolved: nothing in it is `auto` or None.

    `adapter` is a folder in PEFT's format whose weights the new adapter begins with. With `in_parts`, what is loaded is
    to be held in parts (`studio.engine.sharding`): a base that is not quantised is left in the machine's memory, mapped
    from its file as far as it can be, so that no device has to hold all of it.
    """
    attention.register()
    torch.manual_seed(config.seed)
    full = config.method == "full"
    working = getattr(torch, config.dtype)
    # Full tuning keeps its weights in float32: a bfloat16 weight is too coarse to add a small step to.
    weights = "auto" if in_parts else "float32"
    base = load_base(
        model_path,
        dtype=_literal(weights if full else config.dtype),
        device="cpu" if in_parts and config.method != "qlora" else device,
        quantize=config.method == "qlora",
    )
    if full:
        for parameter in base.parameters():
            parameter.requires_grad_(True)
        model: torch.nn.Module = base
    else:
        model = adapters.add(base, config, adapter)
    if not (config.plain or in_parts):
        fused_layers.fuse(model)
    if config.gradient_checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
        base.enable_input_require_grads()
    own_attention = str(base.config._attn_implementation)
    if config.packs:
        base.set_attn_implementation(attention.NAME)
    return Trainee(
        model=model,
        base=base,
        device=device,
        autocast=None if working == torch.float32 else working,
        packing=config.packs,
        pad_id=pad_id,
        own_attention=own_attention,
        plain_head=_has_plain_head(base),
        noise=Noise(base.get_input_embeddings(), config.neftune_alpha) if config.neftune_alpha else None,
        plain=config.plain,
    )


def packing_is_exact(trainee: Trainee, rows: Sequence[Encoded]) -> bool:
    """Whether this architecture keeps packed rows apart, tried on some short ones.

    A model whose attention does not go through transformers' interface would let a row see the one before it; one
    that transformers has no `sdpa` for caps its scores (Gemma 2) or has sinks (gpt-oss), which ours does not.
    """
    if trainee.own_attention != "sdpa":
        return False
    shortest = sorted(rows, key=lambda row: row.total)[:3]
    if len(shortest) < 2:
        return True
    trainee.model.eval()
    with torch.no_grad():
        together = float(trainee.loss(trainee.collate(shortest)))
        alone = sum(float(trainee.loss(trainee.collate([row]))) for row in shortest)
    trainee.model.train()
    count = sum(row.trained for row in shortest)
    return abs(together - alone) / count < _PACKED_TOLERANCE


def unpack(trainee: Trainee) -> None:
    """Go over to padded batches and transformers' own attention."""
    trainee.base.set_attn_implementation(trainee.own_attention)
    trainee.packing = False


def _has_plain_head(base: PreTrainedModel) -> bool:
    """Whether logits are hidden states times one matrix and nothing else: tried, on numbers that show a cap."""
    head: Any = base.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or getattr(head, "bias", None) is not None:
        return False
    hidden = 1000 * torch.ones(1, head.in_features, dtype=head.weight.dtype, device=head.weight.device)
    with torch.no_grad():
        return torch.equal(head_logits(base, hidden).float(), head(hidden[None])[0].float())


def _literal(dtype: str) -> Any:
    return dtype
