"""What choosing a chat template implies for a model: its tokens, what ends a turn, and what a row may hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from studio.domain.chat import Message, ToolCall
from studio.domain.errors import StudioError
from studio.domain.text import Text
from studio.engine.rendering import Renderer
from studio.engine.shipped_templates import SHIPPED, Shipped
from studio.engine.templates import Template, resolve
from studio.engine.tokenizer import Tokenizer

Treatment = Literal["written", "folded", "last", "refused", "ignored"]
"""What a template does with a part of a row. A system message is folded into the first user message; reasoning that is
written in the `last` turn only is left out of the turns before it."""

# Words that no template says of itself.
_SYSTEM, _QUESTION, _ANSWER, _THOUGHT, _EARLIER, _RESULT, _CITY, _NAME = (
    f"qz{word}" for word in ("system", "question", "answer", "thought", "earlier", "result", "city", "name")
)
_TOOL = (
    f'{{"type": "function", "function": {{"name": "{_NAME}", "description": "", "parameters": '
    '{"type": "object", "properties": {}}}}'
)
_ASKED = Message("user", _QUESTION)
_ONE_TURN = (_ASKED, Message("assistant", _ANSWER))
_WITH_SYSTEM = (Message("system", _SYSTEM), *_ONE_TURN)
_THOUGHTS = (
    *(_ASKED, Message("assistant", _ANSWER, reasoning=_EARLIER)),
    *(_ASKED, Message("assistant", _ANSWER, reasoning=_THOUGHT)),
)
_UNEVEN = (_ASKED, *_ONE_TURN)
_CALLED = (
    _ASKED,
    Message("assistant", "", tool_calls=(ToolCall(_NAME, f'{{"city": "{_CITY}"}}', "qzcall001"),)),
    Message("tool", _RESULT, name=_NAME, tool_call_id="qzcall001"),
    Message("assistant", _ANSWER),
)
_TAG = re.compile(r"<<?[/|]*\w+\|?>>?|\[/?[A-Z][A-Z_]+\]")


@dataclass(frozen=True)
class Marker:
    """What a template writes around messages, as this model reads it."""

    text: str
    tokens: int
    special: bool
    """Whether it is one of the model's control tokens."""

    @property
    def plain(self) -> bool:
        """Whether the model reads it as ordinary text, of several tokens."""
        return self.tokens != 1


@dataclass(frozen=True)
class Implications:
    """What a template means for one model. No token is ever added to the model's vocabulary."""

    template: Template
    markers: tuple[Marker, ...]
    ends: tuple[str, ...]
    """The tokens that end a turn, which are trained with it; none where no control token follows an answer."""
    opening: str
    """What a chat writes before the model answers."""
    opens: bool
    """Whether the template itself writes that when asked to."""
    system: Treatment
    tools: Treatment
    tool_calls: Treatment
    reasoning: Treatment
    alternation: bool
    """Whether user and assistant must take turns."""
    generation_marks: bool
    """Whether the template says itself what of it is the model's own."""


def implications(name: str, tokenizer: Tokenizer, source: str | None = None) -> Implications:
    """Found by trying the template on small conversations. StudioError where it is not there or takes no row at all."""
    template = resolve(name, tokenizer, source)
    renderer = Renderer(template, tokenizer)
    shape = renderer.shape
    one, called = _text(renderer, _ONE_TURN), _text(renderer, _CALLED, (_TOOL,))
    offered = _text(renderer, _ONE_TURN, (_TOOL,))
    system = _text(renderer, _WITH_SYSTEM)
    thoughts = _text(renderer, _THOUGHTS)
    shipped = SHIPPED.get(template.name)
    markers = _known(shipped, tokenizer) if shipped else _markers((one, system, thoughts, called), tokenizer)
    return Implications(
        template=template,
        markers=tuple(_marker(text, tokenizer) for text in markers),
        ends=shape.stops,
        opening=shape.header,
        opens=shape.generation_prompt,
        system=_system(system),
        tools=_treatment(offered, _NAME),
        tool_calls=_treatment(called, _CITY),
        reasoning="last"
        if thoughts and _THOUGHT in thoughts and _EARLIER not in thoughts
        else _treatment(thoughts, _EARLIER),
        alternation=one is not None and _text(renderer, _UNEVEN) is None,
        generation_marks=renderer.marked,
    )


def explained(found: Implications) -> list[Text]:
    """The implications as sentences, those first that every reader needs."""
    plain = [marker for marker in found.markers if marker.plain]
    known = [marker for marker in found.markers if not marker.plain]
    said = []
    if known:
        said.append(Text("Tokens of this model: {markers}.", {"markers": _listed(known)}))
    if plain:
        said.append(
            Text(
                "Plain text to this model, which has to learn what it means: {markers}.",
                {"markers": ", ".join(f"{marker.text} ({marker.tokens})" for marker in plain)},
            )
        )
    said.append(Text("No token is added to the vocabulary, so no new embedding has to be trained."))
    if found.ends:
        ends = {"ends": ", ".join(found.ends)}
        said.append(Text("A turn ends with {ends}, which the model learns to write.", ends))
    else:
        said.append(Text("No control token ends a turn: the model would not learn to stop."))
    if not found.opens:
        said.append(Text("It opens no turn for the model; the studio does, as the training text does."))
    said += [_SENTENCES[key] for key in _keys(found) if key in _SENTENCES]
    return said


_SENTENCES: dict[tuple[str, str], Text] = {
    ("system", "folded"): Text("A system message is written into the first user message."),
    ("system", "refused"): Text(
        "It refuses a system message: the studio puts it in front of the first user message and names the rows."
    ),
    ("system", "ignored"): Text(
        "It leaves a system message out: the studio puts it in front of the first user message and names the rows."
    ),
    ("tools", "refused"): Text("It refuses tools: rows that offer some are left out."),
    ("tools", "ignored"): Text("It leaves tools out: the model does not see which it may call."),
    ("tool_calls", "refused"): Text("It refuses tool calls: rows with some are left out."),
    ("tool_calls", "ignored"): Text("It leaves tool calls out: the rows that have some are named."),
    ("reasoning", "refused"): Text("It refuses reasoning: rows with some are left out."),
    ("reasoning", "ignored"): Text("It leaves reasoning out: only answers are learnt."),
    ("reasoning", "last"): Text(
        "It writes the reasoning of the last turn only; that of earlier turns is left out."
    ),
    ("alternation", "required"): Text(
        "User and assistant must take turns: the studio joins messages of one role and names the rows."
    ),
    ("generation", "marked"): Text("It marks the model's own words itself, and these are trained."),
}


def _keys(found: Implications) -> list[tuple[str, str]]:
    keys: list[tuple[str, str]] = [
        ("system", found.system),
        ("tools", found.tools),
        ("tool_calls", found.tool_calls if found.tools != "refused" else ""),
        ("reasoning", found.reasoning),
        ("alternation", "required" if found.alternation else ""),
        ("generation", "marked" if found.generation_marks else ""),
    ]
    return keys


def _listed(markers: Sequence[Marker]) -> str:
    return ", ".join(marker.text for marker in markers)


def _text(renderer: Renderer, messages: Sequence[Message], tools: Sequence[str] = ()) -> str | None:
    """None where the template refuses the messages."""
    try:
        return renderer.text(messages, tools)
    except StudioError:
        return None


def _treatment(text: str | None, word: str) -> Treatment:
    return "refused" if text is None else "written" if word in text else "ignored"


def _system(text: str | None) -> Treatment:
    treatment = _treatment(text, _SYSTEM)
    if text is None or treatment != "written":
        return treatment
    between = text[text.find(_SYSTEM) + len(_SYSTEM) : text.find(_QUESTION)]
    return "written" if between.strip() else "folded"


def _known(shipped: Shipped, tokenizer: Tokenizer) -> list[str]:
    """Without the template's own end token where the model's stands for it."""
    return [text for text in shipped.markers if text != shipped.end_of_turn or text in tokenizer.special]


def _markers(texts: Sequence[str | None], tokenizer: Tokenizer) -> list[str]:
    """Tokens and tags in what a template wrote, in the order in which they come."""
    found: dict[str, None] = {}
    for text in texts:
        special = tokenizer.special_pattern
        found.update(dict.fromkeys(special.findall(text or "") if special else ()))
        rest = special.sub(" ", text or "") if special else text or ""
        found.update(dict.fromkeys(_TAG.findall(rest)))
    return list(found)


def _marker(text: str, tokenizer: Tokenizer) -> Marker:
    return Marker(text, len(tokenizer.encode([text])[0].ids), text in tokenizer.special)
