"""Ids and masks of a conversation, by transformers with a template's generation markers and by the studio."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerFast

from studio.domain.chat import Conversation
from studio.domain.encoded import IGNORED, Encoded
from studio.engine.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Masked:
    """Ids, and whether each is trained; the first never is, as nothing predicts it."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]

    def head(self, length: int) -> Masked:
        return Masked(self.ids[:length], self.trained[:length])

    def runs(self) -> Iterator[slice]:
        """Where the trained stretches stand."""
        start = None
        for place, trained in enumerate((*self.trained, False)):
            if trained and start is None:
                start = place
            elif not trained and start is not None:
                yield slice(start, place)
                start = None


@dataclass(frozen=True)
class Refused:
    """The template would not render the conversation."""

    reason: str


@dataclass(frozen=True)
class Both:
    """One tokenizer in a folder, as the studio and as transformers have it."""

    folder: Path

    @cached_property
    def ours(self) -> Tokenizer:
        return load_tokenizer(self.folder)

    @cached_property
    def theirs(self) -> PreTrainedTokenizerFast:
        config = json.loads((self.folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        named = {key: config.get(key) for key in ("bos_token", "eos_token", "pad_token", "unk_token")}
        given = {key: value for key, value in named.items() if value}
        return PreTrainedTokenizerFast(tokenizer_file=str(self.folder / "tokenizer.json"), **given)

    def text(self, ids: tuple[int, ...]) -> str:
        return str(self.theirs.decode(ids, skip_special_tokens=False))


def theirs(
    conversation: Conversation, source: str, tokenizer: PreTrainedTokenizerFast, *, parts: bool = False
) -> Masked | Refused:
    """By transformers' `return_assistant_tokens_mask`, which reads the template's generation markers.

    Of a character of several tokens at a block's end transformers marks the first token only; the others are added.
    """
    messages = [_message(message.to_json(), parts) for message in conversation.messages]
    try:
        out = tokenizer.apply_chat_template(
            messages,
            tools=[json.loads(tool) for tool in conversation.tools] or None,
            chat_template=source,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
            tokenizer_kwargs={"return_offsets_mapping": True},
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
        return Refused(str(error))
    trained = [bool(one) for one in out["assistant_masks"]]
    offsets = out["offset_mapping"]
    for place in range(1, len(trained)):
        trained[place] |= trained[place - 1] and offsets[place][0] < offsets[place - 1][1]
    return _masked(out["input_ids"], trained)


def ours(row: Encoded) -> Masked | Refused:
    """By the labels that a run is fed."""
    if row.problem is not None:
        return Refused(row.problem.template.format(**row.problem.values))
    return _masked(row.input_ids, [label != IGNORED for label in row.labels])


def _masked(ids: Any, trained: list[bool]) -> Masked:
    return Masked(tuple(ids), (False, *trained[1:]))


def _message(said: dict[str, Any], parts: bool) -> dict[str, Any]:
    """As templates document it: a call's arguments are an object, and where it sees images a content is parts."""
    if parts:
        said["content"] = [{"type": "text", "text": said["content"]}]
    for made in said.get("tool_calls", ()):
        made["function"]["arguments"] = json.loads(made["function"]["arguments"])
    return said
