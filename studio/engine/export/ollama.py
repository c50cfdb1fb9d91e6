"""An Ollama Modelfile: the GGUF file, the run's chat template in Go's language, and where an answer ends.

A template is translated by what it writes around messages. The translation is held against the template itself on talks
that differ in their roles; where one comes out differently, none is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.domain.chat import Message, Role
from studio.domain.errors import StudioError
from studio.engine.tuned import TunedRun

_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_TALKS: tuple[tuple[Role, ...], ...] = (
    ("user",),
    ("system", "user"),
    ("user", "assistant", "user"),
    ("system", "user", "assistant", "user", "assistant", "user"),
)
_MARKS = ("\ue000", "\ue001", "\ue002")
"""Stand for contents: private-use characters, which no template writes."""


@dataclass(frozen=True)
class Turns:
    """What a template writes around the messages of a talk that ends with the user."""

    start: str
    """Before everything."""
    without_system: str
    """Instead of a system message where there is none."""
    opened: dict[Role, str]
    closed: dict[Role, str]
    answer: str
    """What the model goes on from."""
    bos: str
    """The first token, where llama.cpp puts it there by itself."""

    def written(self, messages: Sequence[Message]) -> str:
        """A talk as the translation renders it."""
        parts = [self.start]
        if messages[0].role != "system":
            parts.append(self.without_system)
        for message in messages:
            parts += [self.opened[message.role], message.content, self.closed[message.role]]
        return "".join([*parts, self.answer])

    def in_go(self) -> str:
        """The same as a Go template over Ollama's .Messages."""
        first = f'{{{{ if ne (index .Messages 0).Role "system" }}}}{_go(self.without_system)}{{{{ end }}}}'
        role = "".join(
            f'{{{{ {"if" if place == 0 else "else if"} eq .Role "{role}" }}}}'
            f"{_go(self.opened[role])}{{{{ .Content }}}}{_go(self.closed[role])}"
            for place, role in enumerate(_ROLES)
        )
        return (
            f"{_go(self.start.removeprefix(self.bos))}{first if self.without_system else ''}"
            f"{{{{ range .Messages }}}}{role}{{{{ end }}}}{{{{ end }}}}{_go(self.answer)}"
        )


def _go(text: str) -> str:
    """A text as a Go string in braces: no white space of it can be trimmed."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""


def translated(run: TunedRun) -> Turns | None:
    """What the run's template writes around messages; None where that depends on more than their roles."""
    try:
        turns = _read(run)
    except (ValueError, StudioError):
        return None
    for roles in _TALKS:
        messages = [Message(role, f"{role} says {place}.\nSo.") for place, role in enumerate(roles)]
        if turns.written(messages) != _rendered(run, messages):
            return None
    return turns


def _rendered(run: TunedRun, messages: Sequence[Message]) -> str:
    return run.encoder.renderer.prompt(messages).text


def _read(run: TunedRun) -> Turns:
    """What stands between contents that are told apart. ValueError where a content is not written as it is."""

    def between(*roles: Role) -> list[str]:
        marked = [Message(role, mark) for role, mark in zip(roles, _MARKS, strict=False)]
        rest, parts = _rendered(run, marked), []
        for message in marked:
            part, rest = rest[: rest.index(message.content)], rest[rest.index(message.content) + 1 :]
            parts.append(part)
        return [*parts, rest]

    before, ended = between("user")
    opening, system_ended, _ = between("system", "user")
    _, asked, answered, _ = between("user", "assistant", "user")
    unasked = run.encoder.renderer.text([Message("user", _MARKS[0])]).partition(_MARKS[0])[2]
    closed_user = _common_start(ended, asked, unasked)
    bos = run.tokenizer.named.get("bos_token", "") if run.tokenizer.adds_bos else ""
    open_user = _common_end(before, system_ended, answered).removeprefix(closed_user)
    start = _common_start(before.removesuffix(open_user), opening)
    return Turns(
        start=start,
        without_system=before.removesuffix(open_user).removeprefix(start),
        opened={
            "system": opening.removeprefix(start),
            "user": open_user,
            "assistant": asked.removeprefix(closed_user),
        },
        closed={
            "system": system_ended.removesuffix(open_user),
            "user": closed_user,
            "assistant": answered.removesuffix(open_user),
        },
        answer=ended.removeprefix(closed_user),
        bos=bos,
    )


def _common_start(*texts: str) -> str:
    columns = enumerate(zip(*texts, strict=False))
    shortest = min(texts, key=len)
    return shortest[: next((place for place, letters in columns if len({*letters}) > 1), len(shortest))]


def _common_end(*texts: str) -> str:
    return _common_start(*(text[::-1] for text in texts))[::-1]


def modelfile(run: TunedRun, gguf_name: str) -> str:
    """The text of a Modelfile beside the GGUF file."""
    turns = translated(run)
    lines = [f"# ollama create {model_tag(run.name)} -f Modelfile", f"FROM ./{gguf_name}"]
    if turns is None:
        lines += [
            "# The run's chat template is not written here, as it does more than put texts around messages. It is in",
            "# the GGUF file: Ollama uses that where it knows the template, and else gives the model the bare prompt.",
        ]
    else:
        lines.append(f'TEMPLATE """{turns.in_go()}"""')
    stops = [run.tokenizer.backend.id_to_token(stop_id) for stop_id in run.stop_ids]
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops]
    return "\n".join(lines) + "\n"


def write_modelfile(run: TunedRun, folder: Path, gguf_name: str) -> None:
    """Beside the GGUF file, which it names."""
    (folder / "Modelfile").write_text(modelfile(run, gguf_name), encoding="utf-8")


def model_tag(name: str) -> str:
    """A run's name as Ollama takes it.

    >>> model_tag("My Run (2)")
    'my-run-2'
    """
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "tuned"
