"""Accuracy: is the response a whole, readable and true answer?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from studio.domain.chat import Conversation
from studio.engine.checks.parts import (
    EVERYTHING,
    answer,
    answers,
    calls,
    last_answer,
    last_turn,
    speaks,
    texts,
)
from studio.engine.checks.registry import (
    Evidence,
    Flagged,
    drop,
    rewriting,
    row_check,
    set_check,
    without_code,
)
from studio.engine.checks.similar import alike
from studio.engine.checks.sketches import Sketches, groups, sketched
from studio.engine.checks.text import ends_open, is_structured, plain, repair_mojibake

# ---- empty, repeated, unfinished --------------------------------------------------------------------------------


@row_check(
    "accuracy",
    "error",
    title="Empty response",
    message="Rows with an empty response: {count}.",
    why="The model learns to say nothing.",
    remedy="Write the response, or drop the row.",
    blind_spots="A response that says nothing in many words. A turn that calls a tool needs no words.",
    fix_title="Drop the row",
    fix=drop,
)
def empty_response(conversation: Conversation) -> str:
    turns = [message for message in conversation.messages if message.role == "assistant"]
    return "" if turns and all(map(speaks, turns)) else "empty"


@row_check(
    "accuracy",
    "error",
    title="Response repeats the prompt",
    message="Rows whose response only repeats the prompt: {count}. Row {row}: {example}",
    why="The model learns to echo instead of to answer.",
    remedy="Write a real response, or drop the row.",
    blind_spots="The question said again in other words. Prompts of fewer than four words are not looked at.",
    fix_title="Drop the row",
    fix=drop,
)
def repeats_prompt(conversation: Conversation) -> str:
    for question, response in _exchanges(conversation):
        asked, said = plain(question), plain(response)
        if len(asked.split()) < 4 and len(asked) < 16:
            continue
        if said and not said.replace(asked, "").strip():
            return response
    return ""


def _exchanges(conversation: Conversation) -> list[tuple[str, str]]:
    """Each assistant message with the user message right before it."""
    pairs = pairwise(conversation.messages)
    return [(a.content, answer(b.content)) for a, b in pairs if a.role == "user" and b.role == "assistant"]


@row_check(
    "accuracy",
    "error",
    title="Response is cut off",
    message="Rows whose response breaks off: {count}. Row {row} ends: {example}",
    why="The model learns to stop in the middle of a sentence, of a code block or of a JSON value.",
    remedy="Write the end, or drop the row. Often the program that made the data had too small a token limit.",
    blind_spots="A response cut exactly at the end of a sentence; list items, verses and headings that end "
    "in a letter "
    "are let pass; so are writing systems without end marks, such as Thai.",
    fix_title="Drop the row",
    fix=drop,
)
def cut_off(conversation: Conversation) -> str:
    turn = last_turn(conversation)
    text = answer(turn.content).rstrip() if turn and not turn.tool_calls else ""
    return text[-50:] if text and ends_open(text) else ""


_REFUSALS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bas an? (?:ai|artificial intelligence|large language|language)\b[^.!?]{0,60}?"
        r"\b(?:can't|can not|cannot|unable|not able|don't have|do not have|not capable|not programmed)\b",
        r"^(?:i'm|i am) an? (?:ai|large language model|language model)\b[^.!?]{0,60}?"
        r"\b(?:can't|cannot|unable|not able|don't have|do not have)\b",
        r"\b(?:i'm|i am) (?:very |so |really )?sorry,? (?:but )?(?:i|as)\b[^.!?]{0,40}?"
        r"\b(?:can't|cannot|can not|am unable to|am not able to|won't|will not)\b[^.!?]{0,20}?"
        r"\b(?:assist|help you with th|help with th|fulfil|comply|answer|generate|create|provide (?:that|"
        r"this|any|the|an?)"
        r" (?:information|content|answer|response|instructions?)|do that|complete|engage)",
        r"^(?:sorry,? (?:but )?|unfortunately,? )?i (?:can't|cannot|can not|won't|am unable to|am not able to) "
        r"(?:help|assist)(?: you)? with (?:that|this|your|such)\b",
        r"^(?:sorry,? (?:but )?|unfortunately,? )?i (?:can't|cannot|can not|won't|am unable to|am not able to) "
        r"(?:fulfil\w*|comply with|complete) (?:that|this|your|the) (?:request|instruction|task)",
        r"(?:作为|身为)一?[个名]?(?:AI|人工智能|语言模型|大语言模型)[^。！？]{0,30}?(?:无法|不能|没有)",
        r"(?:抱歉|对不起)[^。！？]{0,12}(?:无法|不能)(?:提供|回答|完成|满足|协助|帮助)",
    )
]


@row_check(
    "accuracy",
    "warning",
    title="Refusal",
    message="Rows whose response refuses to answer: {count}. Row {row}: {example}",
    why="A few refusals of harmless prompts are enough to make a model refuse what it could do.",
    remedy="Write the answer, or drop the row. Keep refusals that you want the model to learn.",
    blind_spots="Cannot tell a wanted refusal from an unwanted one. Only the usual English and Chinese wordings, "
    "and only at the beginning of the response.",
    fix_title="Drop the row",
    fix=drop,
    source="Wang et al. 2024, 'Do-Not-Answer', arXiv:2308.13387 (wordings of refusals)",
)
def refusal(conversation: Conversation) -> str:
    start = last_answer(conversation).lstrip()[:200].replace("’", "'")
    return start if any(pattern.search(start) for pattern in _REFUSALS) else ""


_WHOLE_PLACEHOLDER = re.compile(
    r"\W*(?:n/?a|tbd|tba|todo|fixme|xxx+|asdf\w*|nan|null|undefined|placeholder|lorem ipsum|no ?input|no ?output|"
    r"(?:your|the|insert|add|write|enter)(?: \w+)? (?:answer|response|output|text)(?: here)?|"
    r"#ref!|#n/a|待补充|待填写)\W*|"
    r"[.…?\-_*]+",
    re.IGNORECASE,
)
_PLACEHOLDER = (
    re.compile(r"\blorem ipsum dolor\b", re.IGNORECASE),
    re.compile(r"[\[<{(](?:insert|add|fill in|put|enter)\b[^\])}>\n]{0,40}[\])}>]", re.IGNORECASE),
    re.compile(r"[\[<{(](?:your|the) (?:answer|response|output)(?: here)?[\])}>]", re.IGNORECASE),
    re.compile(r"\A\W*(?:TODO|TBD|FIXME)\b"),
    re.compile(r"\{\{\s*[A-Z]\w*(?: \w+){0,3}\s*\}\}"),
)
_ABOUT_PLACEHOLDERS = re.compile(
    r"template|placeholder|lorem|todo|to-do|tbd|\bn/?a\b|jinja|mustache|handlebars", re.IGNORECASE
)


@row_check(
    "accuracy",
    "error",
    title="Placeholder",
    message="Rows with a placeholder instead of a response: {count}. Row {row}: {example}",
    why="The model learns to write the gap, not what belongs into it.",
    remedy="Fill the gap, or drop the row.",
    blind_spots="Gaps such as [Your Name] in a letter are let pass, because a letter template is a real answer.",
    fix_title="Drop the row",
    fix=drop,
)
def placeholder(conversation: Conversation) -> str:
    if _ABOUT_PLACEHOLDERS.search(conversation.prompt):
        return ""
    for response in answers(conversation):
        text = without_code(response).strip()
        if response.strip() and _WHOLE_PLACEHOLDER.fullmatch(response.strip()):
            return response
        found = next((match for pattern in _PLACEHOLDER if (match := pattern.search(text))), None)
        if found:
            return found.group()
    return ""


# ---- damaged text -------------------------------------------------------------------------------------------------


@row_check(
    "accuracy",
    "error",
    title="Garbled characters",
    message="Rows with garbled characters: {count}. Row {row}: {example}",
    why="Text that was read in the wrong encoding (â€™ for ’, Ã© for é) teaches the model to write it so.",
    remedy="Repair the rows, or export the data again as UTF-8.",
    blind_spots="UTF-8 read as Windows-1252 is found and repaired; other mix-ups of encodings are not.",
    fix_title="Read the characters in the right encoding",
    fix=rewriting(repair_mojibake, *EVERYTHING),
    source="The confusion of UTF-8 with Windows-1252 as in ftfy, Speer 2019, doi:10.5281/zenodo.2591652",
)
def mojibake(conversation: Conversation) -> str:
    for text in texts(conversation, *EVERYTHING):
        fixed = repair_mojibake(text)
        if fixed != text:
            at = next(i for i, (a, b) in enumerate(zip(text, fixed + "\0", strict=False)) if a != b)
            return text[max(0, at - 20) : at + 20]
    return ""


_LOST = ("\ufffd", "锟斤拷", "烫烫烫")


@row_check(
    "accuracy",
    "error",
    title="Lost characters",
    message="Rows with characters that were lost: {count}. Row {row}: {example}",
    why="A replacement mark (\ufffd) stands where a character was; the model learns to write the mark.",
    remedy="Export the data again as UTF-8, or drop the row: what was lost cannot be repaired.",
    blind_spots="Characters lost as a plain question mark. A row that is about the mark itself is flagged as well.",
    fix_title="Drop the row",
    fix=drop,
)
def lost_characters(conversation: Conversation) -> str:
    for text in texts(conversation, *EVERYTHING):
        mark = next((mark for mark in _LOST if mark in text), None)
        if mark:
            at = text.index(mark)
            return text[max(0, at - 20) : at + 20]
    return ""


_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufff9-\ufffb]")
_DIRECTION = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


def _without_controls(text: str) -> str:
    text = _CONTROL.sub("", _ANSI.sub("", text))
    return text if _RIGHT_TO_LEFT.search(text) else _DIRECTION.sub("", text)


@row_check(
    "accuracy",
    "warning",
    title="Invisible control characters",
    message="Rows with invisible control characters: {count}. Row {row}: {example}",
    why="They cannot be seen, change how a word is split into tokens, and can turn the order of the text around.",
    remedy="Remove them.",
    blind_spots="Joiners that some scripts and emoji need, and direction marks in right-to-left text, are "
    "left alone.",
    fix_title="Remove the characters",
    fix=rewriting(_without_controls, *EVERYTHING),
    source="Boucher and Anderson 2021, 'Trojan Source', arXiv:2111.00169 (direction marks)",
)
def control_characters(conversation: Conversation) -> str:
    for text in texts(conversation, *EVERYTHING):
        cleaned = _without_controls(text)
        if cleaned != text:
            codes = {c for c in text if _CONTROL.match(c) or _DIRECTION.match(c) or c == "\x1b"}
            return " ".join(f"U+{ord(code):04X}" for code in sorted(codes))
    return ""


# ---- contradictions and sums --------------------------------------------------------------------------------------


def _reply(conversation: Conversation) -> str:
    """What the last turn says and calls, in its plain form."""
    turn = last_turn(conversation)
    return f"{plain(answer(turn.content))} {calls(turn)}".strip() if turn else ""


def _unlike_the_commonest(conversations: Sequence[Conversation], group: list[int]) -> list[int]:
    """Positions whose response is another one than the commonest; of equally common ones, the first counts."""
    said = {position: _reply(conversations[position]) for position in group}
    if len(set(said.values())) == 1:
        return []
    usual = Counter(said.values()).most_common(1)[0][0]
    return [position for position in group if said[position] != usual and not alike(said[position], usual)]


def _keep_commonest(
    conversations: Sequence[Conversation], evidence: Evidence
) -> dict[int, Conversation | None]:
    positions = sorted(evidence)
    table = sketched([conversations[position] for position in positions])
    same = [[positions[place] for place in group] for group in groups(table["asked"])]
    return dict.fromkeys(p for group in same for p in _unlike_the_commonest(conversations, group))


@set_check(
    "accuracy",
    "warning",
    title="Conflicting responses",
    message="Rows that answer the same prompt differently: {count}. Row {row}: {example}",
    why="Of two answers to the same question at most one may be right; the model learns to guess between them.",
    remedy="Keep the right one. The repair keeps the commonest response, and of equally common ones the first.",
    blind_spots="Several good answers to an open question, such as a poem, are flagged as well. "
    "The same question in other words is not found.",
    fix_title="Keep the commonest response",
    repair=_keep_commonest,
    source="Northcutt et al. 2021, 'Pervasive Label Errors', arXiv:2103.14749",
)
def conflicting_responses(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    flagged: list[int] = []
    for group in groups(table["asked"]):
        replies = table["reply"][group]
        if (replies != replies[0]).any() and _unlike_the_commonest(conversations, group.tolist()):
            flagged += group.tolist()
    return Flagged(conversations, flagged, lambda row: row.prompt)


_NUMBER = r"[$€£]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
_EQUATION = re.compile(
    rf"(?<![\w.,:^%°)\]²³√$€£])(?<![-+*/×÷·^(=x−–][ ])(?<![-+*/×÷·^=−–])(?P<a>{_NUMBER})\s*"
    rf"(?P<op>[-+*/×÷·−–x])\s*(?P<b>{_NUMBER})\s*=\s*(?P<c>[-−]?{_NUMBER})"
    r"(?![\d%^!°²³])(?!\s?[-+*/×÷·−–=^%(]\s?[\d(a-z])(?![.,:]\d)",
    re.IGNORECASE,
)
_OTHER_ARITHMETIC = re.compile(
    r"\b(?:binary|hex\w*|octal|base[ -]?\d+|mod(?:ulo|ular)?|xor|boolean|remainder|round\w*|approx\w*|"
    r"incorrect\w*|wrong\w*|"
    r"mistakes?|errors?|false|joke|riddle|matrix|vector|fraction)\b|二进制|余数",
    re.IGNORECASE,
)


@row_check(
    "accuracy",
    "error",
    title="Wrong sum",
    message="Rows with a sum that is wrong: {count}. Row {row}: {example}",
    why="The model learns the wrong result.",
    remedy="Correct the sum, or drop the row.",
    blind_spots="Only sums of two numbers written out, such as 6 x 4 = 24. Longer sums, units between the numbers, "
    "and rows about rounding, remainders or other number systems are not looked at.",
    fix_title="Drop the row",
    fix=drop,
)
def wrong_arithmetic(conversation: Conversation) -> str:
    for response in answers(conversation):
        if (
            "=" not in response
            or _OTHER_ARITHMETIC.search(response)
            or _OTHER_ARITHMETIC.search(conversation.prompt)
        ):
            continue
        for match in _EQUATION.finditer(without_code(response)):
            if match.group() not in conversation.prompt and not _holds(*match.group("a", "op", "b", "c")):
                return match.group()
    return ""


def _value(text: str) -> tuple[Fraction, int]:
    """A written number and how many decimals it shows. A comma before anything but three digits is a "
    "decimal comma."""
    text = text.lstrip("$€£")
    text = (
        text.replace(",", "")
        if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text)
        else text.replace(",", ".")
    )
    return Fraction(text if not text.startswith(".") else "0" + text), len(text.partition(".")[2])


def _holds(a: str, operator: str, b: str, c: str) -> bool:
    """Whether `a operator b = c`, as exactly as `c` is written; a truncated quotient counts as right."""
    left, right = _value(a)[0], _value(b)[0]
    sign = -1 if c[0] in "-−" else 1
    shown, decimals = _value(c.lstrip("-−"))
    shown *= sign
    if operator in "/÷":
        if right == 0:
            return True
        true, tolerance = left / right, Fraction(1, 10**decimals)
    else:
        true = {"+": left + right, "-": left - right, "−": left - right, "–": left - right}.get(
            operator, left * right
        )
        tolerance = Fraction(1, 2 * 10**decimals) if decimals else Fraction(1, 1000)
        if true.denominator > 1 and not decimals:
            tolerance = Fraction(1, 2)
    return abs(true - shown) <= tolerance


@row_check(
    "accuracy",
    "warning",
    title="Response goes round in circles",
    message="Rows whose response says the same over and over: {count}. Row {row}: {example}",
    why="The model learns to fall into loops.",
    remedy="Shorten the response, or drop the row.",
    blind_spots="Loops of less than half the response. Songs with many refrains may be flagged.",
    fix_title="Drop the row",
    fix=drop,
    source="Holtzman et al. 2019, 'The Curious Case of Neural Text Degeneration', arXiv:1904.09751",
)
def repetition(conversation: Conversation) -> str:
    thoughts = texts(conversation, "reasoning")
    for response in (*conversation.responses, *thoughts):
        words = response.split()
        if len(words) < 50 or is_structured(response):
            continue
        grams = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
        repeated = sum(count for count in grams.values() if count > 1)
        if repeated - sum(count > 1 for count in grams.values()) > 0.6 * (len(words) - 3):
            return " ".join(grams.most_common(1)[0][0])
    return ""
