"""General instruction data that a model writes itself, so that it can rehearse what it knows without any other data.

The idea is Magpie's (Xu et al. 2024, arXiv:2406.08464): given its chat template up to where a user's words begin, a
tuned model writes an instruction, up to the token that ends the user's turn; asked that, it writes the answer. That
such rows keep a model from forgetting is shown by Huang et al. 2024 (arXiv:2403.01244). The checklist sifts them.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from studio.domain.answer import ChatSettings
from studio.domain.chat import Conversation, Message
from studio.domain.errors import StudioError
from studio.engine.checks import run_checks
from studio.engine.encode import Encoder

if TYPE_CHECKING:
    import torch

    from studio.engine.tuned import Pair

_MARK = "\ue000"
"""Stands for a user's words: a private-use character, which no template writes."""
_TAIL = 24
"""Tokens in which the text is looked for that ends a turn without a token of its own."""
TOP_K = 256
"""The likeliest tokens, of which one is drawn."""
ATTEMPTS = 4
"""Rows written for one that is wanted, at most."""
_EXPECTED = 0.4
"""Share of rows that pass, before the first were looked at: of the starter's a third does, of larger models' more."""
DUPLICATES = frozenset({"duplicate_exact", "duplicate_near"})

Progress = Callable[[float, float], None]
"""Called with the rows written so far, and how many it will take; may raise Stopped."""


@dataclass(frozen=True)
class Writing:
    """How rows are drawn: instructions freely, as they have to differ, answers closer to the likeliest."""

    rows: int
    seed: int = 0
    batch: int = 32
    instruction_tokens: int = 96
    instruction_temperature: float = 1.0
    instruction_top_p: float = 0.95
    answer_tokens: int = 256
    answer_temperature: float = 0.7
    answer_top_p: float = 0.9

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "top_k": TOP_K}


@dataclass(frozen=True)
class Opening:
    """A template up to where a user's words begin, and what ends them."""

    text: str
    stop_ids: frozenset[int]
    stop_text: str
    """What the template writes after a user's words where that is no token of its own; else empty."""


@dataclass(frozen=True)
class Written:
    """The rows that passed, and what became of the others."""

    conversations: list[Conversation]
    asked: int
    written: int
    dropped: dict[str, int]
    """Rows by why they were left out: `unfinished`, `empty`, the id of a check, or `not_needed`."""

    @property
    def passed(self) -> float:
        """Share of the rows written that passed all checks."""
        return (self.written - sum(self.dropped.values()) + self.dropped.get("not_needed", 0)) / max(
            1, self.written
        )

    def counts(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "written": self.written,
            "kept": len(self.conversations),
            "dropped": self.dropped,
            "passed": round(self.passed, 4),
        }


def opening(encoder: Encoder) -> Opening:
    """Where a user's words begin. StudioError where the template does not open or close a user's turn."""
    title = encoder.template.title
    before, mark, after = encoder.renderer.prompt([Message("user", _MARK)]).text.partition(_MARK)
    # A space before the words belongs to the first word's token.
    before = before.rstrip(" ")
    if not mark or _MARK in after or not before:
        raise StudioError(
            "With the template {title} a model cannot write instructions: nothing opens a user's turn.",
            "Choose a template that does, such as ChatML, or other general data.",
            title=title,
        )
    pattern, special = encoder.tokenizer.special_pattern, encoder.tokenizer.special
    closing = pattern.search(after) if pattern else None
    stop_text = after[: closing.start() if closing else len(after)].strip()
    if not closing and not stop_text:
        raise StudioError(
            "With the template {title} a model cannot write instructions: nothing ends a user's turn.",
            "Choose a template that does, such as ChatML, or other general data.",
            title=title,
        )
    stops = {*encoder.stop_ids, *([special[closing.group()]] if closing else [])}
    return Opening(before, frozenset(stops), stop_text)


def write(
    pair: Pair, encoder: Encoder, writing: Writing, progress: Progress = lambda done, total: None
) -> Written:
    """Rows until as many passed as are wanted, but `ATTEMPTS` times as many at most.

    The same model, template and settings give the same rows on the same machine; each row draws from a generator of
    its own. StudioError where not one row passes.
    """
    start = opening(encoder)
    most = ATTEMPTS * writing.rows
    rows: list[Conversation] = []
    failed: Counter[str] = Counter()
    kept, dropped, written = list[Conversation](), Counter[str](), 0
    while len(kept) < writing.rows and written < most:
        share = max(len(kept) / written, 1 / ATTEMPTS) if written else _EXPECTED
        target = min(most, written + math.ceil((writing.rows - len(kept)) / share))
        numbers = range(written, min(target, written + writing.batch))

        def tell(part: float, numbers: range = numbers, target: int = target) -> None:
            progress(numbers[0] + part * len(numbers), target)

        for made in _batch(pair, encoder, start, writing, numbers, tell):
            if isinstance(made, str):
                failed[made] += 1
            else:
                rows.append(made)
        written = numbers[-1] + 1
        kept, dropped = sift(rows)
    if not kept:
        raise StudioError(
            "None of the {written} rows that the model wrote passes the checklist.",
            "Choose a model that was tuned to follow instructions, or other general data.",
            written=written,
        )
    more = len(kept) - writing.rows
    reasons = {**failed, **dropped, **({"not_needed": more} if more > 0 else {})}
    numbered = [replace(row, row=place) for place, row in enumerate(kept[: writing.rows], start=1)]
    return Written(numbered, writing.rows, written, reasons)


def sift(rows: Sequence[Conversation]) -> tuple[list[Conversation], Counter[str]]:
    """The rows without errors, warnings and duplicates, and how many each check left out; the first one counts."""
    numbered = [replace(row, row=place) for place, row in enumerate(rows, start=1)]
    reason: dict[int, str] = {}
    for found in run_checks(numbered).findings:
        if found.severity != "info" or found.check in DUPLICATES:
            for row in found.rows:
                reason.setdefault(row, found.check)
    return [row for row in numbered if row.row not in reason], Counter(reason.values())


def _batch(
    pair: Pair,
    encoder: Encoder,
    start: Opening,
    writing: Writing,
    numbers: range,
    tell: Callable[[float], None],
) -> Iterator[Conversation | str]:
    """One conversation a number, or why there is none."""
    room = ChatSettings(
        0, writing.instruction_temperature, writing.instruction_top_p, writing.instruction_tokens
    )
    ids = list(encoder.tokenizer.encode([start.text])[0].ids)
    asked = _continued(
        pair, encoder, [ids] * len(numbers), room, _seeds(writing, numbers, 0), start, lambda n: tell(n / 4)
    )
    prompts: dict[int, str] = {}
    for place, words in enumerate(asked):
        if words:
            prompts[place] = words
    encoded = {place: encoder.prompt([Message("user", words)]) for place, words in prompts.items()}
    fitting = [place for place, prompt in encoded.items() if len(prompt) < pair.context]
    longest = max((len(encoded[place]) for place in fitting), default=0)
    tokens = min(writing.answer_tokens, pair.context - longest)
    settings = ChatSettings(0, writing.answer_temperature, writing.answer_top_p, tokens)
    answers = _continued(
        pair,
        encoder,
        [encoded[place] for place in fitting],
        settings,
        _seeds(writing, [numbers[place] for place in fitting], 1),
        Opening("", frozenset(encoder.stop_ids), ""),
        lambda n: tell((1 + 3 * n) / 4),
    )
    answered = dict(zip(fitting, answers, strict=True))
    for place, words in enumerate(asked):
        answer = answered.get(place)
        if words is None or (words and answer is None):
            yield "unfinished"
        elif not words or not answer:
            yield "empty"
        else:
            yield Conversation((Message("user", words), Message("assistant", answer)))


def _seeds(writing: Writing, numbers: Sequence[int], part: int) -> list[int]:
    return [random.Random(f"{writing.seed}/{number}/{part}").getrandbits(62) for number in numbers]


def _continued(
    pair: Pair,
    encoder: Encoder,
    prompts: Sequence[Sequence[int]],
    settings: ChatSettings,
    seeds: Sequence[int],
    end: Opening,
    tell: Callable[[float], None],
) -> list[str | None]:
    """What the model writes after each prompt, up to its end; None where it does not come to one.

    The prompts are filled up on the left; rows that came to their end leave the batch.
    """
    import torch

    said: list[list[int]] = [[] for _ in prompts]
    texts: list[str | None] = [None] * len(prompts)
    if not prompts:
        return texts
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    alive = list(range(len(prompts)))
    inputs, mask = _padded(prompts, encoder.tokenizer.pad_id, pair.device)
    cache: Any = None
    for step in range(settings.max_new_tokens):
        tell(step / settings.max_new_tokens)
        logits, cache = _forward(pair, inputs, mask, cache)
        likely, ids = _likely(logits, settings)
        going = []
        for place, row in enumerate(alive):
            said[row].append(_drawn(likely[place], ids[place], generators[row]))
            texts[row] = _ended(encoder, said[row], end)
            if texts[row] is None:
                going.append(place)
        if not going:
            break
        if len(going) < len(alive):
            kept = torch.tensor(going, device=pair.device)
            cache.batch_select_indices(kept)
            mask, alive = mask[kept], [alive[place] for place in going]
        inputs = torch.tensor([[said[row][-1]] for row in alive], device=pair.device)
        mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)
    return texts


def _likely(logits: torch.Tensor, settings: ChatSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and ids of the tokens that are drawn from, both of shape (rows, `TOP_K` at most).

    A nucleus (Holtzman et al. 2019, arXiv:1904.09751) within the likeliest ones: at temperature 1 it would often be
    most of the vocabulary, and sorting that for each row takes longer than the model.
    """
    import torch

    probabilities = torch.softmax(logits / settings.temperature, dim=-1)
    likely, ids = probabilities.topk(min(TOP_K, probabilities.shape[-1]))
    before = likely.cumsum(-1) - likely
    return torch.where(before < settings.top_p, likely, 0.0), ids


def _drawn(likely: torch.Tensor, ids: torch.Tensor, generator: torch.Generator) -> int:
    import torch

    return int(ids[torch.multinomial(likely, 1, generator=generator)])


def _ended(encoder: Encoder, ids: Sequence[int], end: Opening) -> str | None:
    """The words, once what ends them has been written."""
    decode = encoder.tokenizer.decode
    if ids[-1] in end.stop_ids:
        return decode(list(ids[:-1]), skip_special=True).strip()
    if end.stop_text and end.stop_text in decode(list(ids[-_TAIL:]), skip_special=True):
        return decode(list(ids), skip_special=True).partition(end.stop_text)[0].strip()
    return None


def _padded(prompts: Sequence[Sequence[int]], pad_id: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of shape (prompts, longest)."""
    import torch

    width = max(map(len, prompts))
    ids = [[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _forward(pair: Pair, inputs: torch.Tensor, mask: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
    """Logits of the next token, (rows, vocabulary) as float32 on the CPU, and the cache with the inputs in it."""
    import torch

    from studio.engine.tuned import only_last

    model = pair.model("base")
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
    with torch.inference_mode():
        output = model(
            input_ids=inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **only_last(model, 1),
        )
    return output.logits[:, -1].float().cpu(), output.past_key_values
