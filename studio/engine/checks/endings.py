"""Endings: whether a text breaks off, and what its end looks like beside those of others."""

from __future__ import annotations

import json
import re

_FENCE = re.compile(r"^[ \t]*(```|~~~)", re.MULTILINE)
_CLOSERS = {")": "(", "]": "[", "}": "{"}
_LIST_ITEM = re.compile(r"\s*(?:[-*+•–—#>|]|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)]\s|[A-Z][\w ]{0,30}:)")
_SENTENCE_END = re.compile(r"[.!?…:;]['\"”’)\]*_]*$|[。！？；：…][」』”’）]*$")
_FULL_STOPS = frozenset(".!?。！？…")
_DANGLING = frozenset(
    re.findall(
        r"\w+",
        "the a an and or but of with because whose which into from their your our my its every than if while "
        "although "
        "when where i we he she they has have had will would could should may must is are was were be been "
        "to for at by "
        "as am both either",
    )
)
_OPEN_END = re.compile(
    r"(?:\band then|,\s?(?:so|then|thus|which|that)"
    r"|\bto (?:make|produce|create|provide|ensure|convert|enable)"
    r"|\b(?:the|an|and|or|because|although|whose|than|into|every|whereas|if|but))$"
)
"""Words that call for more, at the end of a sentence without an end mark."""
_OPEN_CHINESE = re.compile(
    "(?:以及|并且|而且|或者|因为|由于|例如|比如|如果|但是|为了|包括|对于|关于|之所以|然后|接着|随后|反而|[，后]再|[，、])$"
)
_KANA = re.compile(r"[\u3041-\u3093\u30a1-\u30f6]")
_OPEN_WORDS, _OPEN_LETTERS = 6, 8
_CODE_LINE = re.compile(
    r"[{};=<>()\[\]\\|$]|\b(?:def|return|import|class|SELECT|FROM|WHERE|END)\b|^\s{4,}|^\t"
)
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_ENDS_BY_MARKS = re.compile(r"[A-Za-zÀ-ɏͰ-ϿЀ-ӿ]")
_PROSE_WORDS, _WORDS_OF_AN_ITEM = 8, 5
_SIGNED = re.compile(r"[-–—~]\s*[A-ZÀ-Þ][\w.]*(?: [A-ZÀ-Þ][\w.]*){0,4}$")  # a quotation and its author


def ends_open(text: str) -> bool:
    """Whether a text stops before its end: in a code block, a JSON value, a bracket or a sentence."""
    text = text.rstrip()
    if _ends_in_a_list_item_begun(text):
        return True
    if ("```" in text or "~~~" in text) and len(_FENCE.findall(text)) % 2:
        return True
    if text.endswith("```"):
        return False
    if text[:1] in ("{", "[") and _json_breaks_off(text):
        return True
    if text[-1:] in _FULL_STOPS:
        return False
    body = re.sub(r"```.*?```", "", text, flags=re.DOTALL).rstrip() if "```" in text else text
    return bool(body) and _prose_breaks_off(body)


def _ends_in_a_list_item_begun(text: str) -> bool:
    """Whether a list of at least three ends in a number or bullet alone, or in a small word that calls for more."""
    last = text[text.rfind("\n") + 1 :]
    if last.strip() in _BULLETS:
        return text.count(f"\n{last} ") >= 1
    if len(last) <= 2 and last.isdecimal():
        return int(last) >= 3 and int(last) == 1 + len(_NUMBERED.findall(text))
    begun = _ITEM_BEGUN.fullmatch(last) if len(last) < 12 else None
    if begun is None or begun[1] != str(len(_NUMBERED.findall(text))) or int(begun[1]) < 3:
        return False
    if not begun[2]:
        return True
    # Where no other item has two words, the small words themselves are listed.
    return begun[2].lower() in _DANGLING and bool(_ITEM_OF_WORDS.search(text))


_BULLETS = frozenset("-*+•–")
_ITEM_BEGUN = re.compile(r"\s*(\d{1,2})[.)](?: (\w+))?")
_ITEM_OF_WORDS = re.compile(r"^\s*\d{1,2}[.)] \S+ \S", re.MULTILINE)
_NUMBERED = re.compile(r"^\s*\d{1,2}[.)](?=\s|$)", re.MULTILINE)
_JSON_START = re.compile(r"[\[{\s]*\"")


def _json_breaks_off(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        at_end = (
            error.pos >= len(text)
            or (error.pos >= len(text) - 6 and not text.endswith(("}", "]")))
            or (error.msg.startswith("Unterminated string") and bool(_JSON_START.match(text)))
        )
        return at_end and _open_brackets(text) > 0
    except (ValueError, RecursionError):
        return False
    return False


def _open_brackets(text: str) -> int:
    """Brackets left open, those in double-quoted strings aside."""
    stack: list[str] = []
    for character in re.sub(r'"(?:\\.|[^"\\])*"?', "", text):
        if character in "([{":
            stack.append(character)
        elif character in _CLOSERS and stack and stack[-1] == _CLOSERS[character]:
            stack.pop()
    return len(stack)


def _prose_breaks_off(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    last = lines[-1].strip()
    if _SENTENCE_END.search(last):
        return last.endswith(":") and len(last.split()) >= 4 and not _looks_like_code(last)
    if last.endswith((",", "，", "、")):
        called = {word.strip(",，、").lower() for word in last.split()}
        return (
            len(called) > 4
            or len(last) > 30
            or (len(lines) > 1 and last.endswith(",") and not called & _CLOSING)
        )
    if not last[-1].isalpha() or _looks_like_code(last):
        amid_chinese = last[-1].isdigit() and last.count("。") >= 2 and not _LIST_ITEM.match(lines[-1])
        return amid_chinese or _bracket_open_at_end(last)
    if _CJK.match(last[-1]):
        if len(last) >= _OPEN_LETTERS and _OPEN_CHINESE.search(last) and not _KANA.search(last):
            return True
        return "。" in text and not _LIST_ITEM.match(lines[-1]) and _chinese_breaks_off(last)
    if not _ENDS_BY_MARKS.match(last[-1]):
        return False
    words = last.split()
    if _SIGNED.search(last) or words[-1].startswith(("#", "@", "http", "www.")):
        return False
    dangles = words[-1].lower() in _DANGLING and (len(words) >= 20 or not "".join(words[-2:-1]).endswith(","))
    if len(words) >= _OPEN_WORDS and _OPEN_END.search(last):
        return True
    if len(words) < _PROSE_WORDS:
        open_end = dangles or _bracket_open_at_end(last) or _begins_a_paragraph(lines, words)
        open_end = open_end or (len(words) > 2 and bool(_LIST_ITEM.match(lines[-1])))
        return open_end and len(words) > 1 and _others_end_in_marks(lines, last)
    if dangles:
        return True
    if _bracket_open_at_end(last):
        return True
    return _others_end_in_marks(lines, last)


def _chinese_breaks_off(line: str) -> bool:
    """Whether what stands behind a line's last end mark is the beginning of a sentence, not a name below a letter."""
    begun = re.split("[。！？；]", line)[-1]
    if len(begun) > 30 or "，" in begun or line.count("“") > line.count("”"):
        return True
    return (len(begun) >= 5 and "。" in line) or line.count("。") >= 3


_CLOSING = frozenset(
    re.findall(
        r"\w+", "regards wishes sincerely faithfully truly love thanks cheers soon yours hugs greetings"
    )
)


def _begins_a_paragraph(lines: list[str], words: list[str]) -> bool:
    """Whether a few last words stand alone below paragraphs that all end in a mark, and close no letter."""
    others = [line.strip() for line in lines[:-1]]
    if len(others) < 2 or not all(map(_SENTENCE_END.search, others)) or _LIST_ITEM.match(lines[-1]):
        return False
    small = {word.lower() for word in words}
    return any(word.islower() for word in words[1:]) and not small & _CLOSING


def _bracket_open_at_end(line: str) -> bool:
    """Whether the last bracket of a prose line opens and is followed by a few words."""
    opened = max(line.rfind("("), line.rfind("（"))
    closed = max(line.rfind(")"), line.rfind("）"))
    return opened > closed and len(line[opened:].split()) >= 2 and line[opened - 1 : opened] in (" ", "")


def _looks_like_code(line: str) -> bool:
    return len(_CODE_LINE.findall(line)) >= max(2, len(line.split()) // 5)


def _others_end_in_marks(lines: list[str], last: str) -> bool:
    """Whether a last line without an end mark stands out: the text's other sentences have one."""
    inner = len(re.findall(r"[.!?] +[A-ZÀ-ÞΑ-ΩА-Я]", last))
    if _LIST_ITEM.match(lines[-1]) and len(last.split()) < 25:
        items = [line.strip() for line in lines[:-1] if _LIST_ITEM.match(line)]
        ended = sum(bool(_SENTENCE_END.search(item)) for item in items)
        are_sentences = min((len(item.split()) for item in items), default=0) >= _WORDS_OF_AN_ITEM
        likely = len(last.split()) >= _PROSE_WORDS or are_sentences
        return len(items) >= (2 if are_sentences else 3) and ended == len(items) and likely
    others = [line.strip() for line in lines[:-1] if not _LIST_ITEM.match(line) and len(line.split()) >= 4]
    if others:
        ended = sum(bool(_SENTENCE_END.search(line)) for line in others)
        return ended >= 0.7 * len(others)
    return inner >= 1 and len(last) >= 100


# ---- how texts end that are to be compared -------------------------------------------------------------------------

ENDED = 1
"""The bit of a kind of ending that says that it has an end mark."""
_ENDED = re.compile(r"[.!?…][\"'”’)\]*_]*$|[。！？…][」』”’）]*$")
_STEPS = (4, 8)
"""Words of a last line: one that has fewer is likelier a title, a name or a label."""
_LISTED = re.compile(r"[,，、;]")
_LISTED_LETTERS, _LISTED_SIGNS = 30, 6
_TAIL = 2_000
"""Characters of a last line that are looked at."""


def ending_of(text: str) -> int:
    """What kind of ending a text in prose has, and whether it has an end mark (`ENDED`).

    0 where it has neither that nor a letter or digit at its end, is no prose, or leaves such lines without a mark.

    Of one kind are the texts whose last line is as long, is a list's item, a paragraph or all there is, and is Chinese
    or Japanese or in a script of words.

    >>> ending_of("All bees dance well.") == ending_of("All bees dance well") + ENDED, ending_of('{"a": 1}')
    (True, 0)
    """
    text = text.strip()
    if not text or text[0] in "{[<|":
        return 0
    last = text[text.rfind("\n") + 1 :][-_TAIL:]
    if "```" in last or "~~~" in last or ("```" in text and text.count("```") % 2):
        return 0
    ended = text[-1] in _FULL_STOPS or bool(_ENDED.search(last))
    if not (ended or (text[-1].isalnum() and _marks_its_ends(text[-1], last))) or _looks_like_code(last):
        return 0
    unspaced = bool(_CJK.search(last))
    words = len(last) // 2 if unspaced else last.count(" ") + 1
    size = sum(words >= step for step in _STEPS)
    place = 0 if len(last) == len(text) else 1 if _LIST_ITEM.match(last) else 2
    if not size or (not ended and (_is_listing(last) or (unspaced and _is_signed(last)))):
        return 0
    if place and not ended and _leaves_marks_out(text, is_item=place == 1):
        return 0
    return 2 + ENDED * ended + 2 * (size - 1 + 2 * (place + 3 * unspaced))


def _is_signed(line: str) -> bool:
    """Whether a few signs behind the last end mark are most likely the name below a message.

    >>> _is_signed("明天请半天假。谢谢！周宁"), _is_signed("明天请半天假")
    (True, False)
    """
    *before, behind = re.split("[。！？]", line)
    return bool(before) and len(behind.strip()) <= _NAME_SIGNS


_NAME_SIGNS = 4


def _is_listing(line: str) -> bool:
    """Whether a line only names some things, one after the other."""
    pieces = [piece.strip() for piece in _LISTED.split(line)]
    longest = _LISTED_SIGNS if _CJK.search(line) else _LISTED_LETTERS
    return len(pieces) > 2 and all(0 < len(piece) <= longest for piece in pieces)


def _leaves_marks_out(text: str, is_item: bool) -> bool:
    """Whether one of the lines before the last, which are items as it is or are none either, has no end mark."""
    others = [line for line in text[-3 * _TAIL :].split("\n")[-6:-1] if line.strip()]
    return any(
        bool(_LIST_ITEM.match(line)) == is_item and not _SENTENCE_END.search(line.rstrip()) for line in others
    )


def _marks_its_ends(letter: str, line: str) -> bool:
    """Whether a line is in a script that ends sentences with marks, and ends in no address."""
    word = line[line.rfind(" ") + 1 :]
    if word.startswith(("#", "@", "http", "www.")) or _SIGNED.search(line[-200:]):
        return False
    return letter.isdigit() or bool(_CJK.match(letter) or _ENDS_BY_MARKS.match(letter))
