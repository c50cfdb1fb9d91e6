"""One conversation as HTML: what was said, thought and called, and what the tools gave back; every text is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape

from studio.domain.chat import Conversation, Message, ToolCall
from studio.engine.checks.parts import answer, last_answer, last_turn
from studio.ui import views
from studio.ui.i18n import Words

CLIPPED = 160
"""Characters of a prompt or response in the table; the whole stands in the opened row."""
LONGEST = 20_000
"""Characters of one text in an opened row; a browser lays out no more at ease."""
_ONE_LINE = 80
"""Characters of a call's arguments that stay on its line."""


def clipped(text: str) -> str:
    """The beginning of a text as one line."""
    flat = " ".join(text[: CLIPPED * 4].split())
    return escape(flat[:CLIPPED] + ("…" if len(flat) > CLIPPED or len(text) > CLIPPED * 4 else ""))


def reply(say: Words, shown: Conversation) -> str:
    """A row's response in the table: what the last turn says and calls, with a mark of what else is in the row."""
    last = last_turn(shown)
    said = [clipped(last_answer(shown))] if last_answer(shown).strip() else []
    said += [f"<code>{clipped(_call(call))}</code>" for call in (last.tool_calls if last else ())]
    calls = sum(len(message.tool_calls) for message in shown.messages)
    thoughts = any(
        m.reasoning or answer(m.content) != m.content for m in shown.messages if m.role == "assistant"
    )
    marks = [views.chip("info", say("data.mark.calls", count=calls))] if calls else []
    marks += [views.chip("info", say("data.mark.reasoning"))] if thoughts else []
    return " ".join([*marks, *said])


def turns(say: Words, shown: Conversation) -> str:
    """The whole conversation, with the tools that the model may call."""
    return (
        f'<div class="turns">{_tools(say, shown.tools)}{"".join(_turn(say, m) for m in shown.messages)}</div>'
    )


def _turn(say: Words, message: Message) -> str:
    notes = [] if message.trained else [say("data.untrained")]
    notes += [note for note in (message.name, message.tool_call_id) if note]
    beside = "".join(f' <span class="muted">{escape(note)}</span>' for note in notes)
    role = f'<span class="role">{escape(say(f"role.{message.role}"))}{beside}</span>'
    return f'<div class="turn turn-{message.role}">{role}<div class="said">{"".join(_said(say, message))}</div></div>'


def _said(say: Words, message: Message) -> Iterable[str]:
    if message.reasoning:
        yield _thought(say, "data.reasoning", message.reasoning)
    spoken = answer(message.content) if message.role == "assistant" else message.content
    if spoken != message.content:
        yield _thought(say, "data.reasoning.inline", message.content[: len(message.content) - len(spoken)])
        spoken = spoken.lstrip("\n")
    if message.role == "tool" and spoken:
        yield _code(say, escape(spoken[:LONGEST]), len(spoken) - LONGEST)
    elif spoken.strip() or not (message.reasoning or message.tool_calls):
        blank = f"<i>{escape(say('data.blank'))}</i>"
        yield (escape(spoken[:LONGEST]) or blank) + _more(say, len(spoken) - LONGEST)
    for call in message.tool_calls:
        label, text = f"{say('data.call')} {call.id}".strip(), _call(call)
        yield f'<span class="muted small">{escape(label)}</span>' + _code(
            say, escape(text[:LONGEST]), len(text) - LONGEST
        )


def _call(call: ToolCall) -> str:
    """A call as one would write it in a program; long arguments get a line each."""
    arguments = json.dumps(json.loads(call.arguments), ensure_ascii=False)
    if len(arguments) > _ONE_LINE:
        arguments = json.dumps(json.loads(call.arguments), ensure_ascii=False, indent=2)
    return f"{call.name}({'' if arguments == '{}' else arguments})"


def _thought(say: Words, key: str, text: str) -> str:
    said = escape(text[:LONGEST]) + _more(say, len(text) - LONGEST)
    return (
        f'<details class="fold"><summary>{escape(say(key, count=views.count(len(text))))}</summary>'
        f'<div class="muted">{said}</div></details>'
    )


def _tools(say: Words, tools: tuple[str, ...]) -> str:
    if not tools:
        return ""
    described = [json.loads(tool) for tool in tools]
    names = ", ".join(_name(tool) for tool in described)
    text = "\n".join(json.dumps(tool, ensure_ascii=False, indent=2) for tool in described)
    return (
        f'<details class="fold"><summary>{escape(say("data.tools", names=names))}</summary>'
        f"{_code(say, escape(text[:LONGEST]), len(text) - LONGEST)}</details>"
    )


def _name(tool: object) -> str:
    """The name of a tool in OpenAI's shape, or its kind where it has none."""
    if not isinstance(tool, dict):
        return "?"
    function = tool.get("function")
    return str((function.get("name") if isinstance(function, dict) else None) or tool.get("type") or "?")


def _code(say: Words, code: str, more: int) -> str:
    return f'<pre class="code">{code}</pre>{_more(say, more)}'


def _more(say: Words, count: int) -> str:
    if count <= 0:
        return ""
    return f'<p class="muted small">{escape(say("data.longer", count=views.count(count)))}</p>'
