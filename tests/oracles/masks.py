"""Ids and masks of a conversation, by transformers with a template's generation markers and by the studio."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from studio.domain.chat import Conversation
from studio.domain.encoded import IGNORED, Encoded
from studio.engine.tokenizer import Tokenizer, load_tokenizer

_FAILURES = (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError)


@dataclass(frozen=True)
class Masked:
    """Ids, and whether each is trained; the first never is, as nothing predicts it."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


@dataclass(frozen=True)
class Marked:
    """A text, and whether each of its characters is trained."""

    text: str
    trained: tuple[bool, ...]

    def __str__(self) -> str:
        parts, end = [], 0
        for run in runs(self.trained):
            parts += [self.text[end : run.start], "⟦", self.text[run], "⟧"]
            end = run.stop
        return "".join((*parts, self.text[end:]))


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


def runs(flags: Sequence[bool]) -> Iterator[slice]:
    """The stretches that are true."""
    start = None
    for place, flag in enumerate((*flags, False)):
        if flag and start is None:
            start = place
        elif not flag and start is not None:
            yield slice(start, place)
            start = None


def theirs(
    conversation: Conversation, source: str, tokenizer: PreTrainedTokenizerFast, shown: Shown
) -> Masked | Refused:
    """By transformers' `return_assistant_tokens_mask`, which reads the template's generation markers.

    Of a character of several tokens at a block's end transformers marks the first token only; the others are added.
    """
    try:
        out = tokenizer.apply_chat_template(
            shown.messages(conversation),
            tools=shown.tools(conversation),
            chat_template=source,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
            tokenizer_kwargs={"return_offsets_mapping": True},
        )
    except _FAILURES as error:
        return Refused(str(error))
    trained = [bool(one) for one in out["assistant_masks"]]
    offsets = out["offset_mapping"]
    for place in range(1, len(trained)):
        trained[place] |= trained[place - 1] and offsets[place][0] < offsets[place - 1][1]
    return _masked(out["input_ids"], trained)


def ours(row: Encoded) -> Masked | Refused:
    """By the labels that a run is fed."""
    if row.problem is not None:
        return Refused(str(row.problem))
    return _masked(row.input_ids, [label != IGNORED for label in row.labels])


def their_text(
    conversation: Conversation, source: str, tokenizer: PreTrainedTokenizerFast, shown: Shown
) -> Marked | Refused:
    """The text of a template, and what its generation markers say of it; without tokens between."""
    try:
        (text,), (blocks,) = render_jinja_template(
            conversations=[shown.messages(conversation)],
            tools=shown.tools(conversation),
            chat_template=source,
            return_assistant_tokens_mask=True,
            **tokenizer.special_tokens_map,
        )
    except _FAILURES as error:
        return Refused(str(error))
    trained = [False] * len(text)
    for start, end in blocks:
        trained[start:end] = [True] * (end - start)
    return Marked(text, tuple(trained))


def our_text(row: Encoded) -> Marked | Refused:
    """The text of a row and the characters of its trained tokens.

    A character for which there is no token, as a normalizer drew it into the one before, counts as that one.
    """
    if row.problem is not None:
        return Refused(str(row.problem))
    known: list[bool | None] = [None] * len(row.text)
    for (start, end), label in zip(row.spans, row.labels, strict=True):
        known[start:end] = [label != IGNORED] * (end - start)
    trained: list[bool] = []
    for flag in known:
        trained.append(flag if flag is not None else bool(trained) and trained[-1])
    return Marked(row.text, tuple(trained))


def _masked(ids: Any, trained: list[bool]) -> Masked:
    return Masked(tuple(ids), (False, *trained[1:]))


@dataclass(frozen=True)
class Shown:
    """How a family's templates want a conversation: as templates document it, or as only they do."""

    parts: bool = False
    """Contents as lists of parts."""
    text_arguments: bool = False
    """Arguments of calls as JSON text."""

    def messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        return [self._message(message.to_json()) for message in conversation.messages]

    def tools(self, conversation: Conversation) -> list[Any] | None:
        return [json.loads(tool) for tool in conversation.tools] or None

    def _message(self, said: dict[str, Any]) -> dict[str, Any]:
        if self.parts:
            said["content"] = [{"type": "text", "text": said["content"]}]
        for made in () if self.text_arguments else said.get("tool_calls", ()):
            made["function"]["arguments"] = json.loads(made["function"]["arguments"])
        return said
