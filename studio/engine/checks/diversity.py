"""Diversity: do the rows say different things?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from studio.domain.chat import Conversation
from studio.engine.checks.parts import last_answer
from studio.engine.checks.registry import Evidence, Flagged, drop_all, set_check
from studio.engine.checks.similar import similar_rows
from studio.engine.checks.sketches import Sketches, groups, repeats


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
def duplicate_exact(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    return Flagged(conversations, repeats(table), lambda row: row.prompt)


@set_check(
    "diversity",
    "info",
    title="Near duplicates",
    message="Rows that are nearly the same as an earlier row: {count}. Row {row}: {example}",
    why="Rows that differ in a comma teach nothing new, and make the held-out loss look better than it is.",
    remedy="Keep the first of each.",
    blind_spots="Compared by letters: two thirds of the 5-letter pieces of the responses must be the same, "
    "all numbers, "
    "and all words of the prompts that mean something. The same thing said in other words is not found. Answers to one "
    "prompt that contradict each other are conflicting responses instead.",
    fix_title="Keep the first",
    repair=drop_all,
    source="MinHash: Broder 1997, 'On the resemblance and containment of documents'; on training data: "
    "Lee et al. 2021, arXiv:2107.06499",
)
def duplicate_near(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    import numpy

    asked = table["asked"] != 0
    asked[repeats(table)] = False
    places = numpy.flatnonzero(asked)
    found = similar_rows(conversations, table, places)
    return Flagged(conversations, found, lambda row: row.prompt)


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
def low_diversity(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    import numpy

    openings = table["opening"]
    prose = numpy.count_nonzero(openings)
    if prose < _ENOUGH_ROWS:
        return {}
    often = [group for group in groups(openings) if len(group) >= max(5, 0.2 * prose)]
    return Flagged(conversations, numpy.concatenate(often) if often else (), last_answer)


@set_check(
    "diversity",
    "info",
    title="Same response to many prompts",
    message="Rows that share one long response: {count}. Row {row}: {example}",
    why="The model learns that one answer fits everything.",
    remedy="Check whether the response fits each prompt.",
    blind_spots="Labels and other responses of less than twelve words may repeat: they and JSON are not looked at.",
)
def same_response(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    import numpy

    prompts = table["prompt"]
    many = [group for group in groups(table["response"]) if len(numpy.unique(prompts[group])) > 2]
    return Flagged(conversations, numpy.concatenate(many) if many else (), last_answer)


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
def length_outlier(conversations: Sequence[Conversation], table: Sketches) -> Evidence:
    import numpy

    said = numpy.flatnonzero(table["length"])
    if len(said) < _ENOUGH_ROWS:
        return {}
    lengths = table["length"][said]
    logs = numpy.log(lengths)
    middle = float(numpy.median(logs))
    spread = max(1.4826 * float(numpy.median(abs(logs - middle))), 0.35)
    far = (abs(logs - middle) > 4.5 * spread) | ((lengths > 20_000) & (logs - middle > math.log(10)))
    return Flagged(
        conversations, said[far], lambda row: f"{len(last_answer(row))} / {round(math.exp(middle))}"
    )
