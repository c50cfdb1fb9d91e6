"""What a model under training writes, many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from studio.domain.errors import Stopped
from studio.engine.trainee import Trainee


@torch.no_grad()
def written(
    model: Trainee,
    prompts: Sequence[Sequence[int]],
    tokens: int,
    stop_ids: Sequence[int],
    should_stop: Callable[[], bool],
    seed: int | None = None,
) -> list[list[int]]:
    """Up to `tokens` after each prompt, with the token that ends an answer and none after that.

    Drawn at temperature 1 from all tokens, or without a seed the likeliest ones. The model is in evaluation mode; its
    random state is left as it was. Raises Stopped once `should_stop()` is true.
    """
    from transformers import GenerationConfig

    def go_on(so_far: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        if should_stop():
            raise Stopped
        return torch.zeros(len(so_far), dtype=torch.bool, device=so_far.device)

    width = max(map(len, prompts))
    ids = torch.tensor([[model.pad_id] * (width - len(prompt)) + [*prompt] for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    drawn = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} if seed is not None else {}
    settings = GenerationConfig(
        do_sample=seed is not None,
        repetition_penalty=1.0,
        max_new_tokens=tokens,
        eos_token_id=[*stop_ids],
        pad_token_id=model.pad_id,
        **drawn,
    )
    cuda = [torch.cuda.current_device()] if model.device == "cuda" else []
    with torch.random.fork_rng(devices=cuda), model.whole(), model.precision(), model.unpacked():
        torch.manual_seed(seed or 0)
        said = model.base.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=settings,
            stopping_criteria=[go_on],
        )
    return [_ended(answer, set(stop_ids)) for answer in said[:, width:].tolist()]


def _ended(answer: list[int], stops: set[int]) -> list[int]:
    end = next((place for place, token in enumerate(answer, start=1) if token in stops), len(answer))
    return answer[:end]
