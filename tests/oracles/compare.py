"""The studio's masks laid beside TRL's over all conversations, and what is said of each that differs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from studio.domain.chat import Conversation
from studio.domain.config import TemplateConfig
from studio.domain.encoded import Encoded
from studio.domain.errors import StudioError
from studio.engine.encode import Encoder
from studio.engine.templates import Template
from tests.oracles.conversations import ALL
from tests.oracles.families import Family
from tests.oracles.masks import Both, Marked, Refused, Shown, our_text, ours, runs, their_text, theirs

IN_THE_OPEN = {"refused", "systems_joined", "system_merged", "turns_merged"}
"""Hazards of a row that a template refuses as it stands."""


@dataclass
class Comparison:
    """What came of all conversations."""

    equal: int = 0
    refused: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Titles by the template's reason."""
    other_text: set[str] = field(default_factory=set)
    """Titles for which the two templates, or a row and a chat, write different texts."""
    not_ours: set[str] = field(default_factory=set)
    """Texts that TRL trains and the studio does not, but white space after an end token."""
    only_ours: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    """Titles with a call that the template does not write: TRL trains the end token of its empty turn."""
    failures: list[str] = field(default_factory=list)


def with_markers(family: Family, both: Both) -> Comparison:
    """TRL's training template on both sides: ids and masks have to be equal."""
    encoder = encoder_of(family.training, both)
    shown = Shown(family.parts_only)
    found = Comparison()
    for title, conversation in ALL.items():
        wanted = theirs(conversation, family.training, both.theirs, shown)
        row = encoder.encode(conversation)
        if isinstance(wanted, Refused):
            _refused(title, wanted, row, found)
        elif _silent(encoder, conversation):
            found.silent.add(title)
        elif ours(row) == wanted:
            found.equal += 1
        else:
            text = their_text(conversation, family.training, both.theirs, shown)
            found.failures.append(f"{title}: {our_text(row)}, not {text}")
    return found


def without_markers(family: Family, both: Both) -> Comparison:
    """The studio with the original template, TRL with its training template, wherever both write the same text.

    Compared by characters, so that a token is no obstacle that reaches over a border and is split in a row.
    """
    encoder = encoder_of(family.original, both)
    plain, original = Shown(family.parts_only), Shown(family.parts_only, family.text_arguments)
    found = Comparison()
    for title, conversation in ALL.items():
        wanted = their_text(conversation, family.training, both.theirs, plain)
        row = encoder.encode(conversation)
        ids = theirs(conversation, family.original, both.theirs, original)
        if isinstance(wanted, Refused) or isinstance(ids, Refused):
            _refused(title, ids if isinstance(ids, Refused) else wanted, row, found)
            continue
        if _silent(encoder, conversation):
            found.silent.add(title)
            continue
        got = our_text(row)
        if isinstance(got, Refused) or (
            ids.ids != tuple(row.input_ids) and "merged_border" not in row.hazards
        ):
            found.failures.append(f"{title}: {got}, not {wanted}")
        elif wanted.text.startswith(got.text):
            _differences(got, wanted, found)
        else:
            found.other_text.add(title)
    return found


def _silent(encoder: Encoder, conversation: Conversation) -> bool:
    return any(turn.silent for turn in encoder.renderer.render(conversation).turns)


def prompts(encoder: Encoder) -> Comparison:
    """Whether each assistant's turn follows the ids that a chat would give there, or the row says that it does not."""
    found = Comparison()
    for title, conversation in ALL.items():
        row = encoder.encode(conversation)
        if row.problem is not None:
            found.refused[row.problem.template].add(title)
            continue
        asked = [
            index
            for index, message in enumerate(conversation.messages)
            if message.role == "assistant" and index
        ]
        alike = [_follows_prompt(encoder, conversation, turn, row) for turn in asked]
        said = "unlike_chat" in row.hazards
        if said:
            found.other_text.add(title)
        if all(alike) == (not said) or (all(alike) and conversation.messages[0].role == "assistant"):
            found.equal += 1
        else:
            found.failures.append(f"{title}: alike {alike}, but hazards {row.hazards}: {row.text!r}")
    return found


def encoder_of(source: str, both: Both) -> Encoder:
    return Encoder(Template("x", "x", source), both.ours, TemplateConfig())


def _follows_prompt(encoder: Encoder, conversation: Conversation, turn: int, row: Encoded) -> bool:
    try:
        prompt = tuple(encoder.prompt(conversation.messages[:turn], conversation.tools))
    except StudioError:
        return False
    return tuple(row.input_ids[: len(prompt)]) == prompt


def _refused(title: str, refused: Refused, row: Encoded, found: Comparison) -> None:
    """What the template refuses, the studio refuses too, or mends and says so."""
    found.refused[refused.reason].add(title)
    if not IN_THE_OPEN.intersection(row.hazards):
        found.failures.append(f"{title}: refused with '{refused.reason}', but hazards are {row.hazards}")


def _differences(got: Marked, wanted: Marked, found: Comparison) -> None:
    pairs = list(zip(got.trained, wanted.trained, strict=False))
    for run in runs([theirs_ and not ours_ for ours_, theirs_ in pairs]):
        text = got.text[run]
        if not (text.isspace() and all(pairs[run.start - 1])):
            found.not_ours.add(text)
    for run in runs([ours_ and not theirs_ for ours_, theirs_ in pairs]):
        found.only_ours.add(got.text[run])
    found.equal += 1
