"""Consistency: are the rows written in one way, without traces of where they came from?"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from studio.domain.chat import Conversation, Message
from studio.engine.checks.parts import answer, last_answer, last_turn, speaks, texts
from studio.engine.checks.registry import FENCED, drop, rewriting, row_check, without_code
from studio.engine.checks.text import (
    Marks,
    holds_any,
    is_latin,
    lowered,
    script_of,
    scripts_in,
)

# ---- white space --------------------------------------------------------------------------------------------------


def _is_diff(lines: Sequence[str]) -> bool:
    """Whether some lines go and others come, none of them an item of a list, and the rest is indented."""
    changed = [line for line in lines if line[0] in "+-"]
    both = {line[0] for line in changed} == {"+", "-"}
    return both and all(line[0] in " +-" for line in lines) and all(line[1:2] != " " for line in changed)


def _stripped(text: str) -> str:
    """Without space at both ends; an indented first line of code, or of a diff, keeps its indentation."""
    body = text.rstrip().lstrip("\r\n")
    if not body[:1].isspace():
        return body
    lines = [line for line in body.split("\n") if line.strip()]
    if len(lines) > 1 and (all(line[0] in " \t" for line in lines[:2]) or _is_diff(lines)):
        return body
    if len(lines) == 1 and body.startswith(("\t", "    ")):
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
    r"<(?:start|end)_of_turn>|^\s*<s>(?!.*</s>.)|</s>\s*$|(?<=[.!?。]) ?</s>|\[(?:PAD|BOS|EOS|UNK)\]"
)
_END = re.compile(r" ?</s>")
"""The end token of Llama 2, where no <s> before it makes it HTML."""
_STRUCK = re.compile(r"<s[\s>]")


_SPECIAL = (
    *("<|", "<｜", "INST]", "SYS>>", "<bos>", "<eos>", "<pad>", "<unk>", "_of_turn>", "s>", "###"),
    *("[PAD]", "[BOS]", "[EOS]", "[UNK]"),
)
"""One of these stands in every text that holds such a token."""
_SPECIAL_MARKS = Marks("<|inst]|###|[pad]|[bos]|[eos]|[unk]")
"""And one of these: in small letters, and looked for together with those of other checks."""


_WITHIN_EACH_OTHER = 4
"""So often tokens are removed that appear where others were."""


def _has_special(text: str) -> re.Match[str] | None:
    if not (_SPECIAL_MARKS.stand_in(text) and holds_any(text, _SPECIAL)):
        return None
    return _TOKEN.search(text) or _ALPACA_HEAD.search(text) or _end_in(text)


def _end_in(text: str) -> re.Match[str] | None:
    return None if _STRUCK.search(text) else _END.search(text)


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
    for _ in range(_WITHIN_EACH_OTHER):
        text = _TOKEN.sub("", _ALPACA_HEAD.sub("", text))
    if _end_in(text):
        text = _END.sub(" ", text)
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


# ---- further turns in a response ----------------------------------------------------------------------------------

_USER_HEAD = r"(?:(?:Human|User|HUMAN|USER|用户|人类)[ \t]?[:：]|user[ \t]*$)"
_ASSISTANT_HEAD = r"(?:(?:Assistant|ASSISTANT|AI|ChatGPT|助手|助理|AI助手)[ \t]?[:：]|assistant[ \t]*$)"
_USER_TURN = re.compile(rf"^[ \t]*{_USER_HEAD}", re.MULTILINE)
_ASSISTANT_TURN = re.compile(rf"^[ \t]*{_ASSISTANT_HEAD}[ \t]*\n?", re.MULTILINE)
_BEGINS_AS_TURN = re.compile(
    r"\s*(?:(?:Assistant|ASSISTANT|助手|AI助手)[ \t]?[:：]|assistant[ \t]*$)\s*", re.MULTILINE
)
_HEADS = Marks("human|user|用户|人类|assistant|ai:|ai：|bot|chatgpt|助手|助理")
_ABOUT_TALKS = re.compile(
    r"dialog|conversation|\bchat|interview|script|transcript|role-?play|\bskit\b|\bplay\b|scene|story|turns?\b|"
    r"对话|聊天|采访|剧本|角色|访谈",
    re.IGNORECASE,
)


def _further_turn(text: str) -> re.Match[str] | None:
    """Where a response begins with the mark of its own turn, or goes on with a turn of the user and an answer to it."""
    if not _HEADS.stand_in(text):
        return None
    if begins := _BEGINS_AS_TURN.match(text):
        return begins
    return _next_turn(text)


def _next_turn(text: str) -> re.Match[str] | None:
    """Where what is said has ended and the user speaks, whom the assistant answers; code is not looked at."""
    prose = FENCED.sub(lambda code: re.sub(r"[^\n]", " ", code.group()), text) if "```" in text else text
    begins = len(prose) - len(prose.lstrip())
    for asked in _USER_TURN.finditer(prose):
        before = prose[max(0, asked.start() - 100) : asked.start()]
        ended = asked.start() <= begins or before.endswith("\n\n")
        ended = ended or bool(_SAID.search(before.rstrip()[-5:]))
        if ended and _ASSISTANT_TURN.search(prose, asked.end()):
            return asked
    return None


_SAID = re.compile(r"[.!?。！？…][\"'”’)\]*]*$")


def _without_further_turns(conversation: Conversation) -> Conversation | None:
    """Each response ends where the next turn begins; the row is dropped where nothing stands before that."""
    changed = [
        replace(turn, content=_own_turn(turn.content)) if turn.role == "assistant" else turn
        for turn in conversation.messages
    ]
    if any(not speaks(new) and speaks(old) for new, old in zip(changed, conversation.messages, strict=True)):
        return None
    return replace(conversation, messages=tuple(changed))


def _own_turn(text: str) -> str:
    if not _further_turn(text):
        return text
    text = _BEGINS_AS_TURN.sub("", text, count=1) if _BEGINS_AS_TURN.match(text) else text
    asked = _next_turn(text)
    return (text[: asked.start()] if asked else text).strip()


@row_check(
    "consistency",
    "error",
    title="Further turns in the response",
    message="Rows whose response holds the marks of turns: {count}. Row {row}: {example}",
    why="A response that goes on with 'User:' and an answer to it teaches the model to talk to itself; one that begins "
    "with 'Assistant:' teaches it to write that.",
    remedy="End the response where the next turn begins, and remove the mark at its beginning.",
    blind_spots="Only the usual names of the two sides, in English and Chinese, at the beginning of a line. Rows whose "
    "prompt has such marks itself, or is about a dialogue or a story, are not looked at.",
    fix_title="End the response at the next turn",
    fix=_without_further_turns,
)
def further_turns(conversation: Conversation) -> str:
    found = next((match for text in conversation.responses if (match := _further_turn(text))), None)
    if found is None:
        return ""
    asked = f"{conversation.system}\n{conversation.prompt}"
    if _ABOUT_TALKS.search(asked) or _USER_TURN.search(asked) or _ASSISTANT_TURN.search(asked):
        return ""
    return found.group().strip()


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
    r"&(?:amp|lt|gt|quot|apos|nbsp|hellip|[mn]dash|[rl][sd]quo|[rl]aquo|bull|middot|copy|reg|trade|deg|euro|"
    r"pound|"
    r"times|[aeiouAEIOU](?:acute|grave|circ|uml)|[nao]tilde|[cC]cedil|szlig|#\d{2,5}|#x[0-9a-fA-F]{2,5});"
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
    if not (_TAG.search(text) or _ENTITY.search(text)):
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
    found = next((match for text in texts(conversation, "content") if (match := _markup_in(text))), None)
    return found.group() if found and not _is_markup(conversation) else ""


# ---- a mix of languages --------------------------------------------------------------------------------------------

_STRAY = re.compile(
    "[\u0400-\u052f]{2,}|[\u0590-\u05ff]{2,}|[\u0600-\u06ff]{2,}|[\u0900-\u0dff]{2,}|[\u0e00-\u0e7f]{2,}|"
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+|[\uac00-\ud7a3]+"
)
_LOOKALIKE = re.compile(
    "[A-Za-z][\u0400-\u04ff\u0391-\u03c9]+[A-Za-z]|[A-Za-z]{2}[\u0430-\u044f]|[\u0430-\u044f][A-Za-z]{2}"
)
_ENGLISH_RUN = re.compile(r"(?:(?<![A-Za-z])[a-z]{2,}(?:,? |(?![A-Za-z]))){3,}")
_SMALL_WORDS = re.compile(
    r"\b(?:the|and|of|to|is|are|it|you|them|with|some|more|then|before|for|that|this|very|again|in|on|a|we)\b"
)
_BORROWED = re.compile("[(（\\[「『“\"‘'《【«*_`]$")
_EXPLAINED = re.compile(r"[:：=/|]\s?$")
_NO_LETTER = re.compile(r"\s*(?:[^\w\s]|$)")
_FOREIGN_ASKED = re.compile(
    r"translat|languag|bilingual|interpret|\b(?:english|chinese|mandarin|japanese|korean|russian|arabic|"
    r"hebrew|hindi|"
    r"greek|thai|ukrainian|persian|kanji|hiragana|pinyin|cyrillic|alphabet|script|unicode|multilingual)\b|"
    r"翻译|译|英文|英语|中文|日语|日文|双语|俄语|韩语|单词|词汇"
)


@row_check(
    "consistency",
    "warning",
    title="Words of another language in the response",
    message="Rows whose response slips into another language: {count}. Row {row}: {example}",
    why="Models slip into another language for a word or two; trained on such text, they do it more often.",
    remedy="Write these words in the language of the response, or drop the row.",
    blind_spots="Told by the writing system: stray Spanish words in an English text are not found. Foreign words in "
    "brackets or quotation marks, and rows that are about a language, are let pass; so are more than a few "
    "such words, and "
    "English terms in a text of another writing system.",
    fix_title="Drop the row",
    fix=drop,
    source="Marchisio et al. 2024, 'Understanding and Mitigating Language Confusion in LLMs', arXiv:2406.20052",
)
def mixed_languages(conversation: Conversation) -> str:
    for response in conversation.responses:
        if is_latin(response):
            continue
        found = _stray_words(without_code(answer(response)), conversation)
        if found:
            return found
    return ""


def _stray_words(text: str, conversation: Conversation) -> str:
    """The words in a writing system that is neither the text's own nor that of what was asked."""
    found = [*_STRAY.finditer(text), *_LOOKALIKE.finditer(text)]
    if not found:
        return ""
    asked = f"{conversation.system}\n{conversation.prompt}"
    own = script_of(text)
    known = scripts_in(asked) | ({own, "kana", "han"} if own in ("han", "kana") else {own})
    if own is None or _FOREIGN_ASKED.search(lowered(asked)):
        return ""
    if own == "han" and "latin" not in known:
        found += [run for run in _ENGLISH_RUN.finditer(text) if len(_SMALL_WORDS.findall(run.group())) >= 2]
    stray = list(islice((match for match in found if _is_stray(match, known)), _FEW_STRAY + 1))
    return stray[0].group() if 0 < len(stray) <= _FEW_STRAY and not _any_borrowed(stray) else ""


_FEW_STRAY = 8
"""A text with more foreign words than these is about them, or in two languages."""


def _is_stray(match: re.Match[str], known: set[str | None]) -> bool:
    if match.re is not _STRAY:
        return True
    return script_of(match.group() * 10) not in known and match.group() not in ("の",)


def _any_borrowed(stray: Sequence[re.Match[str]]) -> bool:
    """Whether a foreign word is cited or explained on purpose: behind a bracket, a quotation mark or a colon."""
    return any(map(_is_borrowed, stray))


def _is_borrowed(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - 2) : match.start()]
    explained = _EXPLAINED.search(before) and _NO_LETTER.match(match.string, match.end())
    return bool(_BORROWED.search(before) or explained)
