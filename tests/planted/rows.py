"""Clean rows to plant defects into: the project's own data, and rows made from templates."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from studio.domain.chat import Conversation, Message
from studio.engine.dataset import read

ASSETS = Path(__file__).parents[2] / "assets"
_CHINESE = re.compile("[\u4e00-\u9fff]")
_THINGS = [
    "kettle",
    "lantern",
    "bicycle",
    "umbrella",
    "notebook",
    "ladder",
    "blanket",
    "backpack",
    "compass",
    "mirror",
]
_PLACES = ["Oslo", "Lisbon", "Nairobi", "Quito", "Hanoi", "Porto", "Riga", "Turin", "Leeds", "Malmö"]
_ACTIONS = ["clean", "store", "repair", "measure", "choose", "paint", "carry", "label", "compare", "lend"]


def talk(*contents: str, system: str = "") -> Conversation:
    """A conversation of user and assistant in turn."""
    turns = tuple(Message("assistant" if at % 2 else "user", text) for at, text in enumerate(contents))
    return Conversation((Message("system", system), *turns) if system else turns)


@lru_cache
def clean_rows() -> tuple[Conversation, ...]:
    """About a thousand rows in English and Chinese without a defect, in a fixed order."""
    files = ("general/general.jsonl", "samples/support-train.jsonl", "samples/general.jsonl")
    found = [row for name in files for row in read(ASSETS / name).conversations]
    return tuple(replace(row, row=0) for row in (*found, *_made()))


def _made() -> list[Conversation]:
    dice = random.Random(7)
    rows = []
    for number in range(100):
        thing, place, action = dice.choice(_THINGS), dice.choice(_PLACES), dice.choice(_ACTIONS)
        said = [
            f"A look at the {thing} in daylight comes first",
            f"To {action} it well you need a dry table and about {dice.randint(5, 50)} minutes",
            f"In {place} most shops ask between {dice.randint(4, 9)} and {dice.randint(10, 30)} euros",
            f"Keep the receipt, and ask for a discount on {number + 3} pieces",
            "Old cloth does less harm than paper",
            f"Nobody I know in {place} would wait with that until spring",
            f"What matters is how often the {thing} is used",
        ]
        question = f"How should I {action} a {thing} in {place}, and what does it cost ({number + 3} pieces)?"
        rows.append(talk(question, ". ".join(dice.sample(said, 4)) + "."))
    return rows


def is_chinese(row: Conversation) -> bool:
    return bool(_CHINESE.search(row.prompt)) and bool(_CHINESE.search(row.response))


@lru_cache
def prose(chinese: bool, at_least: int) -> tuple[Conversation, ...]:
    """Clean rows of one question whose answer is at least so many characters of running text."""
    return tuple(
        row
        for row in clean_rows()
        if len(row.messages) <= 3
        and row.messages[-1].role == "assistant"
        and is_chinese(row) == chinese
        and (chinese or row.response.isascii())
        and len(row.response) >= at_least
        and not re.search(r"[`{|<\[]|^\s*(?:[-*#]|\d+\.)", row.response, re.MULTILINE)
    )


def english(dice: random.Random, at_least: int = 60) -> Conversation:
    return dice.choice(prose(False, at_least))


def chinese(dice: random.Random, at_least: int = 20) -> Conversation:
    return dice.choice(prose(True, at_least))


def either(dice: random.Random) -> Conversation:
    """An English row, or one time in four a Chinese one."""
    return chinese(dice) if dice.random() < 0.25 else english(dice)


def answered(row: Conversation, text: str) -> Conversation:
    """The row with another last answer."""
    return replace(row, messages=(*row.messages[:-1], replace(row.messages[-1], content=text)))


def asked(row: Conversation, text: str) -> Conversation:
    """The row with another first question."""
    at = next(index for index, message in enumerate(row.messages) if message.role == "user")
    new = replace(row.messages[at], content=text)
    return replace(row, messages=(*row.messages[:at], new, *row.messages[at + 1 :]))


def slipped_in(dice: random.Random, text: str, piece: str) -> str:
    """The text with a piece between two of its sentences, at its beginning or at its end."""
    sentences = re.split(r"(?<=[.!?]) |(?<=[。！？])", text)
    at = dice.randint(0, len(sentences))
    gap = "" if _CHINESE.search(text) else " "
    return gap.join((*sentences[:at], piece, *sentences[at:])).strip()


def holding(dice: random.Random, piece: str, row: Conversation | None = None) -> Conversation:
    """A row whose answer holds the piece; one time in four its question does."""
    row = row or english(dice)
    if dice.random() < 0.25:
        return asked(row, f"{row.prompt} {piece}")
    return answered(row, slipped_in(dice, row.response, piece))


def saying(dice: random.Random, piece: str, row: Conversation | None = None) -> Conversation:
    """A row whose answer holds the piece."""
    row = row or english(dice)
    return answered(row, slipped_in(dice, row.response, piece))
