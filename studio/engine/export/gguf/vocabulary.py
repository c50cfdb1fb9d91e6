"""A tokenizer in GGUF, and back: the vocabulary is written, how text is cut before it is looked up is only named.

llama.cpp knows each way of cutting by a name (`tokenizer.ggml.pre`) and has its expressions built in, so that the right
name is found by trying: it is the one whose ids are those of the model's own tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gguf
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import generate_merges

from studio.domain.errors import StudioError
from studio.engine.tokenizer import Tokenizer

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_LINES = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CUTS: dict[str, tuple[str, ...]] = {
    "smollm": (r"\p{N}", _WORDS),
    "gpt-2": (_WORDS,),
    "tekken": (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    "qwen2": (rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{_LINES}",),
    "llama-bpe": (rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{_LINES}",),
}
"""By llama.cpp's name, what it cuts text with, one expression after the other (src/llama-vocab.cpp).

The finer before the coarser: words that were learnt from fine pieces are the same under coarse cuts, not the reverse.
"""
_WHOLE_WORDS = frozenset({"llama-bpe", "tekken"})
"""Where a word of the vocabulary is taken as it is before any merge is tried."""
PROBES = (
    "It's 12345 items, don't WE'LL say  so?\n\n  Indented\tand\n\n\n3.14159 of 2024-06-30.",
    "café 北京 你好，世界。 こんにちは Привет مرحبا 🙂👩‍👩‍👧 x² ½ naïve CamelCase HTTPServer",
    "def f(x):\n    return x['a'] != 1_000  # ok!!\r\n",
    "document.getElementById('x').toString(); JavaScript, iPhone, YouTube, addEventListener, https://a.b/c\n\n",
)


@dataclass(frozen=True)
class Vocabulary:
    """What is written of a tokenizer, in llama.cpp's terms."""

    model: str
    """`gpt2`: bytes written as letters, merged in an order. `llama`: SentencePiece's pieces, merged by their scores."""
    cut: str
    tokens: Sequence[str]
    kinds: Sequence[int]
    """gguf.TokenType, one a token."""
    merges: Sequence[str]
    scores: Sequence[float]
    space_first: bool
    """Whether a space is put before text, as SentencePiece does."""

    def describe(
        self, writer: gguf.GGUFWriter, tokenizer: Tokenizer, stop_ids: Sequence[int], template: str
    ) -> None:
        """Write the vocabulary, which of its tokens begin and end, and the chat template."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.cut)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.kinds)
        if self.model == "gpt2":
            writer.add_token_merges(self.merges)
        else:
            writer.add_token_scores(self.scores)
        writer.add_add_space_prefix(self.space_first)
        writer.add_add_bos_token(tokenizer.adds_bos)
        ids = {name: tokenizer.backend.token_to_id(text) for name, text in tokenizer.named.items()}
        for name, write in (
            ("bos_token", writer.add_bos_token_id),
            ("unk_token", writer.add_unk_token_id),
            ("pad_token", writer.add_pad_token_id),
        ):
            token_id = ids.get(name)
            if token_id is not None:
                write(token_id)
        ends = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
        for write, stop_id in zip(ends, _own_first(stop_ids, ids.get("eos_token")), strict=False):
            write(stop_id)
        writer.add_chat_template(template)


def _own_first(stop_ids: Sequence[int], own: int | None) -> list[int]:
    return sorted(stop_ids, key=lambda stop_id: stop_id != own)


def vocabulary_of(tokenizer: Tokenizer, size: int) -> Vocabulary:
    """The model's tokenizer with `size` tokens, as many as its embedding has rows.

    Raises StudioError where llama.cpp has no tokenizer of this kind, or none of the known cuts gives its ids.
    """
    written: dict[str, Any] = json.loads(tokenizer.backend.to_str())
    model = written["model"]
    if model["type"] != "BPE":
        raise _unknown()
    tokens = {
        token_id: text for text, token_id in tokenizer.backend.get_vocab(with_added_tokens=True).items()
    }
    texts = [tokens.get(place, f"[PAD{place}]") for place in range(size)]
    kinds = _kinds(tokenizer, texts, tokens)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    if not model.get("byte_fallback"):
        found = Vocabulary("gpt2", "", texts, kinds, merges, (), False)
        return _with_cut(found, tokenizer)
    scores = _scores(texts, merges)
    texts = [
        text.replace("▁", " ") if kind == gguf.TokenType.USER_DEFINED else text
        for text, kind in zip(texts, kinds, strict=True)
    ]
    return Vocabulary("llama", "default", texts, kinds, (), scores, _puts_space_first(written))


def _kinds(tokenizer: Tokenizer, texts: Sequence[str], tokens: dict[int, str]) -> list[int]:
    added = tokenizer.backend.get_added_tokens_decoder()
    special = {*tokenizer.special.values()}
    unknown = tokenizer.unknown_id

    def kind(place: int, text: str) -> gguf.TokenType:
        if place not in tokens:
            return gguf.TokenType.UNUSED
        if place == unknown:
            return gguf.TokenType.UNKNOWN
        if place in special:
            return gguf.TokenType.CONTROL
        if place in added:
            return gguf.TokenType.USER_DEFINED
        if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return gguf.TokenType.BYTE
        return gguf.TokenType.NORMAL

    return [int(kind(place, text)) for place, text in enumerate(texts)]


def _scores(texts: Sequence[str], merges: Sequence[str]) -> list[float]:
    """Pieces that are merged sooner score higher; what no merge makes is never asked for its score."""
    first: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        first.setdefault(merge.replace(" ", "", 1), rank)
    return [-float(first.get(text, len(merges))) for text in texts]


def _puts_space_first(written: dict[str, Any]) -> bool:
    """Whether each stretch of text between control tokens is given a space in front.

    Metaspace's `first` means the whole text's beginning alone, where a chat has a control token.
    """
    parts = [written["normalizer"], written["pre_tokenizer"]]
    for part in list(parts):
        parts += (part or {}).get("normalizers", []) + (part or {}).get("pretokenizers", [])
    return any(
        part and (part["type"] == "Prepend" or part.get("prepend_scheme") == "always") for part in parts
    )


def _with_cut(vocabulary: Vocabulary, tokenizer: Tokenizer) -> Vocabulary:
    wanted = [tokenizer.backend.encode(probe, add_special_tokens=False).ids for probe in PROBES]
    for cut in CUTS:
        found = replace(vocabulary, cut=cut)
        backend = as_read(found)
        if [backend.encode(probe, add_special_tokens=False).ids for probe in PROBES] == wanted:
            return found
    raise _unknown()


def _unknown() -> StudioError:
    return StudioError(
        "The way in which this model's tokenizer cuts text has no name in GGUF that the studio knows.",
        "Export it as `merged`: llama.cpp's own convert_hf_to_gguf.py knows more.",
    )


def read_vocabulary(reader: gguf.GGUFReader) -> Vocabulary:
    """The vocabulary that is written in a file."""

    def value(key: str) -> Any:
        field = reader.get_field(key)
        return [] if field is None else field.contents()

    return Vocabulary(
        value(gguf.Keys.Tokenizer.MODEL),
        value(gguf.Keys.Tokenizer.PRE),
        value(gguf.Keys.Tokenizer.LIST),
        value(gguf.Keys.Tokenizer.TOKEN_TYPE),
        value(gguf.Keys.Tokenizer.MERGES),
        value(gguf.Keys.Tokenizer.SCORES),
        value(gguf.Keys.Tokenizer.ADD_PREFIX),
    )


def as_read(vocabulary: Vocabulary) -> Backend:
    """The tokenizer that llama.cpp makes of a written vocabulary."""
    backend = _bytes_merged(vocabulary) if vocabulary.model == "gpt2" else _pieces_merged(vocabulary)
    for kind in (gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN, gguf.TokenType.USER_DEFINED):
        special = kind != gguf.TokenType.USER_DEFINED
        tokens = [AddedToken(text, special=special, normalized=False) for text in _of_kind(vocabulary, kind)]
        (backend.add_special_tokens if special else backend.add_tokens)(tokens)
    return backend


def _of_kind(vocabulary: Vocabulary, kind: gguf.TokenType) -> list[str]:
    return [text for text, found in zip(vocabulary.tokens, vocabulary.kinds, strict=True) if found == kind]


def _bytes_merged(vocabulary: Vocabulary) -> Backend:
    ids = {text: place for place, text in enumerate(vocabulary.tokens)}
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in vocabulary.merges)]
    backend = Backend(BPE(ids, pairs, ignore_merges=vocabulary.cut in _WHOLE_WORDS))
    cuts = [pre_tokenizers.Split(Regex(cut), behavior="isolated") for cut in CUTS[vocabulary.cut]]
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def _pieces_merged(vocabulary: Vocabulary) -> Backend:
    ids = {text: place for place, text in enumerate(vocabulary.tokens)}
    merges = generate_merges(ids, dict(zip(vocabulary.tokens, vocabulary.scores, strict=True)))
    unknown = next(iter(_of_kind(vocabulary, gguf.TokenType.UNKNOWN)), None)
    backend = Backend(BPE(ids, merges, byte_fallback=True, fuse_unk=True, unk_token=unknown))
    space = normalizers.Replace(" ", "▁")
    backend.normalizer = (
        normalizers.Sequence([normalizers.Prepend("▁"), space]) if vocabulary.space_first else space
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return backend


def read_tokenizer(reader: gguf.GGUFReader) -> PreTrainedTokenizerFast:
    """What is in a file as a tokenizer of transformers, with the file's chat template."""
    vocabulary = read_vocabulary(reader)

    def text(key: str) -> str | None:
        field = reader.get_field(key)
        return None if field is None else vocabulary.tokens[field.contents()]

    template = reader.get_field(gguf.Keys.Tokenizer.CHAT_TEMPLATE)
    return PreTrainedTokenizerFast(
        tokenizer_object=as_read(vocabulary),
        chat_template=template.contents() if template else None,
        bos_token=text(gguf.Keys.Tokenizer.BOS_ID),
        eos_token=text(gguf.Keys.Tokenizer.EOS_ID),
        unk_token=text(gguf.Keys.Tokenizer.UNK_ID),
        pad_token=text(gguf.Keys.Tokenizer.PAD_ID),
        clean_up_tokenization_spaces=False,
    )


def read_end_ids(reader: gguf.GGUFReader) -> list[int]:
    """At which tokens llama.cpp ends an answer by what the file says."""
    keys = (gguf.Keys.Tokenizer.EOS_ID, gguf.Keys.Tokenizer.EOT_ID, gguf.Keys.Tokenizer.EOM_ID)
    return [field.contents() for field in map(reader.get_field, keys) if field]
