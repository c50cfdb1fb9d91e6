"""The loss of each trained token of a row, under the base model and under the tuned one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict

from studio.domain.answer import SIDES, Side
from studio.domain.encoded import IGNORED, Encoded
from studio.domain.errors import Stopped, StudioError

if TYPE_CHECKING:
    import torch

    from studio.engine.tuned import Pair

Losses = list[float | None]
"""One entry a token of the row: nats where it is trained, None where it is masked."""


class TokenLosses(TypedDict):
    """`tuned` is None where a base model is alone."""

    base: Losses
    tuned: Losses | None


def token_losses(
    pair: Pair,
    ids: Sequence[int],
    labels: Sequence[int],
    progress: Callable[[float], None] = lambda share: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TokenLosses:
    """Cross-entropy in nats (float32) of predicting each trained token from those before it.

    Entry i belongs to token i; the first token is predicted from nothing and has no loss. `progress` is told the share
    done, from 0 to 1. Raises StudioError where the model cannot read the row, Stopped once `should_stop()` is true.
    """
    _check(pair, ids)
    sides = [side for side in SIDES if side in pair.sides]
    found: dict[Side, Losses] = {}
    for done, side in enumerate(sides):

        def step(share: float, done: int = done) -> None:
            if should_stop():
                raise Stopped
            progress((done + share) / len(sides))

        found[side] = side_losses(pair, side, ids, labels, step)
    progress(1.0)
    return {"base": found["base"], "tuned": found.get("tuned")}


def side_losses(
    pair: Pair,
    side: Side,
    ids: Sequence[int],
    labels: Sequence[int],
    step: Callable[[float], None] = lambda share: None,
) -> Losses:
    """The same for one side; `step(share)` is called before each layer and each part of the logits."""
    import torch
    from torch.nn import functional

    from studio.engine.loss import CHUNK

    losses: Losses = [None] * len(ids)
    places = [place for place in range(1, len(ids)) if labels[place] != IGNORED]
    if not places:
        return losses
    model = pair.model(side)
    chunks = [places[start : start + CHUNK] for start in range(0, len(places), CHUNK)]
    with torch.inference_mode():
        inputs = torch.tensor([ids[: places[-1]]], device=pair.device)
        hidden = _hidden(model, inputs, lambda share: step(_BODY * share))
        for number, chunk in enumerate(chunks):
            step(_BODY + (1 - _BODY) * number / len(chunks))
            logits = head_logits(model, hidden[[place - 1 for place in chunk]]).float()
            wanted = torch.tensor([labels[place] for place in chunk], device=logits.device)
            for place, loss in zip(
                chunk, functional.cross_entropy(logits, wanted, reduction="none").tolist(), strict=True
            ):
                losses[place] = loss
    return losses


def batches(rows: Sequence[Encoded]) -> Iterator[list[int]]:
    """Places of rows of much the same length, so that little is padding."""
    batch: list[int] = []
    for place in sorted(range(len(rows)), key=lambda place: (rows[place].total, place)):
        if batch and (len(batch) + 1) * rows[place].total > _TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def summed_losses(pair: Pair, side: Side, rows: Sequence[Encoded]) -> list[float]:
    """The sum of each row's losses in nats, in one pass; every row has a trained token."""
    import torch
    from torch.nn import functional

    from studio.engine.batches import collate
    from studio.engine.loss import CHUNK

    model = pair.model(side)
    batch = collate(rows, packing=False, pad_id=0, device=pair.device)
    parts = []
    with torch.inference_mode():
        hidden = decoder_of(model)(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        ).last_hidden_state.flatten(0, 1)[batch.positions]
        for start in range(0, len(hidden), CHUNK):
            logits = head_logits(model, hidden[start : start + CHUNK]).float()
            labels = batch.labels[start : start + CHUNK].to(logits.device)
            parts.append(functional.cross_entropy(logits, labels, reduction="none").cpu())
    return [float(part.sum()) for part in torch.cat(parts).split([row.trained for row in rows])]


_TOKENS = 2048
"""Of a batch, padding counted, unless one row has more."""
_BODY = 0.9
"""Share of the work that is done before the output layer, about."""


def head_logits(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Logits (positions, vocabulary) of hidden states (positions, size), made by the model's own forward.

    Architectures scale and cap their logits, each in its own way and under its own names. So the model reads one token,
    and where its hidden states come out of the body, ours take their place.
    """
    import torch

    def put(_: Any, __: Any, output: Any) -> Any:
        output.last_hidden_state = hidden[None]
        return output

    hook = decoder_of(model).register_forward_hook(put)
    try:
        inputs = torch.zeros((1, 1), dtype=torch.long, device=hidden.device)
        logits: torch.Tensor = model(input_ids=inputs, use_cache=False).logits[0]
    finally:
        hook.remove()
    return logits


def _hidden(model: Any, inputs: torch.Tensor, step: Callable[[float], None]) -> torch.Tensor:
    """(tokens, size) that the output layer is given, for inputs of (1, tokens)."""
    body = decoder_of(model)
    with _watched(body, step):
        hidden: torch.Tensor = body(input_ids=inputs, use_cache=False).last_hidden_state[0]
    return hidden


def decoder_of(model: Any) -> Any:
    """The model without its output layer; adapters sit inside its layers."""
    body = model.get_decoder()
    return (
        model.model if body is model else body
    )  # Llama 4: transformers 5.23 looks for a module that it lacks


@contextmanager
def _watched(body: Any, step: Callable[[float], None]) -> Iterator[None]:
    """Call `step` with the share of layers that are done before each: a long row takes seconds, and may be given up."""
    import torch

    lists = (module for module in body.modules() if isinstance(module, torch.nn.ModuleList))
    layers = next(lists, torch.nn.ModuleList())
    shares = {layer: done / len(layers) for done, layer in enumerate(layers)}
    hooks = [layer.register_forward_pre_hook(lambda layer, _: step(shares[layer])) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check(pair: Pair, ids: Sequence[int]) -> None:
    if len(ids) > pair.context:
        raise StudioError(
            "The row has {tokens} tokens, and the model reads at most {context}.",
            "Cut it: set a maximum length of {context} or less.",
            tokens=len(ids),
            context=pair.context,
        )
    known = pair.model("base").get_input_embeddings().weight.shape[0]
    if max(ids, default=0) >= known:
        raise StudioError(
            "The row holds the token {token}, and the model knows only those below {known}.",
            "Encode the row with the tokenizer of this model.",
            token=max(ids),
            known=known,
        )
