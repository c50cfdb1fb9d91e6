"""Safety: what should not be learnt by heart, and what should not be said."""

from __future__ import annotations

import re

from studio.domain.chat import Conversation
from studio.engine.checks.injections import injection_in
from studio.engine.checks.insults import insult_in
from studio.engine.checks.keys import without_secrets
from studio.engine.checks.parts import EVERYTHING, texts
from studio.engine.checks.personal import without_personal_data
from studio.engine.checks.registry import drop, rewriting, row_check

# ---- personal data ------------------------------------------------------------------------------------------------

_KINDS = re.compile(r"<(?:EMAIL|PHONE|CARD|IBAN|IP|MAC|ID)>")


@row_check(
    "safety",
    "warning",
    title="Personal data",
    message="Rows with personal data: {count}. Row {row} holds {example}.",
    why="A model can say by heart what it was trained on; and the law may forbid to train on it.",
    remedy="Replace the data with marks such as <EMAIL>, or drop the row.",
    blind_spots="E-mail addresses, telephone numbers, payment cards, IBANs, internet and device addresses, and the "
    "identity numbers of China, the United States, Britain, France, Spain, Italy, Brazil and India. "
    "Names, postal addresses and other numbers are not found.",
    fix_title="Replace with <EMAIL>, <PHONE> …",
    fix=rewriting(without_personal_data, *EVERYTHING),
    source="Carlini et al. 2021, 'Extracting Training Data from Large Language Models', arXiv:2012.07805; "
    "ISO/IEC 7812-1 "
    "(Luhn); ISO 13616 (IBAN); telephone numbers: phonenumbers, after Google's libphonenumber",
)
def personal_data(conversation: Conversation) -> str:
    for text in texts(conversation, *EVERYTHING):
        redacted = without_personal_data(text)
        if redacted != text:
            new = set(_KINDS.findall(redacted)) - set(_KINDS.findall(text))
            return " ".join(sorted(new or set(_KINDS.findall(redacted))))
    return ""


# ---- secrets ------------------------------------------------------------------------------------------------------


@row_check(
    "safety",
    "error",
    title="Secrets",
    message="Rows with a secret, such as a service key or a private key: {count}. The first is row {row}.",
    why="Whoever gets the model can ask for the key.",
    remedy="Replace the secret, and have it revoked: it has been in a data file.",
    blind_spots="Keys of well-known services, private keys, passwords in addresses, and tokens and passwords with "
    "a letter and a digit behind a colon, an equals sign or `is`. Others are not known.",
    fix_title="Replace with <SECRET>",
    fix=rewriting(without_secrets, *EVERYTHING),
    source="Carlini et al. 2021, arXiv:2012.07805; the services' own documentation of how their keys "
    "begin; detect-secrets",
)
def secret(conversation: Conversation) -> str:
    looked_at = texts(conversation, *EVERYTHING)
    return next(("<SECRET>" for text in looked_at if without_secrets(text) != text), "")


# ---- insults and injections ---------------------------------------------------------------------------------------


@row_check(
    "safety",
    "error",
    title="Insults and hate",
    message="Rows whose response insults: {count}. The first is row {row}.",
    why="A few such responses are enough to make a model rude.",
    remedy="Write a civil response, or drop the row.",
    blind_spots="A short list of plain English and Chinese words. Veiled insults, other languages and "
    "harmful advice in "
    "polite words are not found; a quotation is flagged as well.",
    fix_title="Drop the row",
    fix=drop,
    source="Gehman et al. 2020, 'RealToxicityPrompts', arXiv:2009.11462",
)
def toxic(conversation: Conversation) -> str:
    return next(filter(None, map(insult_in, conversation.responses)), "")


@row_check(
    "safety",
    "warning",
    title="Prompt injection",
    message="Rows that tell a model to ignore its instructions: {count}. Row {row}: {example}",
    why="A model that is shown to obey such text will obey it in foreign documents, too.",
    remedy="Drop the row. Keep it where the response shows how to refuse.",
    blind_spots="Only the usual English and Chinese wordings. Rows that show the right reaction are flagged as well.",
    fix_title="Drop the row",
    fix=drop,
    source="Greshake et al. 2023, 'Not what you've signed up for', arXiv:2302.12173",
)
def prompt_injection(conversation: Conversation) -> str:
    for message in conversation.messages:
        found = injection_in(message.content) if message.role != "system" else ""
        if found:
            return found
    return ""
