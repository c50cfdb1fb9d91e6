"""Consistency: are the rows written in one way, without traces of where they came from?"""

from __future__ import annotations

import difflib
import html
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from studio.domain.chat import Conversation, Message
from studio.engine.checks.parts import last_answer, last_turn, speaks, texts
from studio.engine.checks.registry import Evidence, rewriting, row_check, set_check
from studio.engine.checks.text import is_json

# ---- white space --------------------------------------------------------------------------------------------------


def _stripped(text: str) -> str:
    """Without space at both ends; an indented first line of code keeps its indentation."""
    body = text.rstrip().lstrip("\r\n")
    lines = [line for line in body.split("\n") if line.strip()]
    if len(lines) > 1 and all(line[0] in " \t" for line in lines[:2]):
        return body
    return body.lstrip()


@row_check(
    "consistency",
    "info",
    title="Space at the ends",
    message="Rows with needless space at the beginning or end of a message: {count}.",
    why="A space at the end is a token of its own; the model learns to write it, or to wait for it.",
    remedy="Remove the space.",
    blind_spots="Space inside a text is left alone, because in code and tables it has a meaning; so are a tool's "
    "results and reasoning.",
    fix_title="Remove the space",
    fix=rewriting(_stripped, "content"),
)
def whitespace(conversation: Conversation) -> str:
    return next(("space" for text in texts(conversation, "content") if _stripped(text) != text), "")


# ---- special tokens -----------------------------------------------------------------------------------------------

_END_OF_TURN = re.compile(
    r"<\|(?:im_end|eot_id|end_of_text|endoftext|end|eom_id)\|>|</s>|<end_of_turn>|<eos>|<｜end▁of▁sentence｜>"
)
_TURN_HEAD = re.compile(
    r"<\|im_start\|>(?:system|user|assistant)?\n?|<\|start_header_id\|>\w*<\|end_header_id\|>\s*|"
    r"<start_of_turn>(?:user|model)?\n?|<\|(?:system|user|assistant)\|>\n?"
)
_INST = re.compile(r"(?:<s>\s*)?\[INST\].*?\[/INST\]\s*|<<SYS>>.*?<</SYS>>\s*", re.DOTALL)
_ALPACA_HEAD = re.compile(
    r"^###\s*(?:Instruction|Response|Input|Human|Assistant|User)\s*:[ \t]*\n?", re.MULTILINE
)
_TOKEN = re.compile(
    r"<\|[a-zA-Z_][a-zA-Z0-9_ ]{1,30}\|>|<｜[^｜\n]{1,30}｜>|\[/?INST\]|<</?SYS>>|<(?:bos|eos|pad|unk)>|"
    r"<(?:start|end)_of_turn>|^\s*<s>(?!.*</s>.)|</s>\s*$|(?<=[.!?。]) ?</s>"
)


def _has_special(text: str) -> re.Match[str] | None:
    if "<" not in text and "[" not in text and "###" not in text:
        return None
    return _TOKEN.search(text) or _ALPACA_HEAD.search(text)


def _without_special(conversation: Conversation) -> Conversation | None:
    """A response ends at its first end-of-turn token: what follows is another turn."""
    messages = [
        replace(message, content=_cleared(message), reasoning=_without_tokens(message.reasoning))
        for message in conversation.messages
    ]
    if speaks(last_turn(conversation)) and not any(speaks(m) for m in messages if m.role == "assistant"):
        return None
    return replace(conversation, messages=tuple(messages))


def _cleared(message: Message) -> str:
    text = message.content
    if not _has_special(text):
        return text
    if message.role == "assistant":
        text = _INST.sub("", text)
        before, *after = _END_OF_TURN.split(text)
        text = before if before.strip() else "".join(after)
    return _without_tokens(text).strip()


def _without_tokens(text: str) -> str:
    if not _has_special(text):
        return text
    text = _TURN_HEAD.sub("", text)
    while (cleared := _TOKEN.sub("", _ALPACA_HEAD.sub("", text))) != text:
        text = cleared
    return text.strip()


@row_check(
    "consistency",
    "error",
    title="Template tokens in the text",
    message="Rows with tokens of a chat template in their text: {count}. Row {row}: {example}",
    why="The template adds these tokens itself. In the text they end the turn too early or begin one that "
    "is not there.",
    remedy="Remove them.",
    blind_spots="Rows that are about such tokens are flagged as well. Tokens of unusual templates are not known.",
    fix_title="Remove the tokens, and what follows the end of a response",
    fix=_without_special,
)
def special_tokens(conversation: Conversation) -> str:
    looked_at = texts(conversation, "content", "result", "reasoning")
    found = next((match for text in looked_at if (match := _has_special(text))), None)
    return found.group().strip() if found else ""


# ---- HTML ---------------------------------------------------------------------------------------------------------

_TAG_NAMES = (
    "br|p|div|span|b|i|u|strong|em|a|ul|ol|li|td|th|tr|table|tbody|font|img|h[1-6]|"
    "script|style|center|section|blockquote"
)
_TAG = re.compile(
    rf"</?(?:{_TAG_NAMES})(?:\s+[a-zA-Z-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>]+))*\s*/?>", re.IGNORECASE
)
_DEAD = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK = re.compile(r"<br\s*/?>|</(?:p|div|li|tr|h[1-6])>", re.IGNORECASE)
_ENTITY = re.compile(
    r"&(?:amp|lt|gt|quot|apos|nbsp|#39|#x27|#34|hellip|mdash|ndash|rsquo|lsquo|ldquo|rdquo|eacute|uuml);"
)
_ABOUT_MARKUP = re.compile(
    r"html|xml|\btags?\b|markup|web ?(?:page|site)|css|javascript|\breact\b|\bvue\b|php|svg|\bdiv\b|"
    r"\bspan\b|entit|escap|"
    r"hyperlink|\bcode\b|script|browser|网页|标签|代码",
    re.IGNORECASE,
)


def _is_markup(conversation: Conversation) -> bool:
    """Whether HTML is what this row is about."""
    text = last_answer(conversation)
    if "```" in text or re.search(r"<!doctype|<html|<\?xml|<svg", text, re.IGNORECASE):
        return True
    return bool(_ABOUT_MARKUP.search(f"{conversation.system}\n{conversation.prompt}"))


def _markup_in(text: str) -> re.Match[str] | None:
    if "<" not in text and "&" not in text:
        return None
    prose = "\n".join(
        line for line in re.sub(r"`[^`\n]*`", "", text).split("\n") if not line.lstrip().startswith("|")
    )
    return _TAG.search(prose) or _ENTITY.search(prose)


def _without_markup(text: str) -> str:
    if not _markup_in(text):
        return text
    for _ in range(5):  # entities may be escaped more than once
        text = _TAG.sub("", _BREAK.sub("\n", _DEAD.sub("", text)))
        text = html.unescape(text).replace("\u00a0", " ")
        if not _markup_in(text):
            break
    return re.sub(r"\n{3,}", "\n\n", text).strip()


@row_check(
    "consistency",
    "warning",
    title="Leftovers of HTML",
    message="Rows with leftovers of HTML: {count}. Row {row}: {example}",
    why="Text that was copied from web pages teaches the model to write tags and &amp; into plain answers.",
    remedy="Remove the tags and write the entities as characters.",
    blind_spots="Rows whose prompt is about HTML or code are not looked at, nor are code blocks, tables, tool calls "
    "and results.",
    fix_title="Remove tags, decode entities",
    fix=rewriting(_without_markup, "content"),
)
def html_leftover(conversation: Conversation) -> str:
    if _is_markup(conversation):
        return ""
    found = next((match for text in texts(conversation, "content") if (match := _markup_in(text))), None)
    return found.group() if found else ""


# ---- formats and system prompts -----------------------------------------------------------------------------------

_ENOUGH_ROWS = 20
_MAJORITY = 0.8
_ASKS_FOR_FORMAT = re.compile(
    r"json|yaml|xml|csv|table|code|list|array|format|object|dictionary|表格|代码", re.IGNORECASE
)


@set_check(
    "consistency",
    "info",
    title="Responses in different formats",
    message="Rows whose response is in another format than most: {count}. Row {row}: {example}",
    why="Where nearly all responses are JSON with the same keys, the others make the format unreliable.",
    remedy="Write these responses in the format of the others. Leave them where the prompt asks for another format.",
    blind_spots="Only JSON against text, and the keys of JSON objects, in at least twenty rows of which "
    "four in five agree.",
)
def mixed_formats(conversations: Sequence[Conversation]) -> Evidence:
    shapes = [_shape(last_answer(conversation)) for conversation in conversations]
    counted = [shape for shape in shapes if shape]
    if len(counted) < _ENOUGH_ROWS:
        return {}
    shape, count = Counter(counted).most_common(1)[0]
    if count < _MAJORITY * len(counted) or shape == "text":
        return _stray_json(conversations, shapes) if shape == "text" else {}
    return {p: conversations[p].response for p, other in enumerate(shapes) if other and other != shape}


def _shape(response: str) -> str:
    """'text', or the keys of a JSON object."""
    if not response.strip():
        return ""
    if not is_json(response):
        return "text"
    value = json.loads(response)
    return "keys " + " ".join(sorted(value)) if isinstance(value, dict) else "list"


def _stray_json(conversations: Sequence[Conversation], shapes: Sequence[str]) -> dict[int, str]:
    stray = [p for p, shape in enumerate(shapes) if shape not in ("", "text")]
    unasked = [
        p
        for p in stray
        if not _ASKS_FOR_FORMAT.search(f"{conversations[p].system}\n{conversations[p].prompt}")
    ]
    if len(unasked) > 0.05 * len(shapes):
        return {}
    return {position: conversations[position].response for position in unasked}


def _typo_of(text: str, usual: str) -> bool:
    """Whether two prompts differ only in case, spaces, punctuation or a few letters of a word, not in a number."""
    words, usual_words = text.split(), usual.split()
    if re.findall(r"\d+", text) != re.findall(r"\d+", usual) or abs(len(words) - len(usual_words)) > 1:
        return False
    if re.sub(r"\W+", "", text.lower()) == re.sub(r"\W+", "", usual.lower()):
        return True
    if len(words) != len(usual_words) or len(words) < 4:
        return False
    changed = [(a, b) for a, b in zip(words, usual_words, strict=True) if a.lower() != b.lower()]
    return len(changed) <= 2 and all(
        min(len(a), len(b)) >= 4 and difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio() >= 0.75
        for a, b in changed
    )


def _usual_prompts(conversations: Sequence[Conversation]) -> dict[str, str]:
    """Rare system prompts that are a typo of a usual one, each with that one."""
    counts = Counter(conversation.system for conversation in conversations if conversation.system.strip())
    usual = [text for text, count in counts.most_common(20) if count >= 5]
    rare = [text for text in counts if text not in usual][:500]
    variants: dict[str, str] = {}
    for text in rare:
        near = next(
            (other for other in usual if counts[text] <= 0.2 * counts[other] and _typo_of(text, other)), None
        )
        if near is not None:
            variants[text] = near
    return variants


def _with_usual_prompt(
    conversations: Sequence[Conversation], evidence: Evidence
) -> dict[int, Conversation | None]:
    variants = _usual_prompts(conversations)
    repaired: dict[int, Conversation | None] = {}
    for position in evidence:
        conversation = conversations[position]
        others = [message for message in conversation.messages if message.role != "system"]
        first = next(message for message in conversation.messages if message.role == "system")
        system = replace(first, content=variants[conversation.system])
        repaired[position] = replace(conversation, messages=(system, *others))
    return repaired


@set_check(
    "consistency",
    "warning",
    title="System prompts that differ by a typo",
    message="Rows whose system prompt differs by a typo from the usual one: {count}. Row {row}: {example}",
    why="The model is asked with one system prompt later; rows with another one count less towards it.",
    remedy="Use the usual system prompt in all of them.",
    blind_spots="Prompts that differ in more than two words are taken for different on purpose.",
    fix_title="Use the usual system prompt",
    repair=_with_usual_prompt,
)
def system_prompt_variants(conversations: Sequence[Conversation]) -> Evidence:
    variants = _usual_prompts(conversations)
    return {
        p: conversation.system
        for p, conversation in enumerate(conversations)
        if conversation.system in variants
    }
