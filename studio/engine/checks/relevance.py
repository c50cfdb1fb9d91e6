"""Relevance: does the response belong to what was asked, in the language and by the side it should?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from studio.domain.chat import Conversation, Message
from studio.engine.checks.parts import answers, is_blank
from studio.engine.checks.registry import drop, row_check, without_code
from studio.engine.checks.text import (
    LANGUAGE_ASKED,
    Marks,
    are_sisters,
    identified,
    is_latin,
    is_plainly_english,
    is_structured,
    language_of,
    lowered,
    script_of,
    scripts_in,
)


@row_check(
    "relevance",
    "error",
    title="Empty prompt",
    message="Rows with an empty prompt: {count}.",
    why="A response to nothing teaches the model to say it at random.",
    remedy="Write the prompt, or drop the row.",
    blind_spots="A prompt that says nothing in many words.",
    fix_title="Drop the row",
    fix=drop,
)
def empty_prompt(conversation: Conversation) -> str:
    if conversation.plain:
        return ""
    users = [message.content for message in conversation.messages if message.role == "user"]
    return "empty" if not users or any(map(is_blank, users)) else ""


@row_check(
    "relevance",
    "warning",
    title="Response in another language",
    message="Rows whose response is in another language than the prompt, or than it asks for: {count}. Row {row}: "
    "{example}",
    why="The model learns to change the language unasked.",
    remedy="Translate the response, or drop the row. Where the change is wanted, say so in the prompt.",
    blind_spots="Texts of fewer than about six words, and languages that are close, such as Malay and Indonesian, are "
    "not told apart. Of prompts that mention a language or a translation only plain demands are looked at, such as "
    "'Answer in French'.",
    fix_title="Drop the row",
    fix=drop,
    source="Small words first, then py3langid: Lui and Baldwin 2012, 'langid.py: An Off-the-shelf Language "
    "Identification Tool'",
)
def wrong_language(conversation: Conversation) -> str:
    said = (_foreign(conversation, without_code(response)) for response in answers(conversation))
    return next(filter(None, said), "")


def _foreign(conversation: Conversation, response: str) -> str:
    """The response, where it is in another language than the prompts, or than they ask for."""
    prompt = conversation.prompt
    if _DEMANDS.stand_in(prompt) and (wanted := _demanded(prompt)):
        return "" if is_structured(response) or _speaks(response, wanted) else response
    if is_plainly_english(prompt) and is_plainly_english(response) and is_latin(response):
        return ""
    if is_structured(response) or not _in_another(conversation, prompt, response):
        return ""
    asked = f"{conversation.system}\n{prompt}"
    return "" if LANGUAGE_ASKED.search(lowered(asked)) else response


_BY_ENGLISH_NAME = {
    **dict.fromkeys(("english", "french", "german", "spanish", "italian", "portuguese"), "latin"),
    "chinese": "han",
    "mandarin": "han",
    "japanese": "kana",
    "korean": "hangul",
    "russian": "cyrillic",
    "ukrainian": "cyrillic",
    "arabic": "arabic",
    "hindi": "devanagari",
}
_BY_CHINESE_NAME = {
    **dict.fromkeys(("英", "法", "德", "西班牙"), "latin"),
    "中": "han",
    "汉": "han",
    "日": "kana",
    "韩": "hangul",
    "俄": "cyrillic",
}
_SCRIPTS = {**_BY_ENGLISH_NAME, **_BY_CHINESE_NAME}
"""Languages that can be demanded, and the script that each is written in."""
_IN_ENGLISH, _IN_CHINESE = "|".join(_BY_ENGLISH_NAME), "|".join(_BY_CHINESE_NAME)
_DEMAND = re.compile(
    r"(?:^|[.!?,:;\n]\s*|\bplease )(?:please )?"
    r"(?:(?:answer|reply|respond|translate)\b(?:(?![.!?\n\"“«]|\b(?:from|and)\b).){0,80}?\b(?:in|into|to)"
    r"|(?:write|explain|describe|summari[sz]e)(?: (?:it|this))? in)"
    rf" ({_IN_ENGLISH})(?= ?(?:[.,:;!?\n]|$|please|only))"
    rf"|[用以]({_IN_CHINESE})[语文]来?(?:回答|回复|解释|说明|描述|介绍|总结|写)|[译翻](?:译)?[成为]({_IN_CHINESE})[语文]",
    re.IGNORECASE,
)
_DEMANDS = Marks("|".join(_SCRIPTS))


def _demanded(prompt: str) -> str:
    """The language in which the prompt plainly demands its response, or '' where it demands none or several.

    >>> _demanded("Answer in French: what is bread?"), _demanded("Who writes in French cafés?")
    ('french', '')
    """
    found = {"".join(match).lower() for match in _DEMAND.findall(prompt)}
    return found.pop() if len(found) == 1 else ""


def _speaks(response: str, wanted: str) -> bool:
    """Whether a response may be in the language: false only where it plainly is in another."""
    if script_of(response) is None:
        return True
    script = _SCRIPTS[wanted]
    if script not in scripts_in(response):
        return False
    if script != "latin" or wanted in ("english", "英") or _QUOTED.search(response):
        return True
    return not all(map(is_plainly_english, filter(None, map(str.strip, response.split("\n")))))


_QUOTED = re.compile('["“”«»‘「]|: ')
"""What a translation stands in that is given with words about it."""


def _in_another(conversation: Conversation, prompt: str, response: str) -> bool:
    """Whether the response is in a script or a language in which the prompt is not."""
    script = script_of(response)
    if script is None:
        return False
    if script == "kana" and script_of(prompt) == "han" and "kana" not in _exactly(prompt):
        return True
    if script not in scripts_in(f"{conversation.system}\n{prompt}"):
        return script_of(prompt) is not None
    if script in ("latin", "cyrillic", "arabic", "devanagari"):
        return _speaks_another(prompt, response)
    return False


def _exactly(text: str) -> set[str]:
    """The scripts in a text with Chinese characters and kana told apart."""
    return scripts_in(text) - ({"kana"} if not _KANA.search(text) else set())


_KANA = re.compile("[\u3040-\u30ff]")


def _speaks_another(prompt: str, response: str) -> bool:
    """Whether small words, or where they say nothing the letters, tell of two languages."""
    spoken = language_of(response, words_needed=6)
    if spoken and spoken == language_of(prompt):
        return False
    heard = {language_of(line) for line in (prompt, *prompt.split("\n"))} - {None}
    if any(map(is_plainly_english, _SENTENCE.split(prompt))):
        heard.add("English")
    if spoken and heard:
        return spoken not in heard
    if spoken == "English" and prompt.isascii() and len(prompt.split()) < _WORDS_TO_IDENTIFY:
        return False
    return _letters_tell_of_another(prompt, response, heard == {"English"})


_WORDS_TO_IDENTIFY = 6


_SENTENCE = re.compile(r"(?<=[.!?:])\s|\n")


def _letters_tell_of_another(prompt: str, response: str, asked_in_english: bool) -> bool:
    lines = [line for line in (prompt, *prompt.split("\n")) if len(line.split()) >= 4]
    if len(response.split()) < _WORDS_TO_IDENTIFY or not lines or len(lines) > 20:
        return False
    plainly_english = is_plainly_english(response)
    if asked_in_english:
        return not plainly_english and _identified_reply(response) not in (None, "en")
    heard = {one for line in lines if (one := identified(line, sure=0.0))}
    if identified(prompt, sure=0.6) is None or (plainly_english and "en" in heard):
        return False
    spoken = _identified_reply(response)
    return spoken is not None and not any(are_sisters(spoken, one) for one in heard)


def _identified_reply(response: str) -> str | None:
    """The language of a response; it takes a millisecond, so it is asked last."""
    spoken = identified(response, sure=0.8)
    return None if spoken == "la" else spoken  # Latin is nearly always "lorem ipsum"


_MAY_FOLLOW = {"user": ("assistant",), "assistant": ("user", "tool"), "tool": ("assistant", "tool")}


def _in_turn(messages: Sequence[Message]) -> bool:
    """Whether a question comes first, a response last, and sides alternate.

    Rows with a question and no response at all are left to `empty_response`.
    """
    roles = [message.role for message in messages]
    if "assistant" not in roles and "user" in roles:
        return True
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or "system" in turns or turns[0] != "user" or turns[-1] != "assistant":
        return False
    return all(after in _MAY_FOLLOW[before] for before, after in pairwise(turns))


def _in_order(conversation: Conversation) -> Conversation | None:
    """Without turns before the first question and after the last answer, and with turns of the same side joined."""
    messages = _joined(conversation.messages)
    start = 1 if messages and messages[0].role == "system" else 0
    system, turns = messages[:start], messages[start:]
    while turns and turns[0].role != "user":
        turns = turns[1:]
    while turns and turns[-1].role != "assistant":
        turns = turns[:-1]
    mended = replace(conversation, messages=tuple(system + turns))
    return mended if turns and _in_turn(mended.messages) else None


def _joined(messages: Sequence[Message]) -> list[Message]:
    joined: list[Message] = []
    for message in messages:
        if joined and _can_join(joined[-1], message):
            joined[-1] = _join(joined[-1], message)
        else:
            joined.append(message)
    return joined


def _can_join(first: Message, second: Message) -> bool:
    """Whether two turns of the same side can be one without a change of order in it: thoughts, words, then calls."""
    if first.role != second.role or first.role == "tool" or first.name != second.name:
        return False
    if first.tool_calls and (second.content.strip() or second.reasoning):
        return False
    return not (first.content.strip() and second.reasoning)


def _join(first: Message, second: Message) -> Message:
    return replace(
        first,
        content=_one_after_the_other(first.content, second.content),
        trained=first.trained and second.trained,
        reasoning=_one_after_the_other(first.reasoning, second.reasoning),
        tool_calls=(*first.tool_calls, *second.tool_calls),
    )


def _one_after_the_other(first: str, second: str) -> str:
    return f"{first}\n\n{second}" if first and second else first or second


@row_check(
    "relevance",
    "error",
    title="Question without an answer",
    message="Rows with a question that nobody answers: {count}. Row {row}: {example}",
    why="Chat templates expect an answer to each question; what is asked in vain is read but teaches nothing, and many "
    "templates refuse it.",
    remedy="Write the answer, or take the question out.",
    blind_spots="An answer that is there but does not answer. A row without any response counts as an empty response.",
    fix_title="Join questions that follow each other; remove what follows the last answer",
    fix=_in_order,
)
def unanswered(conversation: Conversation) -> str:
    roles = [message.role for message in conversation.messages]
    if "assistant" not in roles:
        return ""
    followers = (*roles[1:], "user")
    alone = (
        at for at, (role, after) in enumerate(zip(roles, followers, strict=True)) if role == after == "user"
    )
    at = next(alone, None)
    return "" if at is None else conversation.messages[at].content.strip() or "user"


@row_check(
    "relevance",
    "error",
    title="Turns out of order",
    message="Rows whose turns are out of order: {count}. Row {row}: {example}",
    why="Chat templates expect user and assistant in turn and a response at the end; many refuse anything else.",
    remedy="Put the turns in order.",
    blind_spots="Turns that alternate but were given to the wrong side. Whether a tool's result answers a call is "
    "asked when the file is read.",
    fix_title="Join turns of the same side; remove those before the first question and after the last answer",
    fix=_in_order,
)
def role_order(conversation: Conversation) -> str:
    messages = conversation.messages
    if conversation.plain or _in_turn(messages) or _in_turn(_without_unanswered(messages)):
        return ""
    return ", ".join(message.role for message in messages) or "–"


def _without_unanswered(messages: Sequence[Message]) -> list[Message]:
    """Without questions before another question or at the end, which are a finding of their own."""
    followers = (*messages[1:], None)
    pairs = zip(messages, followers, strict=True)
    return [a for a, b in pairs if a.role != "user" or (b is not None and b.role != "user")]
