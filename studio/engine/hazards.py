"""What can go wrong between a row and its tokens, said by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studio.domain.config import Overlong
from studio.domain.encoded import Encoded, Hazard
from studio.domain.finding import Finding, Severity, finding, worst_first


@dataclass(frozen=True)
class Meaning:
    """How a hazard is reported."""

    severity: Severity
    message: str
    remedy: str


MEANINGS: dict[Hazard, Meaning] = {
    "refused": Meaning(
        "error",
        "Rows that the chat template refuses, which are left out: {count}. The first: {problem}",
        "Choose another template, or change these rows.",
    ),
    "left_out": Meaning(
        "warning",
        "Rows without a prompt or a response, which are left out: {count}.",
        "Fill them in to train on them.",
    ),
    "nothing_trained": Meaning(
        "error",
        "Rows without a trained token, which are left out: {count}.",
        "Give them a response, or train more of their turns.",
    ),
    "prompt_fills_length": Meaning(
        "error",
        "Rows whose prompt alone fills the maximum length of {max_length} tokens, which are left out: {count}.",
        "Raise the maximum length, or shorten these prompts.",
    ),
    "no_end_token": Meaning(
        "error",
        "Rows that train no end token, so that the model would not learn to stop; no run starts with them: {count}.",
        "Choose a template that ends each turn with a special token.",
    ),
    "unended_text": Meaning(
        "warning",
        "Rows that are learnt whole, prompts too, without an end token: {count}.",
        "Fit for continued pre-training; for answers, choose a template that ends each turn with a special token.",
    ),
    "empty_answer": Meaning(
        "warning",
        "Rows with an answer without words or a call, from which the model learns to say nothing: {count}.",
        "Write these answers, or drop the rows, under Data.",
    ),
    "missing_bos": Meaning(
        "warning",
        "Rows that do not begin with the beginning-of-text token, which this model's tokenizer puts first: {count}.",
        "Choose the model's own template, or write {{{{ bos_token }}}} first in yours.",
    ),
    "doubled_bos": Meaning(
        "warning",
        "Rows that the template begins with two beginning-of-text tokens, of which one was taken away: {count}.",
        "Nothing needs doing; a template that writes it once is cleaner.",
    ),
    "unlike_chat": Meaning(
        "warning",
        "Rows in which a turn follows other tokens than a chat would give the model: {count}.",
        "Train the last turn only, or choose a template that writes earlier turns as it wrote them at first.",
    ),
    "merged_border": Meaning(
        "info",
        "Rows in which one token would have reached from the prompt into the response; it was split there: {count}.",
        "Nothing needs doing: the tokens are those of a chat.",
    ),
    "special_text": Meaning(
        "warning",
        "Rows whose words hold the text of special tokens, which is encoded as plain text: {count}.",
        "Nothing needs doing if they are meant as words; else repair them under Data.",
    ),
    "mark_in_words": Meaning(
        "info",
        "Rows whose prompts hold marks of the vocabulary, such as <think> or <tool_call>, which stay these tokens: "
        "{count}.",
        "Nothing needs doing if they are meant so; else repair them under Data.",
    ),
    "not_shown": Meaning(
        "warning",
        "Rows of which the template does not write everything (a message, reasoning, a call or a tool): {count}.",
        "Look at the text that the template writes, or choose another template.",
    ),
    "stripped": Meaning(
        "info",
        "Rows in which the template strips white space at the ends of an answer: {count}.",
        "Nothing needs doing, unless it was meant; then choose a template that keeps it.",
    ),
    "systems_joined": Meaning(
        "info",
        "Rows whose system messages stand as one at the start, as the template takes them nowhere else: {count}.",
        "A chat with the tuned model does the same.",
    ),
    "system_merged": Meaning(
        "info",
        "Rows whose system message stands in the first user turn, as the template has no place for one: {count}.",
        "A chat with the tuned model does the same.",
    ),
    "turns_merged": Meaning(
        "info",
        "Rows in which neighbouring turns of one role were joined, as the template wants roles to alternate: {count}.",
        "Choose another template to keep them apart.",
    ),
    "unknown_token": Meaning(
        "warning",
        "Rows with characters that the model's vocabulary cannot write, which become its unknown token: {count}.",
        "Replace these characters, or choose a model that knows them.",
    ),
}


def hazard_findings(
    rows: Sequence[Encoded], max_length: int | None, overlong: Overlong = "cut", context: int | None = None
) -> list[Finding]:
    """What the encoding itself shows, each hazard with its rows, the worst first; `rows` are shortened to `max_length`
    or split. Rows that are kept whole are cut where the model's `context` ends.
    """
    limit = (context if overlong == "keep" and context else max_length) or 0
    held: dict[Hazard, list[int]] = {}
    for row in rows:
        for hazard in row.hazards:
            held.setdefault(hazard, []).append(row.row)
    found = []
    for hazard, meaning in MEANINGS.items():
        if hazard not in held:
            continue
        problem = next((str(row.problem) for row in rows if row.problem is not None), "")
        found.append(
            finding(
                hazard,
                "tokens",
                meaning.severity,
                sorted(set(held[hazard])),
                meaning.message,
                meaning.remedy,
                max_length=limit,
                problem=problem,
            )
        )
    return worst_first([*found, *_too_long(rows, max_length or 0, limit, overlong)])


def _too_long(rows: Sequence[Encoded], max_length: int, limit: int, overlong: Overlong) -> list[Finding]:
    cut = [row for row in rows if row.truncated and row.trained > 0]
    split = sorted({row.row for row in rows if "split" in row.hazards})
    kept = [row for row in rows if overlong == "keep" and row.total > max_length and not row.truncated]
    found = []
    if cut and overlong == "drop":
        found.append(
            finding(
                "too_long",
                "tokens",
                "warning",
                (row.row for row in cut),
                "Rows longer than {max_length} tokens, which are left out: {count}. The longest has {longest}.",
                "Raise the maximum length, let them be cut, or split their turns.",
                max_length=max_length,
                longest=max(row.total + len(row.cut_ids) for row in cut),
            )
        )
    elif cut:
        found.append(
            finding(
                "too_long",
                "tokens",
                "warning",
                sorted({row.row for row in cut}),
                "Rows longer than {max_length} tokens, which lose their end: {count}; response tokens lost: "
                "{lost}. The longest has {longest}.",
                "Raise the maximum length, leave such rows out, or split their turns.",
                max_length=limit,
                lost=sum(row.cut_trained for row in cut),
                longest=max(row.total + len(row.cut_ids) for row in cut),
            )
        )
    if split:
        found.append(
            finding(
                "split_turns",
                "tokens",
                "info",
                split,
                "Rows longer than {max_length} tokens, whose turns are split over several rows: {count}.",
                "Raise the maximum length to keep them whole.",
                max_length=max_length,
            )
        )
    if kept:
        found.append(
            finding(
                "kept_long",
                "tokens",
                "info",
                (row.row for row in kept),
                "Rows longer than {max_length} tokens, which are kept whole: {count}. The longest has {longest}.",
                "The estimate of memory counts them.",
                max_length=max_length,
                longest=max(row.total for row in kept),
            )
        )
    return found
