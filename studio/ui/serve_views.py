"""A run's endpoint as HTML: how far it is, where it is, and how a program asks it. Pure functions."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from studio.domain.chat import Message
from studio.services.addresses import is_loopback
from studio.ui import live, views
from studio.ui.i18n import Words

if TYPE_CHECKING:
    from studio.services.endpoints import EndpointStatus

HELLO = (Message("user", "Hello!"),)
_LONGEST = 600
"""Letters of a prompt that stands in an example."""


def endpoint(say: Words, found: EndpointStatus | None, asking: Sequence[Message]) -> str:
    """What there is to say of an endpoint; `asking` is what the examples ask."""
    if found is None or found.state == "stopped":
        return ""
    if found.error is not None:
        return views.error(say, found.error)
    if found.state == "exporting":
        share = found.done / found.total if found.total else 0.0
        phase = escape(say("serve.exporting", phase=say(f"phase.{found.phase}")))
        return f'<p class="muted small export-phase">{phase}</p>{live.bar(say, share)}'
    if found.state == "starting":
        clock = live.clock(_passed(found.since), 1)
        return f'<p class="note" role="status">{escape(say("serve.starting"))} {clock}</p>'
    return _serving(say, found, asking)


def _serving(say: Words, found: EndpointStatus, asking: Sequence[Message]) -> str:
    asked = found.asked
    facts = [
        (say("serve.url"), asked.url),
        (say("serve.model"), asked.name),
        (say("serve.from"), found.export),
    ]
    shown = "".join(f'<dt>{escape(name)}</dt><dd class="mono">{escape(value)}</dd>' for name, value in facts)
    chip = f'<span class="chip chip-good live">{escape(say("serve.serving"))}</span>'
    ways = [
        live.fold(
            "serve-python", say("serve.python"), live.copyable(say, python(found, asking)), opened=True
        ),
        live.fold("serve-curl", "curl", live.copyable(say, curl(found, asking))),
        live.fold("serve-command", say("serve.command"), live.copyable(say, shlex.join(found.command))),
    ]
    local = is_loopback(asked.host)
    reach = say("serve.local") if local else say("serve.open", host=asked.host)
    note = escape(f"{say('serve.memory', size=views.size(found.bytes))} {reach}")
    kind = "" if local else " note-warn"
    return f'{chip}<dl class="serve-facts">{shown}</dl>{"".join(ways)}<p class="note{kind}">{note}</p>'


def python(found: EndpointStatus, asking: Sequence[Message]) -> str:
    """How OpenAI's client asks."""
    messages = ",\n        ".join(
        json.dumps({"role": message.role, "content": message.content}, ensure_ascii=False)
        for message in _short(asking)
    )
    return (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{found.asked.url}", api_key="none")  # no key is asked for\n'
        "answer = client.chat.completions.create(\n"
        f'    model="{found.asked.name}",\n'
        f"    messages=[\n        {messages},\n    ],\n)\n"
        "print(answer.choices[0].message.content)"
    )


def curl(found: EndpointStatus, asking: Sequence[Message]) -> str:
    """The same in a shell."""
    messages = [{"role": message.role, "content": message.content} for message in _short(asking)]
    body = json.dumps({"model": found.asked.name, "messages": messages}, ensure_ascii=False)
    header = '-H "Content-Type: application/json"'
    return f"curl {found.asked.url}/chat/completions {header} \\\n  -d {shlex.quote(body)}"


def _short(asking: Sequence[Message]) -> Sequence[Message]:
    """The messages, where they are fit for an example."""
    plain = all(message.role in ("system", "user") for message in asking)
    fits = sum(len(message.content) for message in asking) <= _LONGEST
    return asking if asking and plain and fits else HELLO


def _passed(since: str) -> float:
    begun = datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp() if since else time.time()
    return time.time() - begun
