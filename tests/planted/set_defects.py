"""Defects that only show between rows: for each check, a set with planted ones, and the positions where they stand."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace

from studio.domain.chat import Conversation, Message
from studio.engine.checks.endings import ends_open
from studio.engine.checks.text import is_latin
from tests.planted.rows import answered, asked, clean_rows, prose, talk

Planted = tuple[list[Conversation], set[int]]
"""The rows of a set, and the positions that the check has to flag."""


def _distinct(dice: random.Random, count: int) -> list[Conversation]:
    """Clean rows of one question, none twice the same question."""
    single = {row.prompt: row for row in clean_rows() if len(row.messages) == 2}
    return dice.sample(list(single.values()), count)


def _strewn(dice: random.Random, rows: list[Conversation], later: list[Conversation]) -> Planted:
    """The later rows at random places of the second half, and where they stand."""
    marked = [(row, False) for row in rows[len(rows) // 2 :]] + [(row, True) for row in later]
    dice.shuffle(marked)
    marked = [(row, False) for row in rows[: len(rows) // 2]] + marked
    return [row for row, _ in marked], {at for at, (_, planted) in enumerate(marked) if planted}


def duplicate_exact(dice: random.Random) -> Planted:
    rows = _distinct(dice, 120)
    earlier = rows[:60]
    copies = [
        dice.choice((row, answered(row, f"{row.response} "), asked(row, row.prompt.replace(" ", "  ", 1)), answered(row, f"\n{row.response}")))
        for row in dice.sample(earlier, 20)
    ]  # fmt: skip
    decoys = [answered(row, other.response) for row, other in zip(earlier[:5], earlier[5:10], strict=True)]
    decoys += [asked(row, row.prompt.lower() + " Why so?") for row in earlier[10:15]]
    return _strewn(dice, rows + decoys, copies)


_SMALL = (" the ", " a ", " and ", " is ", " of ", " to ")


def _nearly(dice: random.Random, row: Conversation) -> Conversation:
    """The row as another person would have copied it: a typo, a small word, another case or end mark."""
    prompt, response = row.prompt, row.response
    kind = dice.randrange(4)
    if kind == 0:
        prompt = prompt.rstrip("?.!").lower()
    elif kind == 1:
        prompt = f"Please, {prompt[0].lower()}{prompt[1:]}"
    words = response.split(" ")
    at = dice.randrange(2, len(words) - 2)
    words[at] = words[at][:-1] if kind == 2 and len(words[at]) > 4 and words[at].isalpha() else words[at]
    response = " ".join(words)
    if kind in (0, 3):
        small = next((word for word in dice.sample(_SMALL, len(_SMALL)) if word in response), "")
        response = response.replace(small, " ", 1) if small else response.replace(", ", " ", 1)
    return answered(asked(row, prompt), response if response != row.response else response.rstrip("."))


def duplicate_near(dice: random.Random) -> Planted:
    long_enough = [row for row in prose(False, 150) if len(row.messages) == 2 and len(row.prompt) > 25]
    rows = dice.sample(long_enough, 60)
    other_numbers = [
        answered(row, re.sub(r"\d+", lambda m: str(int(m.group()) + 7), row.response))
        for row in rows
        if re.search(r"\d", row.response)
    ]
    other_question = [
        asked(row, f"Say it in one sentence, for a child of six: {row.prompt}") for row in rows[:5]
    ]
    copies = [_nearly(dice, row) for row in dice.sample(rows[:30], 15)]
    return _strewn(dice, rows + other_numbers[:5] + other_question, copies)


def conflicting_responses(dice: random.Random) -> Planted:
    rows = _distinct(dice, 100)
    others = [answered(row, other.response) for row, other in zip(rows[:15], rows[50:65], strict=True)]
    same = [answered(row, f"{row.response.upper()}!") for row in rows[20:30]]
    mixed, at_others = _strewn(dice, rows + same, others)
    asked_twice = {row.prompt for row in others}
    return mixed, at_others | {at for at, row in enumerate(mixed) if row.prompt in asked_twice}


def low_diversity(dice: random.Random) -> Planted:
    rows = dice.sample(prose(False, 120), 60)
    phrase = dice.choice(
        ("Sure, here is what I think:", "Great question! Let me explain:", "As you surely know by now,", "Of course, I am happy to help.")
    )  # fmt: skip
    few = [answered(row, f"Certainly! Below is a list. {row.response}") for row in rows[:4]]
    often = [answered(row, f"{phrase} {row.response}") for row in rows[20:40]]
    return _strewn(dice, [*few, *rows[40:], *rows[4:20]], often)


def same_response(dice: random.Random) -> Planted:
    rows = _distinct(dice, 120)
    one = dice.choice(prose(False, 120)).response
    two = "Thank you very much for your message. We will look into it and come back to you within two working days."
    spread = [answered(row, one) for row in rows[:5]] + [answered(row, two) for row in rows[5:9]]
    labels = [answered(row, "positive") for row in rows[9:20]]
    twice = [answered(row, rows[99].response) for row in rows[20:21]]
    return _strewn(dice, labels + twice + rows[21:], spread)


def length_outlier(dice: random.Random) -> Planted:
    rows = dice.sample(prose(False, 80), 100)
    giants = [
        answered(row, f"{row.response}\n\n" * (dice.randint(26_000, 60_000) // len(row.response)))
        for row in rows[:8]
    ]
    longer = [answered(row, f"{row.response}\n\n{row.response}") for row in rows[8:20]]
    return _strewn(dice, longer + rows[20:], giants)


def mixed_formats(dice: random.Random) -> Planted:
    rows = _distinct(dice, 80)
    if dice.random() < 0.3:
        stray = [answered(row, json.dumps({"answer": row.response[:40]})) for row in rows[:2]]
        wanted = [
            talk(f"{row.prompt} Answer as JSON.", json.dumps({"a": row.response[:20]})) for row in rows[2:6]
        ]
        plain_rows = [row for row in rows[6:] if not row.response.lstrip().startswith(("{", "["))]
        asks = re.compile(
            r"json|yaml|xml|csv|table|code|list|array|format|object|dictionary|表格|代码", re.IGNORECASE
        )
        stray = [row if not asks.search(row.prompt) else asked(row, "What is it?") for row in stray]
        return _strewn(dice, plain_rows + wanted, stray)
    keys = dice.choice((("category", "urgent"), ("name", "size", "price"), ("label", "reason")))
    usual = [answered(row, json.dumps(dict.fromkeys(keys, row.response[:20]))) for row in rows[:60]]
    stray = [
        answered(row, dice.choice((row.response, "It is billing.", json.dumps({"categorie": "a"}), json.dumps([1, 2]), f"Sure: {{{row.prompt}}}")))
        for row in rows[60:66]
    ]  # fmt: skip
    return _strewn(dice, usual, stray)


_SYSTEMS = (
    "You are a helpful assistant of the city library.",
    "Turn each message into a ticket and answer with JSON only.",
    "Answer in short sentences that a child can understand.",
)


def _misspelt(dice: random.Random, text: str) -> str:
    words = text.split(" ")
    at = dice.choice([n for n, word in enumerate(words) if len(word) >= 6 and word.isalpha()])
    cut = dice.randrange(2, len(words[at]) - 1)
    typo = dice.choice(
        (words[at][:cut] + words[at][cut + 1 :], words[at][:cut] + words[at][cut] + words[at][cut:])
    )
    changed = " ".join((*words[:at], typo, *words[at + 1 :]))
    return dice.choice(
        (changed, text.rstrip("."), text.lower(), text.replace(" ", "  ", 1), text.upper(), f"{text} ")
    )


def system_prompt_variants(dice: random.Random) -> Planted:
    usual, *others = dice.sample(_SYSTEMS, 3)
    rows = _distinct(dice, 60)

    def told(row: Conversation, system: str) -> Conversation:
        return replace(row, messages=(Message("system", system), *row.messages))

    variants = [told(row, _misspelt(dice, usual)) for row in rows[:6]]
    plain_rows = [told(row, usual) for row in rows[6:50]] + [
        told(row, other) for row, other in zip(rows[50:], others, strict=False)
    ]
    return _strewn(dice, plain_rows, variants)


def no_end_mark(dice: random.Random) -> Planted:
    """Cut before any word but the first seven, and not in the way that `cut_off` tells."""
    rows = dice.sample([row for row in prose(False, 90) if row.response.endswith(".")], 70)
    cut = []
    for row in rows[:14]:
        words = list(re.finditer(r"(?<=[a-z]) (?=\w)", row.response))[7:]
        text = row.response[: dice.choice(words).start()] if words else ""
        if text and len(cut) < 3 and not ends_open(text) and "\n" not in text:
            cut.append(answered(row, text))
    labels = [answered(row, dice.choice(("positive", "Lisbon", "42 km", "a, b, c"))) for row in rows[14:18]]
    code = [answered(row, f"{row.response}\n\n```\nx = 1\n```") for row in rows[18:22]]
    letters = [answered(row, f"Dear Ann,\n{row.response}\nBest regards,\nPeter") for row in rows[22:26]]
    poems = [
        answered(
            row, "Roses are red today\nViolets are blue and grey\nSugar is sweet\nAnd so are you my dear"
        )
        for row in rows[26:28]
    ]
    return _strewn(dice, labels + code + letters + poems + rows[28:], cut)


def mixed_styles(dice: random.Random) -> Planted:
    """A few answers with emoji, bold words or headings, or in one case; or, where all have emoji, a few without."""
    rows = [row for row in prose(False, 90) if is_latin(row.response) and "**" not in row.response]
    rows = [asked(row, f"What is number {n}?") for n, row in enumerate(dice.sample(rows, 70))]
    persona, smile = dice.random() < 0.3, ("\U0001f600", "\U0001f389", "\u2728")
    if persona:
        usual = [answered(row, f"{row.response} {dice.choice(smile)}") for row in rows[4:]]
        return _strewn(dice, usual, rows[:4])
    odd = (
        lambda text: f"{text} {dice.choice(smile)}",
        lambda text: f"**In short:** {text}",
        lambda text: f"## Answer\n\n{text}",
        lambda text: "i would say so. " + text.lower(),
        lambda text: text.upper(),
    )
    strays = [answered(row, dice.choice(odd)(row.response)) for row in rows[:4]]
    wanted = [
        answered(asked(row, "Write a happy tweet with an emoji."), f"{row.response} \U0001f389")
        for row in rows[4:6]
    ]
    code = [answered(row, f"{row.response}\n\n```\n# a comment\n```") for row in rows[6:10]]
    starred = [answered(row, f"{row.response} 2 * 3 * 4 = 24, #1.") for row in rows[10:14]]
    return _strewn(dice, wanted + code + starred + rows[14:], strays)


_OTHER_LANGUAGES = (
    "Die Sonne ist ein Stern, und das Licht braucht acht Minuten von ihr bis zu uns auf der Erde.",
    "Le soleil est une étoile, et la lumière met huit minutes pour venir de lui jusqu'à nous sur la terre.",
    "太阳是一颗恒星，它的光到达地球需要大约八分钟，所以我们看到的是八分钟以前的太阳。",
    "Солнце это звезда, и свет от него идёт до нас на Земле около восьми минут.",
    "El sol es una estrella, y la luz tarda unos ocho minutos en llegar de él hasta nosotros en la tierra.",
)


def other_language(dice: random.Random) -> Planted:
    rows = [row for row in prose(False, 90) if is_latin(row.response)]
    rows = dice.sample(rows, 70)
    strays = [
        answered(asked(row, "?"), f"{text} {n}") for n, (row, text) in enumerate(zip(rows, dice.sample(_OTHER_LANGUAGES, 3), strict=False))
    ]  # fmt: skip
    translated = [
        talk(f"Translate into {name}: {n}.", text)
        for n, (name, text) in enumerate(zip(("German", "French"), _OTHER_LANGUAGES, strict=False))
    ]
    labels = [answered(row, dice.choice(("positive", "Lissabon", "42 km", "Déjà-vu"))) for row in rows[14:18]]
    return _strewn(dice, labels + translated + rows[18:], strays)


SET_DEFECTS: dict[str, Callable[[random.Random], Planted]] = {
    make.__name__: make
    for make in (
        conflicting_responses,
        duplicate_exact,
        duplicate_near,
        low_diversity,
        same_response,
        length_outlier,
        mixed_formats,
        system_prompt_variants,
        no_end_mark,
        mixed_styles,
        other_language,
    )
}
"""Of each check that compares rows: what makes a set with its defect."""
