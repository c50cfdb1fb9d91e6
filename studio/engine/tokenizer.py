"""A model's tokenizer without torch: tokenizer.json through the `tokenizers` library, and the special tokens' names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import tokenizers
import tokenizers.models

from studio.domain.errors import StudioError
from studio.engine.beginnings import Beginnings
from studio.engine.controls import BLOCKS, ControlTokenizer, Span, is_free

_NAMED = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Ids and character spans as transformers' fast tokenizer gives them (proven equal by test)."""

    backend: tokenizers.Tokenizer
    named: dict[str, str]
    """`bos_token`, `eos_token` … as the model's own template sees them."""
    special: dict[str, int]
    """Text and id of every token that is never split and never a user's word."""
    adds_bos: bool
    """Whether encoding plain text, as others do it, puts a beginning-of-text token first."""
    chat_template: str | None
    path: Path

    @property
    def eos_id(self) -> int | None:
        return self.special.get(self.named.get("eos_token", ""))

    @property
    def pad_id(self) -> int:
        """What fills the gaps of padded batches; never in the loss, as labels are counted by position."""
        return self.special.get(self.named.get("pad_token", ""), self.eos_id or 0)

    @cached_property
    def sha256(self) -> str:
        """Of all that ids depend on."""
        named = json.dumps([self.named, self.special], sort_keys=True)
        return hashlib.sha256(f"{self.backend.to_str()}{named}".encode()).hexdigest()

    def encode(self, texts: list[str]) -> list[tokenizers.Encoding]:
        """Ids with character offsets; adds nothing, as the template has written the special tokens already."""
        return self.backend.encode_batch(texts, add_special_tokens=False)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """As `encode`, the ids alone: several times as quick where all texts begin with the same long instructions."""
        return self._beginnings.ids(texts)

    @cached_property
    def _beginnings(self) -> Beginnings:
        return Beginnings(self.backend, [*self.special])

    def encode_apart(
        self, text: str, controls: Sequence[Span], cuts: Sequence[int] = ()
    ) -> tuple[list[int], list[Span]]:
        """Ids and spans of `text` with special tokens at `controls` alone, and a token border at each of `cuts`."""
        block = next((block for block in BLOCKS if is_free(block, text)), None)
        if block is None:
            raise StudioError(
                "The text holds private-use characters of every block that the studio could mark it with.",
                "Remove them: they stand for nothing.",
            )
        return self._apart(block).encode(text, controls, cuts)

    @lru_cache(maxsize=4)  # noqa: B019 (a tokenizer lives as long as the process)
    def _apart(self, block: int) -> ControlTokenizer:
        return ControlTokenizer(self.backend, self.special, block)

    @cached_property
    def special_pattern(self) -> re.Pattern[str] | None:
        """Finds the text of any special token, the longest first."""
        return _any_of(self.special)

    @cached_property
    def marks(self) -> dict[str, int]:
        """Text and id of the vocabulary's further marks, such as <think> or <tool_call>: never split, yet not special.

        Every program encodes them so wherever they stand, also in a person's words.
        """
        added = self.backend.get_added_tokens_decoder().items()
        return {
            token.content: token_id
            for token_id, token in sorted(added)
            if token.content not in self.special and _MARK.fullmatch(token.content)
        }

    @cached_property
    def controls(self) -> frozenset[int]:
        """The ids of special tokens and marks: what a view tells apart from words."""
        return frozenset((*self.special.values(), *self.marks.values()))

    @cached_property
    def in_words(self) -> re.Pattern[str] | None:
        """Finds the text of any special token or mark."""
        return _any_of([*self.special, *self.marks])

    @cached_property
    def unknown_id(self) -> int | None:
        """The id of what the vocabulary cannot write, where there is such a thing."""
        model = self.backend.model
        unknown = getattr(model, "unk_token", None)
        if isinstance(model, tokenizers.models.Unigram):  # says only in its file which it is
            unknown = self.named.get("unk_token")
        return self.backend.token_to_id(unknown) if unknown else None

    def decode(self, ids: list[int], *, skip_special: bool = False) -> str:
        return self.backend.decode(ids, skip_special_tokens=skip_special)

    def token(self, token_id: int) -> str:
        """One token as text; bytes that are a part of a character only as their numbers, such as `\\xf0\\x9f`."""
        text = self.backend.decode([token_id], skip_special_tokens=False)
        return text if "\ufffd" not in text else self._bytes(token_id).decode(errors="backslashreplace")

    def _bytes(self, token_id: int) -> bytes:
        """Of a byte, as SentencePiece writes it, or of letters that stand for bytes, as GPT-2 does."""
        written = self.backend.id_to_token(token_id) or ""
        fallback = _BYTE.fullmatch(written)
        if fallback:
            return bytes.fromhex(fallback[1])
        letters = _byte_letters()
        return b"".join(
            bytes([letters[letter]]) if letter in letters else letter.encode() for letter in written
        )


_BYTE = re.compile("<0x([0-9A-F]{2})>")
_MARK = re.compile(r"<[^\s<>]+>|\[[^\s\[\]]+\]")


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted((text for text in texts if text), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


@lru_cache(maxsize=1)
def _byte_letters() -> dict[str, int]:
    """GPT-2's letter for each byte: itself where it can be printed, else one from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(0x100) if byte not in printed)
    return {chr(byte): byte for byte in printed} | {
        chr(0x100 + place): byte for place, byte in enumerate(others)
    }


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a model folder; read once for as long as its files do not change."""
    file = path / "tokenizer.json"
    if not file.is_file():
        raise StudioError(
            "The model folder {path} has no tokenizer.json.",
            "Save the model with a fast tokenizer (`AutoTokenizer.from_pretrained(...).save_pretrained(...)`).",
            path=str(path),
        )
    stamps = tuple(
        entry.stat().st_mtime_ns if entry.is_file() else 0
        for entry in (file, path / "tokenizer_config.json", path / "chat_template.jinja")
    )
    return _load(path.resolve(), stamps)


@lru_cache(maxsize=8)
def _load(path: Path, stamps: tuple[int, ...]) -> Tokenizer:
    try:
        backend = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exception for a broken file
        raise StudioError(
            "The tokenizer in {path} cannot be read: {problem}.",
            "Download the model again.",
            path=str(path),
            problem=str(error),
        ) from error
    backend.no_truncation()
    backend.no_padding()
    config = _read_json(path / "tokenizer_config.json")
    named = {name: _content(config[name]) for name in _NAMED if config.get(name)}
    special = _special(backend, named)
    first = backend.encode("", add_special_tokens=True).ids[:1]
    adds_bos = first == [special.get(named.get("bos_token", ""))]
    # All that it could still do is to take white space out of the tokens' places, as GPT-NeoX's does.
    backend.post_processor = None
    return Tokenizer(backend, named, special, adds_bos, _own_template(path, config), path)


def _special(backend: tokenizers.Tokenizer, named: dict[str, str]) -> dict[str, int]:
    """Text and id of all special tokens; a named one that is but a word of the vocabulary is made one.

    As transformers does; else it would be found in a text only where the words around it leave it whole.
    """
    added = backend.get_added_tokens_decoder()
    special = {token.content: token_id for token_id, token in sorted(added.items()) if token.special}
    known = {token.content for token in added.values()}
    for text in named.values():
        token_id = backend.token_to_id(text)
        if token_id is None:
            continue
        special.setdefault(text, token_id)
        if text not in known:
            backend.add_special_tokens([tokenizers.AddedToken(text, special=True, normalized=False)])
    return special


def _own_template(path: Path, config: dict[str, Any]) -> str | None:
    file = path / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        return named.get("default") or next(iter(named.values()), None)
    return template


def _content(token: str | dict[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudioError(
            "{file} is not valid JSON: {problem}.",
            "Download the model again.",
            file=str(file),
            problem=str(error),
        ) from None
    return data if isinstance(data, dict) else {}
