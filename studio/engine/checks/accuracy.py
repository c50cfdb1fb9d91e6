"""Accuracy: is the response a whole, readable and true answer?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
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
from studio.engine.checks.sums import wrong_sum
from studio.engine.checks.text import ends_open, holds_any, is_structured, lowered, plain, repair_mojibake

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
        label = _LABEL.match(response)
        response = response[label.end() :] if label else response
        if not _begin_alike(question, response):
            continue
        asked, said = plain(question), plain(response)
        if len(asked.split()) < 4 and len(asked) < (8 if _UNSPACED.search(asked) else 16):
            continue
        if said and not said.replace(asked, "").strip():
            return response
    return ""


_LABEL = re.compile(
    r"\A\W*(?:q|question|prompt|instruction|input|user|human|you asked|问题|问|指令|用户)\s?[:：]\s*",
    re.IGNORECASE,
)
_UNSPACED = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def _begin_alike(question: str, response: str) -> bool:
    """Whether the first letters are the same, in their plain form: a quick look before the whole is compared."""
    asked, said = plain(question[:40])[:12], plain(response[:60])[:12]
    return asked[: len(said)] == said[: len(asked)]


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
    for turn in conversation.messages:
        if turn.role == "assistant" and not turn.tool_calls:
            text = answer(turn.content).rstrip()
            if text and ends_open(text):
                return text[-50:]
    return ""


_REFUSING = (
    "n't",
    "cannot",
    "can not",
    "not ",
    "unable",
    "against",
    "violate",
    "declin",
    "refus",
    "have no",
    " ai ",
    "超出",
    "不",
    "无法",
    "没",
)
_CANNOT = (
    r"(?:can't|cannot|can not|won't|will not|am unable to|am not able to|'m unable to|'m not able to|"
    r"won't be able to|will not be able to)"
)
_APOLOGY = (
    r"(?:i'm |i am )?(?:really |very |so |truly |terribly )?(?:sorry|afraid),? (?:but )?|(?:i "
    r")?apologi[sz]e,? (?:but )?|"
    r"(?:my )?apologies,? (?:but )?|i regret (?:that )?|unfortunately,? "
)
_REFUSALS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bas an? (?:ai|artificial intelligence|large language|language|virtual assistant|"
        r"chatbot)\b[^.!?]{0,60}?"
        r"\b(?:can't|can not|cannot|unable|not able|don't have|do not have|not capable|not programmed|"
        r"won't|not comfortable)\b",
        r"^(?:i'm|i am) (?:just |only )?an? (?:ai|large language model|language model|virtual "
        r"assistant)\b[^.!?]{0,60}?"
        r"\b(?:can't|cannot|unable|not able|don't have|do not have)\b",
        r"\b(?:i'm|i am) (?:very |so |really )?sorry,? (?:but )?(?:i|as)\b[^.!?]{0,40}?"
        r"\b(?:can't|cannot|can not|am unable to|am not able to|won't|will not|'m unable to|'m not able "
        r"to)\b[^.!?]{0,20}?"
        r"\b(?:assist|help you with th|help with th|fulfil|comply|answer|generate|create|provide (?:that|"
        r"this|any|the|an?)"
        r" (?:information|content|answer|response|instructions?|advice)|do that|complete|engage|discuss|write)",
        rf"^(?:(?:i'm |i am )?(?:sorry|afraid),? (?:but )?|(?:i )?apologi[sz]e,? (?:but )?|my apologies,? "
        rf"(?:but )?|"
        rf"unfortunately,? )?(?:that )?i ?{_CANNOT} (?:help|assist)(?: you)? with (?:that|this|your|such|it)\b",
        rf"^(?:(?:i'm |i am )?(?:sorry|afraid),? (?:but )?|(?:i )?apologi[sz]e,? (?:but )?|my apologies,? "
        rf"(?:but )?|"
        rf"unfortunately,? )?(?:that )?i ?{_CANNOT} (?:fulfil\w*|comply with|complete|process|answer|respond "
        rf"to|provide|"
        r"discuss|generate|create|write) (?:that|this|your|the|such|any) ?(?:kind of |type of |sort of )?"
        r"(?:request|instructions?|task|question|information|content|text|topic|advice|material|one)\b",
        r"^(?:sorry,? (?:but )?|i'm afraid |i am afraid )?(?:i'm|i am) not (?:able|allowed|permitted|"
        r"comfortable) "
        r"(?:to )?(?:\w+ )?(?:help|assist|answer|discuss|writ|provid|do that|do this|shar|respond)",
        r"^(?:sorry|i apologi[sz]e)[^.!?]{0,40}\b(?:against|violates?) (?:my|our|the) (?:\w+ )?"
        r"(?:guidelines|polic(?:y|ies)|programming|principles)",
        r"^i (?:must|have to|will have to|need to|'m going to have to) (?:respectfully |politely "
        r")?(?:decline|refuse)\b",
        rf"^(?:(?:i'm |i am )?(?:sorry|afraid),? (?:but )?|unfortunately,? |regrettably,? )?i ?{_CANNOT} "
        rf"(?:provide|give|share|"
        r"create|generate|produce|write|offer)(?: you)?(?: with)? (?:\w+ ){0,3}(?:instructions?|information|"
        r"content|advice|"
        r"material|details|guidance|assistance|opinions?)\b",
        rf"^(?:that|this)(?:'s| is) (?:not )?(?:something|a (?:topic|request|question)) (?:that )?i ?{_CANNOT}",
        r"^i (?:do not|don't) feel comfortable\b",
        rf"^(?:{_APOLOGY})?(?:that )?i ?{_CANNOT} (?:in good conscience )?(?:do|answer|provide|comply with|"
        rf"share|discuss|help|assist|"
        r"say|tell you|offer|give|do) (?:you )?(?:with )?(?:that|this|it|so)(?: question| request)?[.!,]",
        rf"^(?:{_APOLOGY})[^.!?]{{0,30}}\bi ?(?:{_CANNOT}|(?:'m|am) not (?:permitted|allowed) to) (?:answer|"
        rf"provide|comply|assist|"
        r"help|fulfil\w*|share|discuss|access|complete|generate|offer|browse)\b",
        rf"^(?:{_APOLOGY})[^.!?]{{0,30}}\bi (?:don't|do not) have (?:enough information|access|the ability|"
        rf"real)",
        r"^(?:as|being) an? (?:ai|artificial intelligence|language model|chatbot|virtual "
        r"assistant)\b[^.!?]{0,25}, i "
        r"(?:do not|don't|cannot|can't|have no)\b",
        r"^(?:it|that) (?:would not be|wouldn't be|is not|isn't) (?:appropriate|ethical|right) (?:for me "
        r")?to\b",
        r"\bi cannot in good conscience\b|\bnot something (?:that )?i(?:'m| am) able to\b|^i(?:'m| am) an? "
        r"ai (?:and|so) (?:i )?can",
        r"(?:抱歉|对不起|不好意思)[^。！？]{0,10}(?:超出|不方便|不便)",
        r"(?:作为|身为|我[是只]*)一?[个名款]?(?:AI|人工智能|语言模型|大语言模型|智能助手)[^。！？]{0,30}?(?:无法|不能|没有|不会)",
        r"^[^。！？]{0,6}(?:抱歉|对不起|不好意思|很遗憾)[^。！？]{0,14}(?:无法|不能|没法|没办法|不可以|不便)[^。！？]{0,8}"
        r"(?:提供|回答|完成|满足|协助|帮助|帮|生成|讨论|处理|回应|执行|写)",
        r"^我(?:无法|不能|没有办法|没办法)(?:为[你您])?(?:提供|回答|完成|满足|协助|帮助|生成|讨论|回应)(?:[你您]|这|该|此|相关|任何|类似)",
        r"^(?:抱歉|对不起|不好意思|很遗憾)[^。！？]{0,20}(?:没有办法|没办法|无法|不能)[。！]",
        r"(?:这个|该|此)(?:问题|请求|要求)我(?:没办法|没有办法|无法|不能)(?:回答|完成|处理|满足)",
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
    if not holds_any(lowered(start), _REFUSING):
        return ""
    return start if any(pattern.search(start) for pattern in _REFUSALS) else ""


_GAP_WORDS = ("lorem", "todo", "tbd", "fixme")
_WHOLE_PLACEHOLDER = re.compile(
    r"\W*(?:n/?a|tbd|tba|todo\b.{0,40}|fixme\b.{0,40}|xxx+|asdf\w*|nan|null|undefined|placeholder(?: text)?|"
    r"lorem ipsum|no ?input|no ?output|"
    r"(?:model |final |sample |example |dummy |test )?(?:answer|response|output|text)(?: pending)?|blank|empty|"
    r"(?:answer|response)\s*:?\s*_+|待填|"
    r"(?:your|the|insert|add|write|enter|put)(?: \w+){0,2} (?:answer|response|output|text|content)(?: "
    r"(?:goes )?here)?|"
    r"(?:answer|response|output|text|content) (?:goes |to be (?:added|written|filled) ?)?(?:here|later|in)?|"
    r"to be (?:added|written|completed|determined|filled(?: in)?|done|announced)(?: later| soon)?|coming soon|"
    r"(?:no|missing) (?:answer|response|output|text)(?: (?:given|provided|yet|available))?|"
    r"#ref!|#n/a|#value!|#name\?|待补充|待填写|待定|待完善|暂无(?:回答|内容|答案|数据)?|此处填写.{0,8}|"
    r"(?:请|在此|在这里)(?:填写|输入|插入).{0,8}(?:答案|回答|内容|回复))\W*|"
    r"[.…?？。\-_*]+",
    re.IGNORECASE,
)
_PLACEHOLDERS = (
    (("lorem",), re.compile(r"\blorem ipsum dolor\b", re.IGNORECASE)),
    (
        ("insert", "add", "fill in", "put", "enter"),
        re.compile(
            r"[\[<{(](?:please )?(?:insert|add|fill in|put|enter)\b[^\])}>\n]{0,40}[\])}>]", re.IGNORECASE
        ),
    ),
    (
        ("填", "输入", "插入", "补充"),
        re.compile(
            r"[【\[<（(](?:请|在此|此处|在这里)?(?:填写|输入|插入|补充|填入)[^\]】>）)\n]{0,20}[】\]>）)]"
        ),
    ),
    (
        ("answer", "response", "output"),
        re.compile(r"[\[<{(](?:your|the) (?:answer|response|output)(?: here)?[\])}>]", re.IGNORECASE),
    ),
    (("todo", "tbd", "fixme"), re.compile(r"(?:\A\W*|^\s*(?:#|//)?\s*)(?:TODO|TBD|FIXME)\b", re.MULTILINE)),
    (("{{",), re.compile(r"\{\{\s*[A-Z]\w*(?: \w+){0,3}\s*\}\}")),
)
"""Words of which one stands in the text, in small letters, and what is looked for then."""
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
    found = next(filter(None, map(_gap, answers(conversation))), "")
    return "" if found and _ABOUT_PLACEHOLDERS.search(conversation.prompt) else found


def _gap(response: str) -> str:
    """The placeholder that a response is, or that stands in it."""
    response = response.strip()
    if 0 < len(response) < 80 and _WHOLE_PLACEHOLDER.fullmatch(response):
        return response
    if not (holds_any(response, "[<{(【（") or holds_any(lowered(response), _GAP_WORDS)):
        return ""
    text = without_code(response).strip()
    small = lowered(text)
    likely = (pattern for words, pattern in _PLACEHOLDERS if holds_any(small, words))
    found = next((match for pattern in likely if (match := pattern.search(text))), None)
    return found.group() if found else ""


# ---- damaged text -------------------------------------------------------------------------------------------------


@row_check(
    "accuracy",
    "error",
    title="Garbled characters",
    message="Rows with garbled characters: {count}. Row {row}: {example}",
    why="Text that was read in the wrong encoding (â€™ for ’, Ã© for é) teaches the model to write it so.",
    remedy="Repair the rows, or export the data again as UTF-8.",
    blind_spots="UTF-8 read in a one-byte encoding is found and repaired by ftfy; a single misread letter may not be, "
    "and other mix-ups of encodings, such as GBK for UTF-8, are not.",
    fix_title="Read the characters in the right encoding",
    fix=rewriting(repair_mojibake, *EVERYTHING),
    source="ftfy: Speer 2019, doi:10.5281/zenodo.2591652",
)
def mojibake(conversation: Conversation) -> str:
    for text in texts(conversation, *EVERYTHING):
        fixed = repair_mojibake(text)
        if fixed != text:
            at = next(i for i, (a, b) in enumerate(zip(text, fixed + "\0", strict=False)) if a != b)
            return text[max(0, at - 20) : at + 20]
    return ""


_LOST = ("\ufffd", "锟斤拷", "烫烫烫", "屯屯屯")


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
        mark = None if text.isascii() else next((mark for mark in _LOST if mark in text), None)
        if mark:
            at = text.index(mark)
            return text[max(0, at - 20) : at + 20]
    return ""


_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060-\u2064\ufeff\ufff9-\ufffb]|"
    "(?<=[A-Za-z])[\u200c\u200d](?=[A-Za-z])|"
    "(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"  # hidden letters; behind a black flag a real flag
)
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


def _without_controls(text: str) -> str:
    if text.replace("\n", "").replace("\t", "").replace("\r", "").isprintable():
        return text
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
            codes = set(text) - set(cleaned) or {c for c in text if not c.isprintable() and c not in "\n\r\t"}
            return " ".join(f"U+{ord(code):04X}" for code in sorted(codes) if not code.isprintable())
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
        if _any_is_unlike(conversations, group.tolist(), table["reply"][group].tolist()):
            flagged += group.tolist()
    return Flagged(conversations, flagged, lambda row: row.prompt)


def _any_is_unlike(conversations: Sequence[Conversation], group: list[int], replies: list[int]) -> bool:
    """As `_unlike_the_commonest`, but reads no more rows than it takes to find one. `replies`: their hashes."""
    usual = Counter(replies).most_common(1)[0][0]
    others = [position for position, reply in zip(group, replies, strict=True) if reply != usual]
    if not others:
        return False
    said = _reply(conversations[group[replies.index(usual)]])
    return any(not alike(_reply(conversations[position]), said) for position in others)


@row_check(
    "accuracy",
    "error",
    title="Wrong sum",
    message="Rows with a sum that is wrong: {count}. Row {row}: {example}",
    why="The model learns the wrong result.",
    remedy="Correct the sum, or drop the row.",
    blind_spots="Only numbers with signs or words between them, such as 6 x 4 + 1 = 25, 6 times 4 is 24, 6乘以4等于24; "
    "sums with brackets, powers or units, and rows about rounding, remainders or other number systems are not "
    "looked at.",
    fix_title="Drop the row",
    fix=drop,
)
def wrong_arithmetic(conversation: Conversation) -> str:
    for response in answers(conversation):
        found = wrong_sum(without_code(response), conversation.prompt)
        if found:
            return found
    return ""


@row_check(
    "accuracy",
    "warning",
    title="Response goes round in circles",
    message="Rows whose response says the same over and over: {count}. Row {row}: {example}",
    why="The model learns to fall into loops.",
    remedy="Shorten the response, or drop the row.",
    blind_spots="Loops of less than half the response, unless the end says the same five times in a row. "
    "Songs with many refrains may be flagged.",
    fix_title="Drop the row",
    fix=drop,
    source="Holtzman et al. 2019, 'The Curious Case of Neural Text Degeneration', arXiv:1904.09751",
)
def repetition(conversation: Conversation) -> str:
    thoughts = texts(conversation, "reasoning")
    return next(filter(None, map(_loop, (*conversation.responses, *thoughts))), "")


def _loop(text: str) -> str:
    """The four words that come back most often where most of a text repeats itself, or the piece its end repeats."""
    words: Sequence[str] = text.split()
    if len(words) < 50:
        words = text if len(text) > 100 and _UNSPACED.search(text) else ()
    # Where two words in five are new, no more than three in five can repeat
    if words and len(set(words)) < 0.4 * len(words) + 3 and not is_structured(text):
        grams = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
        repeated = sum(count - 1 for count in grams.values())
        if repeated > 0.6 * (len(words) - 3):
            return ("" if isinstance(words, str) else " ").join(grams.most_common(1)[0][0])
    return _loop_at_end(text)


_END = re.compile(r"(.{3,120}?)\1{4,}.{0,120}\Z", re.DOTALL)


def _loop_at_end(text: str) -> str:
    """What the end says five times in a row, if it is words: a model that ran on writes so."""
    tail = text[-900:].rstrip()
    if len(tail) < 30 or tail.count(tail[-6:]) < 5 or is_structured(text) or "|" in tail[-80:]:
        return ""
    found = _END.search(tail[-400:])
    return found.group(1).strip() if found and sum(map(str.isalpha, found.group(1))) >= 2 else ""
