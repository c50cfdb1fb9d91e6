"""Bytes to text: UTF-8, UTF-16 with its mark, and for all else a sentence that names the likely encoding."""

from __future__ import annotations

import codecs
import re

from studio.domain.errors import StudioError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes, name: str) -> tuple[str, str]:
    """The text of a file and its encoding. StudioError with byte, line and likely encoding where it fails."""
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and _looks_like_utf16(data):
        encoding_guess = "UTF-16 without a byte order mark"
        raise _wrong(name, data, data.index(0), encoding_guess)
    try:
        return data.decode(encoding), "utf-8" if encoding == "utf-8-sig" else encoding
    except UnicodeDecodeError as error:
        raise _wrong(name, data, error.start, likely_encoding(data)) from None


def _wrong(name: str, data: bytes, position: int, likely: str) -> StudioError:
    return StudioError(
        "{file} is not UTF-8 text: byte {position} (line {line}) cannot be read; it is likely {encoding}.",
        "Save the file as UTF-8 and try again.",
        file=name,
        position=position + 1,
        line=data.count(b"\n", 0, position) + 1,
        encoding=likely,
    )


def _looks_like_utf16(data: bytes) -> bool:
    """Whether every other byte is zero, as in UTF-16 of Latin text."""
    sample = data[:2000]
    return len(sample) >= 4 and max(sample[0::2].count(0), sample[1::2].count(0)) > 0.4 * len(sample) / 2


def likely_encoding(data: bytes) -> str:
    """A guess at the encoding of bytes that are not UTF-8, from which high bytes stand together.

    >>> likely_encoding("Où est ma commande ?".encode("cp1252"))
    'Windows-1252 (Western European)'
    """
    sample = data[:500_000]
    whole = sum(
        len(match) for match in re.findall(rb"(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2})+", sample)
    )
    high = re.findall(rb"[\x80-\xff]+", sample)
    total = sum(map(len, high))
    if total and whole > 0.9 * total:
        return "UTF-8 with damaged bytes"
    single = sum(len(run) for run in high if len(run) == 1)
    if not total or single > 0.5 * total:
        return "Windows-1252 (Western European)"
    best = max(_CANDIDATES, key=lambda item: _fit(sample, item[0], item[2]))
    return best[1] if _fit(sample, best[0], best[2]) > 0.3 else "an 8-bit encoding such as Windows-1252"


_CANDIDATES = (
    (
        "gb18030",
        "GBK / GB18030 (Chinese)",
        re.compile(r"[的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年，。？！]"),
    ),
    ("shift_jis", "Shift JIS (Japanese)", re.compile(r"[\u3040-\u30ff。、]")),
    (
        "big5",
        "Big5 (Traditional Chinese)",
        re.compile(r"[的一是不了在人有我他這中大來上個國到說們為子和你地出道也時年，。？！]"),
    ),
    ("euc_kr", "EUC-KR (Korean)", re.compile(r"[\uac00-\ud7a3]")),
    ("cp1251", "Windows-1251 (Cyrillic)", re.compile(r"(?<=[А-Яа-яё])[а-яё]|[А-Я](?=[а-яё])")),
)


def _fit(sample: bytes, encoding: str, usual: re.Pattern[str]) -> float:
    """Which share of the non-ASCII characters, read in `encoding`, are usual in its language."""
    text = sample.decode(encoding, errors="replace")
    foreign = [character for character in text if ord(character) > 127]
    if not foreign:
        return 0.0
    weight = 3.0 if encoding in ("gb18030", "big5") else 1.0
    return min(1.0, weight * len(usual.findall(text)) / len(foreign)) - text.count("\ufffd") / len(foreign)
