"""Preference data: of two answers the chosen one, as the turns of a conversation; the rejected one is not learnt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from studio.engine.fields import Unconvertible, as_list, field, key_of, text_of

CHOSEN = "chosen"
PROMPTS = ("prompt", "question", "instruction", "query", "input", "messages", "conversations", "conversation")
_INPUT = "input"
_SPEAKER = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ ]?")
"""How Anthropic's hh-rlhf parts turns (Bai et al. 2022, arXiv:2204.05862)."""

Turns = list[Any]


def preferred_turns(record: Mapping[str, Any]) -> Turns:
    """The turns up to and with the chosen answer, as OpenAI or ShareGPT write them. Raises Unconvertible.

    The chosen answer is text, one turn or a list of turns; the list may begin with the prompt's turns, and so may a
    text with Anthropic's "Human:" and "Assistant:".

    >>> preferred_turns({"chosen": "\\n\\nHuman: q\\n\\nAssistant: a", "rejected": "b"})
    [{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'a'}]
    """
    key = key_of(record, CHOSEN)
    if key is None:
        raise _missing(CHOSEN)
    chosen, asked = _turns(record[key], key, "assistant"), _asked(record)
    if _begins_itself(chosen):
        return chosen
    if not asked:
        raise _missing("prompt")
    return [*asked, *chosen]


def _missing(name: str) -> Unconvertible:
    return Unconvertible("Row {row} ({place}): its field {name} is missing.", "missing_field", name=name)


def _asked(record: Mapping[str, Any]) -> Turns:
    """The prompt's turns; an instruction and its input are one."""
    key = key_of(record, *PROMPTS)
    if key is None or record[key] is None:
        return []
    turns = _turns(record[key], key, "user")
    extra = field(record, _INPUT)
    if len(turns) == 1 and key.strip().lower() == "instruction" and extra:
        turns[0]["content"] += f"\n{text_of(extra, _INPUT)}"
    return turns


def _turns(value: Any, name: str, role: str) -> Turns:
    """The turns that a field holds; a bare text is one of `role`."""
    if isinstance(value, Mapping):
        return [value]
    written = as_list(value) if not isinstance(value, str) or value.lstrip().startswith("[{") else None
    if written is not None:
        return written
    text = text_of(value, name)
    return _spoken(text) or [{"role": role, "content": text}]


def _spoken(text: str) -> Turns:
    """The turns of a text with a speaker before each, but for an empty last one; none where it has no speakers."""
    parts = _SPEAKER.split(text)
    if len(parts) < 3 or parts[0].strip():
        return []
    roles = ({"Human": "user", "Assistant": "assistant"}[speaker] for speaker in parts[1::2])
    turns = [{"role": role, "content": said} for role, said in zip(roles, parts[2::2], strict=True)]
    return turns[:-1] if turns[-1]["role"] == "assistant" and not turns[-1]["content"].strip() else turns


def _begins_itself(turns: Turns) -> bool:
    """Whether the turns hold what was asked, too."""
    roles = {str(turn.get("role") or turn.get("from")) for turn in turns if isinstance(turn, Mapping)}
    return bool(roles & {"user", "human", "prompter"})
