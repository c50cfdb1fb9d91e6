"""Encoding against the bare tokenizer on the same texts: python -m tests.bench.encoding [FILE] [--model DIR] [--rows N]

`Encoder.encode_many` renders, tokenises, finds what is trained and what is wrong; the yardstick is `encode_batch` of
the `tokenizers` library on the texts that the rows render to, on all cores. Both in turns in one process, medians over
the rounds. The file's rows are repeated, each time a little differently, until there are N of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from studio.domain.chat import Conversation
from studio.domain.config import TemplateConfig
from studio.engine.assets import ASSETS
from studio.engine.dataset import read
from studio.engine.encode import Encoder
from studio.engine.templates import resolve
from studio.engine.tokenizer import load_tokenizer

SAMPLE = ASSETS / "samples" / "support-train.jsonl"
STARTER = Path("~/.studio/models/starter").expanduser()


def repeated(conversations: Sequence[Conversation], rows: int) -> list[Conversation]:
    """`rows` conversations, none like another: what is encoded twice could come from a cache."""
    found = []
    for number in range(rows):
        lap, place = divmod(number, len(conversations))
        messages = conversations[place].messages
        changed = tuple(replace(message, content=f"{message.content} {lap}") for message in messages)
        found.append(Conversation(changed if lap else messages, number + 1, conversations[place].tools))
    return found


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Measure in turns and print medians."""
    options = argparse.ArgumentParser()
    options.add_argument("file", nargs="?", default=str(SAMPLE))
    options.add_argument("--model", type=Path, default=STARTER)
    options.add_argument("--template", default="auto")
    options.add_argument("--rows", type=int, default=6000)
    options.add_argument("--rounds", type=int, default=7)
    given = options.parse_args()

    tokenizer = load_tokenizer(given.model)
    template = resolve(given.template, tokenizer)
    conversations = repeated(read(given.file).conversations, given.rows)
    encoder = Encoder(template, tokenizer, TemplateConfig())
    texts = [encoder.renderer.render(conversation).text for conversation in conversations]
    warm = encoder.encode_many(conversations)
    tokens = sum(row.total for row in warm)
    print(f"{len(texts)} rows, {tokens} tokens, {sum(row.trained for row in warm)} of them trained")

    bare, whole = [], []
    for _ in range(given.rounds):
        bare.append(seconds(lambda: tokenizer.backend.encode_batch(texts, add_special_tokens=False)))
        whole.append(
            seconds(lambda: Encoder(template, tokenizer, TemplateConfig()).encode_many(conversations))
        )
    for name, times in (("bare tokenizer", bare), ("encode_many", whole)):
        print(
            f"{name:14} {statistics.median(times):.3f} s, {tokens / statistics.median(times):,.0f} tokens/s"
        )
    shares = [one / other for one, other in zip(bare, whole, strict=True)]
    print(
        f"encode_many reaches {statistics.median(shares):.0%} of the bare throughput "
        f"(rounds: {', '.join(f'{share:.0%}' for share in shares)})"
    )


if __name__ == "__main__":
    main()
