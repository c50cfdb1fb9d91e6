"""What the checks ask of a text: its plain form, its language, whether it ends, and whether it was misread."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

TEXTS_AT_HAND = 64
"""Of so many texts it is known what was asked of them: those of the few rows that are looked at together."""

lowered: Callable[[str], str] = lru_cache(maxsize=TEXTS_AT_HAND)(str.lower)
"""A text in small letters; the checks that look at the same row share it."""


def holds_any(text: str, marks: Iterable[str]) -> bool:
    """Whether at least one of the marks stands in the text: the cheap question before a costly pattern."""
    for mark in marks:  # noqa: SIM110 - any() would take three times as long
        if mark in text:
            return True
    return False


class Marks:
    """Words and phrases, in small letters, of which one stands in every text that a costly pattern finds.

    A list is written as `ignore|forget `, in which spaces count. The lists of all checks are looked for in one go
    through a text (Aho and Corasick 1975), so that a thousand marks cost no more than one.
    """

    _all: ClassVar[list[str]] = []
    """The lists of all that were made."""

    def __init__(self, *lists: str) -> None:
        self._numbers = range(len(self._all), len(self._all) + len(lists))
        self._all.extend(lists)

    def stand_in(self, text: str) -> bool:
        """Whether at least one mark stands in the text.

        >>> Marks("ignore|forget ").stand_in("Do not FORGET it"), Marks("ignore|forget ").stand_in("forgetful")
        (True, False)
        """
        return not self._found_in(text).isdisjoint(self._numbers)

    def lists_in(self, text: str) -> list[int]:
        """The numbers of the lists of which a mark stands in the text, in order."""
        found = self._found_in(text)
        return (
            [number - self._numbers.start for number in sorted(found) if number in self._numbers]
            if found
            else []
        )

    @classmethod
    def _found_in(cls, text: str) -> frozenset[int]:
        return _marked(text, len(cls._all))


@lru_cache(maxsize=1)
def _automaton(lists: int) -> tuple[Any, list[list[int]]]:
    """Of so many lists of marks, those that were there when it was asked for; and of each mark its lists' numbers."""
    from ahocorasick_rs import AhoCorasick, Implementation

    numbers: dict[str, list[int]] = {}
    for number, listed in enumerate(Marks._all[:lists]):
        for mark in listed.split("|"):
            numbers.setdefault(mark, []).append(number)
    return AhoCorasick(list(numbers), implementation=Implementation.DFA), list(numbers.values())


@lru_cache(maxsize=TEXTS_AT_HAND)
def _marked(text: str, lists: int) -> frozenset[int]:
    """The numbers of the lists of which a mark stands in the text."""
    automaton, numbers = _automaton(lists)
    small = lowered(text)
    try:
        found = automaton.find_matches_as_indexes(small, overlapping=True)
    except UnicodeEncodeError:  # half a character, which UTF-8 cannot write
        found = automaton.find_matches_as_indexes(small.encode(errors="replace").decode(), overlapping=True)
    return frozenset(number for mark, _, _ in found for number in numbers[mark]) if found else _NO_LISTS


_NO_LISTS: frozenset[int] = frozenset()


# ---- form ---------------------------------------------------------------------------------------------------------

_PLAIN = bytes(
    ord(chr(c).lower()) if chr(c).isalnum() or c == ord("_") else ord(" ") for c in range(128)
) + bytes(range(128, 256))
"""What `plain` makes of each ASCII character, which is twice as quick as a pattern; others stay."""


def plain(text: str) -> str:
    """Lower case, without punctuation, single spaces: texts that a reader would call the same.

    >>> plain("Why does bread rise ?") == plain("why does bread rise?")
    True
    """
    return b" ".join(_simple(text).split()).decode() or " ".join(text.split())


def plain_texts(texts: Sequence[str]) -> list[str]:
    """`plain` of each, in a fifth of the time where there are several.

    >>> plain_texts(["Why does bread rise ?", "(Ça va.)", "?!"])
    ['why does bread rise', 'ça va', '?!']
    """
    lines = _single_spaced(list(map(_simple, texts)))
    return [line or " ".join(text.split()) for line, text in zip(lines, texts, strict=True)]


def single_spaced_texts(texts: Sequence[str]) -> list[str]:
    """`" ".join(text.split())` of each, likewise.

    >>> single_spaced_texts(["\\tto  be\\n", "", "or\\u3000not"])
    ['to be', '', 'or not']
    """
    lines = [
        text.encode().translate(_SPACES)
        if text.isascii()
        else " ".join(text.split()).encode("utf-8", "surrogatepass")
        for text in texts
    ]
    return _single_spaced(lines)


def _simple(text: str) -> bytes:
    """A text in small letters, with a space for each sign that is neither letter nor digit."""
    if text.isascii():
        return text.encode().translate(_PLAIN)
    folded = unicodedata.normalize("NFKC", text).casefold()
    for sign in set(folded.encode().translate(None, _ASCII).decode()):
        if not sign.isalnum():
            folded = folded.replace(sign, " ")
    return folded.encode().translate(_PLAIN)


_ASCII = bytes(range(128))
_SPACES = bytes(ord(" ") if chr(c).isspace() else c for c in range(128)) + bytes(range(128, 256))


def _single_spaced(lines: Sequence[bytes]) -> list[str]:
    """Lines whose only white space are blanks, without those at both ends and a single one wherever there are several.

    All of them at once, end to end: a blank stays where none, and no border, stands before it.
    """
    import numpy

    data = numpy.frombuffer(b"\n".join((b"", *lines)), dtype=numpy.uint8)
    blank = data == ord(" ")
    stays = ~blank
    stays[1:] |= ~blank[:-1] & (data[:-1] != ord("\n"))
    return [
        line.rstrip(b" ").decode("utf-8", "surrogatepass") for line in data[stays].tobytes().split(b"\n")[1:]
    ]


_LETTERS_AND_DIGITS = bytes(
    ord("0" if chr(c).isdecimal() else "A" if chr(c).isupper() else "a" if chr(c).isalpha() else chr(c))
    for c in range(128)
) + bytes(128)


@lru_cache(maxsize=TEXTS_AT_HAND)
def outline(text: str) -> bytes:
    """A text with each ASCII letter as `a` or `A` and each ASCII digit as `0`: what stands beside a digit is found in
    it a dozen times as quick as by a pattern.

    >>> outline("V2.0, at 10:30")
    b'A0.0, aa 00:00'
    """
    return text.encode("utf-8", "surrogatepass").translate(_LETTERS_AND_DIGITS)


def is_json(text: str) -> bool:
    """Whether a text as a whole is a JSON object or list."""
    text = text.strip()
    if text[:1] not in ("{", "["):
        return False
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def is_structured(text: str) -> bool:
    """Whether a text is a data value, a table or code rather than prose."""
    text = text.strip()
    return text[:1] in "{[<|" or text.startswith(("```", "def ", "class ", "import ", "SELECT ", "#include"))


# ---- scripts and languages ----------------------------------------------------------------------------------------

_SCRIPTS = (
    ("latin", re.compile(r"[A-Za-zÀ-ɏ]")),
    ("han", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")),
    ("kana", re.compile(r"[\u3040-\u30ff]")),
    ("hangul", re.compile(r"[\uac00-\ud7a3\u1100-\u11ff]")),
    ("cyrillic", re.compile(r"[\u0400-\u04ff]")),
    ("arabic", re.compile(r"[\u0600-\u06ff]")),
    ("hebrew", re.compile(r"[\u0590-\u05ff]")),
    ("devanagari", re.compile(r"[\u0900-\u097f]")),
    ("greek", re.compile(r"[\u0370-\u03ff]")),
    ("thai", re.compile(r"[\u0e00-\u0e7f]")),
)

_NOT_LATIN = re.compile(
    "[\u0370-\u1dff\u2c80-\u2dff\u2e80-\ua71f\ua800-\ufaff\ufb1d-\ufdff\ufe70-\ufeff\uff66-\uffdc]"
)


@lru_cache(maxsize=TEXTS_AT_HAND)
def is_latin(text: str) -> bool:
    """Whether no letter of another writing system stands in the text."""
    return text.isascii() or not _NOT_LATIN.search(text)


SMALL_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the of in on at to for from by with is are was were be do does did can could would should will i me "
        "my you your please and or it this that these those what which who how s t",
    )
)
"""What two texts that ask the same may differ by."""


def small_words(words: Iterable[str]) -> int:
    """How many of the words, in small letters, are small ones."""
    return sum(map(SMALL_WORDS.__contains__, words))


_STOPWORDS = {
    "English": "the of and to in is that it for was with as be this are on you have not by at from they "
    "which can how what "
    "do does your will would there their has an when who why or if its these into should about could my me "
    "give a i am we "
    "he she his her need explain describe write name list make",
    "German": "der die das und ist nicht ein eine zu den mit von für auf sich auch es wie werden dem des im "
    "sind oder als "
    "bei nach wird kann man einen einer weil aber nur noch gut wer ich du sie wir was warum",
    "French": "le la les des est et une un du que qui dans pour pas sur avec ce il elle au aux sont par "
    "plus ne vous nous "
    "je mais ou où cette comme être votre quel quelle pourquoi comment",
    "Spanish": "el la los las de que y en un una es por con para no se lo como más pero sus del al este "
    "esta son ha muy "
    "nos qué cómo cuando porque su sin también puede",
    "Italian": "il lo gli che di e è un una per non con sono della del dei nel alla anche come più ma "
    "questo questa si "
    "perché cosa quando essere delle dal sul ha",
    "Portuguese": "o os as que e do da em um uma não para com por mais é se na no dos das como mas ao foi "
    "ele você são "
    "também pelo sua seu isso quando porque",
    "Dutch": "de het een en van is dat niet op te in zijn met voor er aan om ook als maar bij dan wat naar "
    "door worden "
    "kan deze uit nog je ik wij waarom hoe",
    "Polish": "i w na nie się z do to że jest o jak ale po od za przez czy są być dla tym może które który oraz",
    "Swedish": "och att det som en på är av för med den till inte om ett har jag var men så vi kan från "
    "eller vad hur",
}
_ENGLISH_ONLY = frozenset(
    re.findall(
        r"\w+",
        "the of and to that it for with this are you your not by from they which what how there their would "
        "could "
        "should write explain describe following sentence",
    )
)
_LANGUAGES_OF: dict[str, tuple[str, ...]] = {}
for _language, _words in _STOPWORDS.items():
    for _word in _words.split():
        _LANGUAGES_OF[_word] = (*_LANGUAGES_OF.get(_word, ()), _language)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_ONLY_WORDS = bytes(
    ord(chr(c).lower()) if chr(c).isalpha() or chr(c) == "'" else ord(" ") for c in range(128)
) + bytes(128)


_ENOUGH_LETTERS = 2000


def _script_shares(text: str) -> dict[str, float]:
    """Each script's share of the letters; empty below ten letters. Han among kana is Japanese and counts as both."""
    text = text[:_ENOUGH_LETTERS]
    if is_latin(text):
        enough = any(sum(map(str.isalpha, part)) >= 10 for part in (text[:100], text))
        return {"latin": 1.0} if enough else {}
    counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS}
    # a Chinese character says as much as a short word
    weights = {
        name: count * (3 if name in ("han", "kana", "hangul") else 1) for name, count in counts.items()
    }
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total >= 10 else {}


def script_of(text: str) -> str | None:
    """The script that at least 60 % of the letters belong to; None below ten letters or without such a majority.

    >>> script_of("豆腐是用黄豆做的"), script_of("An apple a day"), script_of("42")
    ('han', 'latin', None)
    """
    shares = _script_shares(text)
    if shares.get("kana", 0) > 0.1:
        shares["kana"] += shares.pop("han")
    best = max(shares, key=lambda name: shares[name], default=None)
    return best if best and shares[best] >= 0.6 else None


def scripts_in(text: str) -> set[str]:
    """The scripts of at least a tenth of the letters; Chinese characters and kana go together."""
    found = {name for name, share in _script_shares(text).items() if share >= 0.1}
    return found | {"han", "kana"} if found & {"han", "kana"} else found


@lru_cache(maxsize=TEXTS_AT_HAND)
def language_of(text: str, words_needed: int = 4) -> str | None:
    """The European language that the small words of a Latin-script text clearly belong to, or None.

    >>> language_of("The cat sat on the mat and it was happy with that.")
    'English'
    """
    words = _in_words(text[:_ENOUGH_LETTERS])
    if len(words) < words_needed:
        return None
    scores = dict.fromkeys(_STOPWORDS, 0)
    for languages, count in Counter(map(_LANGUAGES_OF.get, words)).items():
        for language in languages or ():
            scores[language] += count
    best = max(scores, key=lambda language: scores[language])
    first = scores.pop(best)
    second = max(scores.values())
    return (
        best if first >= words_needed / 2 and first >= 0.15 * len(words) and first >= 1.5 * second else None
    )


def _in_words(text: str) -> list[str]:
    """The words in small letters; of ASCII by a table, which is five times as quick as the pattern."""
    if text.isascii():
        spaced = text.encode().translate(_ONLY_WORDS).decode().split()
        return [word.strip("'") for word in spaced]
    return " ".join(_WORD.findall(text)).lower().split()


@lru_cache(maxsize=TEXTS_AT_HAND)
def is_plainly_english(text: str) -> bool:
    """Whether the first words hold enough that only English has; quick, and no answer for other texts."""
    words = text[:600].lower().split()
    return sum(map(_ENGLISH_ONLY.__contains__, words)) >= max(1, 0.12 * len(words))


LANGUAGE_ASKED = re.compile(
    r"translat|language|interpret|localiz|localis|foreign|spelling|multilingual|"
    r"\b(?:english|german|french|spanish|italian|portuguese|dutch|polish|swedish|russian|chinese|mandarin|"
    r"cantonese|"
    r"japanese|korean|arabic|hebrew|hindi|greek|latin|turkish|vietnamese|thai|danish|norwegian|finnish|"
    r"czech|ukrainian|"
    r"romanian|hungarian|indonesian|persian|pinyin|cyrillic)\b|"
    r"übersetz|sprache|\b(?:deutsch|englisch|französisch|spanisch|italienisch|chinesisch|japanisch)\w*|"
    r"tradui|traduc|traduz|langue|idioma|lingua|\b(?:anglais|français|allemand|espagnol|inglés|español|"
    r"alemán|francés|"
    r"inglese|italiano|tedesco|inglês|português)\w*|"
    r"翻译|用(?:英|中|法|德|日|韩|俄)|翻成|译成|译为|语言|[英中法德日韩俄外]文|[英汉法德日韩俄]语|西班牙语|перев[её]|язык|по-\w+ски|翻訳|[英日]本?語|번역|영어",
)
"""In small letters: what stands in a prompt that is about a language, or asks for another."""

_SISTERS = (
    {"id", "ms", "jv", "su"},
    {"no", "nb", "nn", "da", "sv"},
    {"hr", "sr", "bs", "sl"},
    {"cs", "sk"},
    {"gl", "pt", "es", "an", "ca", "oc"},
    {"nl", "af"},
    {"ru", "uk", "be", "bg", "mk"},
    {"fa", "ar", "ur", "ps", "ug"},
    {"hi", "mr", "ne"},
)
"""Languages that are easily taken for each other in a short text."""


def are_sisters(left: str, right: str) -> bool:
    return left == right or any(left in group and right in group for group in _SISTERS)


@lru_cache(maxsize=1)
def _identifier() -> Callable[[str], tuple[str, float]]:
    """py3langid's model of 97 languages; it takes a second to read, so only where a text calls for it."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify


def identified(text: str, sure: float) -> str | None:
    """The language's ISO code where py3langid gives it at least this probability.

    >>> identified("Bugün hava çok güzel ve parka gidiyoruz.", 0.8)
    'tr'
    """
    language, probability = _classified(text[:_ENOUGH_LETTERS])
    return language if probability >= sure else None


@lru_cache(maxsize=TEXTS_AT_HAND)
def _classified(text: str) -> tuple[str, float]:
    return _identifier()(text)


# ---- misread encodings --------------------------------------------------------------------------------------------

_HIGH = "[\x80-\xff\u0100-\u02dc\u0401-\u0491\u2013-\u203a\u20ac\u2122]"
_HIGH_RUN = re.compile(f"{_HIGH}(?:{_HIGH}|(?<=Ã) )")
"""What UTF-8 looks like when it is read as a one-byte encoding: characters beyond ASCII side by side."""
_CLOSES_A_QUOTE = re.compile(r"(?<=[A-ZÀ-Þ])[ÃÂ](?=[”’»])")
"""The end of a quoted word in capitals, as in “IRMÃ”, looks like a misread letter."""
_KEEPERS = {"Ã": "\ue0c3", "Â": "\ue0c2"}


def repair_mojibake(text: str) -> str:
    """Text in which UTF-8 was read in a one-byte encoding, read again as UTF-8; other text as it is.

    >>> repair_mojibake("cafÃ© â€“ itâ€™s 5 â‚¬"), repair_mojibake("São Tomé – naïve")
    ('café – it’s 5 €', 'São Tomé – naïve')
    """
    if text.isascii() or not _HIGH_RUN.search(text):
        return text
    import ftfy
    from ftfy.badness import is_bad

    kept = _CLOSES_A_QUOTE.sub(lambda match: _KEEPERS[match.group()], text)
    if not is_bad(kept):
        return text
    fixed = ftfy.fix_encoding(kept)
    if _reads_well_in_part(text, fixed):
        # Of such a text only what cannot be meant is repaired: no letter before a space, and nothing that stands
        # beside what it would become, as in "é turns into Ã©".
        fixed = ftfy.fix_encoding(_BEFORE_A_SPACE.sub(lambda match: _KEEPERS[match.group()], kept))
        if any(
            fixed.count(sign) > text.count(sign) and _alone(sign, text)
            for sign in filter(is_high, set(fixed))
        ):
            return text
    for letter, keeper in _KEEPERS.items():
        fixed = fixed.replace(keeper, letter)
    return text if "\ufffd" in fixed and "\ufffd" not in text else fixed


def is_high(sign: str) -> bool:
    """Whether a character is beyond ASCII."""
    return ord(sign) > 127


def _reads_well_in_part(text: str, fixed: str) -> bool:
    """Whether some characters beyond ASCII stayed as they were: then not all of the text was misread."""
    return any(is_high(sign) and sign in fixed and sign not in _MISREAD for sign in set(text))


def _alone(sign: str, text: str) -> bool:
    """Whether a character stands in a text by itself, as one that is spoken of does."""
    return bool(re.search(rf"(?<!\w){re.escape(sign)}(?!\w)", text))


_BEFORE_A_SPACE = re.compile(r"[ÃÂ](?= )")
_MISREAD = frozenset("ÃÂâ\ue0c3\ue0c2")
"""First letters of what is misread most, which a repaired text may have as well."""
