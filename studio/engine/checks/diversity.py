"""Diversity: do the rows say different things?"""

from __future__ import annotations

import difflib
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence

from studio.domain.chat import Conversation
from studio.engine.checks.parts import calls, last_answer, last_turn, speaks
from studio.engine.checks.registry import Evidence, drop_all, set_check
from studio.engine.checks.similar import similar_pairs
from studio.engine.checks.text import is_structured, plain

_DIGITS = re.compile(r"\d+")


def _key(conversation: Conversation) -> tuple[str, ...]:
    """What two rows have in common that are the same; the ids of calls are drawn by chance and do not count."""
    turns = (
        (m.role, m.name, " ".join(m.reasoning.split()), " ".join(m.content.split()), calls(m))
        for m in conversation.messages
    )
    return (*conversation.tools, *(part for turn in turns for part in turn))


def _repeats(conversations: Sequence[Conversation]) -> dict[int, int]:
    """Positions of exact repeats, each with the position of the first."""
    first: dict[tuple[str, ...], int] = {}
    repeats: dict[int, int] = {}
    for position, conversation in enumerate(conversations):
        earlier = first.setdefault(_key(conversation), position)
        if earlier != position:
            repeats[position] = earlier
    return repeats


@set_check(
    "diversity",
    "warning",
    title="Exact duplicates",
    message="Rows that repeat an earlier row: {count}. Row {row}: {example}",
    why="A row that stands there five times is learnt five times, by heart, and may end up on both sides of "
    "the split.",
    remedy="Keep the first of each.",
    blind_spots="Rows are compared without regard to spaces and line breaks, but letter by letter.",
    fix_title="Keep the first",
    repair=drop_all,
    source="Lee et al. 2021, 'Deduplicating Training Data Makes Language Models Better', arXiv:2107.06499",
)
def duplicate_exact(conversations: Sequence[Conversation]) -> Evidence:
    return {position: conversations[position].prompt for position in _repeats(conversations)}


@set_check(
    "diversity",
    "info",
    title="Near duplicates",
    message="Rows that are nearly the same as an earlier row: {count}. Row {row}: {example}",
    why="Rows that differ in a comma teach nothing new, and make the held-out loss look better than it is.",
    remedy="Keep the first of each.",
    blind_spots="Compared by letters: two thirds of the 5-letter pieces of the responses must be the same, "
    "all numbers, "
    "and all words of the prompts that mean something. The same thing said in other words is not found.",
    fix_title="Keep the first",
    repair=drop_all,
    source="MinHash: Broder 1997, 'On the resemblance and containment of documents'; on training data: "
    "Lee et al. 2021, arXiv:2107.06499",
)
def duplicate_near(conversations: Sequence[Conversation]) -> Evidence:
    repeats = _repeats(conversations)
    positions = [
        p
        for p, c in enumerate(conversations)
        if p not in repeats and c.prompt.strip() and speaks(last_turn(c))
    ]
    prompts = [plain(conversations[position].prompt) for position in positions]
    responses = [plain(_done(conversations[position])) for position in positions]
    asked = [(plain(conversations[p].system), conversations[p].tools) for p in positions]
    numbers = [sorted(_DIGITS.findall(f"{a} {b}")) for a, b in zip(prompts, responses, strict=True)]

    def same(earlier: int, later: int) -> bool:
        if numbers[earlier] != numbers[later] or asked[earlier] != asked[later]:
            return False
        return differ_in_form_only(prompts[earlier], prompts[later])

    pairs = similar_pairs(prompts, responses, same)
    return {positions[later]: conversations[positions[later]].prompt for _, later in pairs}


def _done(conversation: Conversation) -> str:
    """All that was thought, said, called and given back after the questions."""
    done = [message for message in conversation.messages if message.role in ("assistant", "tool")]
    return "\n".join(part for m in done for part in (m.reasoning, m.content, calls(m)) if part)


def differ_in_form_only(left: str, right: str) -> bool:
    """Whether two plain prompts ask the same: what differs are small words and endings, in a long text one "
    "word in 20.

    >>> differ_in_form_only("what do bees do in winter", "what does a bee do in the winter")
    True
    >>> differ_in_form_only("is the film good i love this film", "is the film good i love this song")
    False
    """
    ours, theirs = Counter(left.split()), Counter(right.split())
    missing = [word for word in (ours - theirs).elements() if word not in _SMALL]
    added = [word for word in (theirs - ours).elements() if word not in _SMALL]
    for word in list(missing):
        near = difflib.get_close_matches(word, added, n=1, cutoff=0.75)
        if near or (word[:-1] in added or word + "s" in added):
            added.remove(near[0] if near else word[:-1] if word[:-1] in added else word + "s")
            missing.remove(word)
    return max(len(missing), len(added)) <= 0.05 * max(ours.total(), theirs.total())


_SMALL = frozenset(
    re.findall(
        r"\w+",
        "a an the of in on at to for from by with is are was were be do does did can could would should will i me "
        "my you your please and or it this that these those what which who how s t",
    )
)


_OPENING_WORDS = 4
_ENOUGH_ROWS = 20


@set_check(
    "diversity",
    "info",
    title="Responses begin alike",
    message="Responses that begin with the same words: {count}. Row {row}: {example}",
    why="The model learns the phrase rather than the answer.",
    remedy="Write different beginnings, or remove the phrase. Leave it where the phrase is wanted.",
    blind_spots="Only the first four words. JSON, tables and code are not looked at, nor are fewer than twenty rows.",
)
def low_diversity(conversations: Sequence[Conversation]) -> Evidence:
    openings: dict[str, list[int]] = defaultdict(list)
    prose = 0
    for position, conversation in enumerate(conversations):
        response = last_answer(conversation)
        words = response.split()
        if len(words) > 2 * _OPENING_WORDS and not is_structured(response.strip()):
            prose += 1
            openings[plain(" ".join(words[:_OPENING_WORDS]))].append(position)
    often = [group for group in openings.values() if len(group) >= max(5, 0.2 * prose)]
    if prose < _ENOUGH_ROWS:
        return {}
    return {position: last_answer(conversations[position]) for group in often for position in group}


@set_check(
    "diversity",
    "info",
    title="Same response to many prompts",
    message="Rows that share one long response: {count}. Row {row}: {example}",
    why="The model learns that one answer fits everything.",
    remedy="Check whether the response fits each prompt.",
    blind_spots="Labels and other responses of less than twelve words may repeat: they and JSON are not looked at.",
)
def same_response(conversations: Sequence[Conversation]) -> Evidence:
    answered = [last_answer(conversation) for conversation in conversations]
    said = [plain(response) for response in answered]
    counts = Counter(said)
    prompts: dict[str, set[str]] = defaultdict(set)
    for response, conversation in zip(said, conversations, strict=True):
        if counts[response] > 2:
            prompts[response].add(plain(conversation.prompt))
    return {
        position: answered[position]
        for position, response in enumerate(said)
        if len(prompts.get(response, ())) > 2
        and len(response.split()) >= 12
        and not is_structured(answered[position])
    }


@set_check(
    "diversity",
    "info",
    title="Far longer or shorter than the rest",
    message="Rows whose response is far longer or shorter than the others: {count}. "
    "Row {row}, characters against the median: {example}",
    why="A few giant rows take most of the memory and of the time, and are cut off at the maximum length.",
    remedy="Look at the rows; shorten or split them.",
    blind_spots="Characters are counted here, not tokens; the maximum length is checked with the model's tokenizer.",
    source="Median absolute deviation: Iglewicz and Hoaglin 1993; here of the logarithm of the length, beyond 4.5",
)
def length_outlier(conversations: Sequence[Conversation]) -> Evidence:
    lengths = {p: len(text) for p, c in enumerate(conversations) if (text := last_answer(c)).strip()}
    if len(lengths) < _ENOUGH_ROWS:
        return {}
    logs = {position: math.log(length) for position, length in lengths.items()}
    middle = statistics.median(logs.values())
    spread = max(1.4826 * statistics.median(abs(value - middle) for value in logs.values()), 0.35)
    return {
        position: f"{lengths[position]} / {round(math.exp(middle))}"
        for position, value in logs.items()
        if abs(value - middle) > 4.5 * spread
        or (lengths[position] > 20_000 and value - middle > math.log(10))
    }
