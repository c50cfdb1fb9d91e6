"""Safety: what should not be learnt by heart, and what should not be said."""

from __future__ import annotations

import re
from collections.abc import Callable

from studio.domain.chat import Conversation
from studio.engine.checks.parts import EVERYTHING, texts
from studio.engine.checks.registry import drop, rewriting, row_check

# ---- personal data ------------------------------------------------------------------------------------------------

_EMAIL = re.compile(r"(?<![\w.+/%-])[A-Za-z0-9][\w.+-]*@(?:[a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}\b")
_ROLE_ADDRESS = re.compile(
    r"(?:info|support|contact|hello|help|sales|office|service|no-?reply|admin|webmaster|press)@", re.I
)
_CARD = re.compile(
    r"(?<![\d.,-])(?:4\d{3}|5[1-5]\d{2}|2[2-7]\d{2}|3[47]\d{2}|6(?:011|5\d{2})|62\d{2})(?:[ -]?\d){9,15}(?![\d.,]?\d)"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_CHINESE_ID = re.compile(
    r"(?<!\d)[1-8]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![\dA-Za-z])"
)
_IP = re.compile(
    r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w-]|\.\d)"
)
_ORDINARY_IP = re.compile(
    r"(?:0\.|10\.|127\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|192\.168\.|22[4-9]\.|2[34]\d\.|25\d\.|"
    r"1\.2\.3\.4$|8\.8\.[84]\.[84]$|1\.[01]\.[01]\.1$|9\.9\.9\.9$)"
)
_VERSION = re.compile(r"(?:version|v|release|build|python|section|chapter|§)[\s:.]*$", re.IGNORECASE)
_PHONES = (
    # +49 170 1234567, +1 (202) 555-0143
    re.compile(r"(?<![\w+])\+[1-9]\d{0,2}(?:[ .\-/]?\(?\d{1,5}\)?){2,6}(?![\w%])"),
    # (202) 555-0143, 202-555-0143, 202.555.0143
    re.compile(r"(?<![\w.$€£+-])(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-.]\d{4}(?![\w-]|[.,]\d)"),
    # 06 12 34 56 78
    re.compile(r"(?<![\d.,])0[1-9](?:[ .]\d{2}){4}(?![\d.,]?\d)"),
    # 07700 900123, 030 12345678, 0151/23456789
    re.compile(r"(?<![\d.,/-])0\d{2,4}[ /-]\d{5,8}(?![\d.,/-]?\d)"),
    # 13812345678
    re.compile(r"(?<!\d)1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d)"),
)
_FREE_OF_CHARGE = re.compile(r"(?:\+?1[-. ]?)?\(?8(?:00|88|77|66|55|44|33)\)?[-. ]")
_ABOUT_PHONES = re.compile(
    r"phone|mobile|cell|call|tel\b|tel[.:]|whatsapp|手机|电话|微信|联系", re.IGNORECASE
)


def _luhn(digits: str) -> bool:
    """Whether the check digit of a payment card is right (ISO/IEC 7812-1, annex B)."""
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and _luhn(digits)


def _is_iban(text: str) -> bool:
    """Whether the check digits are right (ISO 13616: the rest by 97 is 1)."""
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _is_chinese_id(text: str) -> bool:
    """Whether the check character is right (GB 11643-1999)."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return (
        "10X98765432"[sum(w * int(d) for w, d in zip(weights, text, strict=False)) % 11] == text[-1].upper()
    )


def _is_phone(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match.group())
    if not 9 <= len(digits) <= 15 or len(set(digits)) <= 2 or _FREE_OF_CHARGE.match(match.group()):
        return False
    if match.group().isdigit() or (
        match.group()[:2].isdigit() and " " not in match.group() and "-" not in match.group()
    ):
        return bool(_ABOUT_PHONES.search(match.string[max(0, match.start() - 60) : match.end() + 20]))
    return True


def _redacted_personal(text: str) -> str:
    """Text with each piece of personal data replaced by its kind in angle brackets."""
    if "@" in text:
        text = _EMAIL.sub(lambda m: m.group() if _ROLE_ADDRESS.match(m.group()) else "<EMAIL>", text)
    digits = sum(map(str.isdigit, text))
    if digits >= 4 and text.count(".") >= 3:
        text = _IP.sub(_replaced("<IP>", _is_personal_ip), text)
    if digits < 9:
        return text
    text = _IBAN.sub(_replaced("<IBAN>", lambda m: _is_iban(m.group())), text)
    text = _CARD.sub(_replaced("<CARD>", lambda m: _is_card(m.group())), text)
    text = _CHINESE_ID.sub(_replaced("<ID>", lambda m: _is_chinese_id(m.group())), text)
    text = _SOCIAL_SECURITY.sub("<ID>", text)
    for pattern in _PHONES:
        text = pattern.sub(_replaced("<PHONE>", _is_phone), text)
    return text


def _is_personal_ip(match: re.Match[str]) -> bool:
    return not _ORDINARY_IP.match(match.group()) and not _VERSION.search(
        match.string[max(0, match.start() - 12) : match.start()]
    )


def _replaced(by: str, accept: Callable[[re.Match[str]], bool]) -> Callable[[re.Match[str]], str]:
    return lambda match: by if accept(match) else match.group()


_KINDS = re.compile(r"<(?:EMAIL|PHONE|CARD|IBAN|IP|ID)>")


@row_check(
    "safety",
    "warning",
    title="Personal data",
    message="Rows with personal data: {count}. Row {row} holds {example}.",
    why="A model can say by heart what it was trained on; and the law may forbid to train on it.",
    remedy="Replace the data with marks such as <EMAIL>, or drop the row.",
    blind_spots="E-mail addresses, telephone numbers, payment cards, IBANs, internet addresses and two "
    "kinds of identity "
    "numbers. Names, postal addresses and other numbers are not found.",
    fix_title="Replace with <EMAIL>, <PHONE> …",
    fix=rewriting(_redacted_personal, *EVERYTHING),
    source="Carlini et al. 2021, 'Extracting Training Data from Large Language Models', arXiv:2012.07805; "
    "ISO/IEC 7812-1 "
    "(Luhn); ISO 13616 (IBAN)",
)
def personal_data(conversation: Conversation) -> str:
    for text in texts(conversation, *EVERYTHING):
        redacted = _redacted_personal(text)
        if redacted != text:
            new = set(_KINDS.findall(redacted)) - set(_KINDS.findall(text))
            return " ".join(sorted(new or set(_KINDS.findall(redacted))))
    return ""


# ---- secrets ------------------------------------------------------------------------------------------------------

_SECRETS = (
    re.compile(
        r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----.*?(?:-----END (?:[A-Z]+ )?PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    re.compile(r"\bsk-(?:[a-z]+-)*[A-Za-z0-9_-]{20,}"),
    re.compile(r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{22,}"),
    re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    re.compile(r"(\b[Bb]earer )(?=[A-Za-z._~+/-]*\d)[A-Za-z0-9._~+/-]{20,}=*"),
    re.compile(
        r"((?:password|passwd|secret|api_?key|token)[\"']?\s?[:=]\s?)[\"']?"
        r"(?=[^\s\"']*\d)(?=[^\s\"']*[A-Za-z])[^\s\"'<>{}()$]{10,}[\"']?",
        re.IGNORECASE,
    ),
)
_MAYBE_SECRET = re.compile(
    r"PRIVATE KEY|[sr]k[-_]|AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox|AIza|hf_|eyJ|[Bb]earer |"
    r"[:=]\s?[\"']?[^\s\"']{10}"
)
_NOT_SECRET = re.compile(r"x{4,}|\.{3}|your|placeholder|1234567890|<SECRET>|abcdefgh", re.IGNORECASE)

_PAGE = re.compile(r"(?:page|next|prev|previous|sync|continuation|resume)[_-]?\Z", re.IGNORECASE)
"""What stands before `token` where it only marks a place in a list of results."""


def _mark_secret(match: re.Match[str]) -> str:
    """`<SECRET>` behind the words that announce it, such as `password =`; the match itself where it is "
    "only an example."""
    announced = match.group(1) if match.re.groups else ""
    value = match.group()[len(announced) :]
    if _NOT_SECRET.search(value) or len(set(value)) <= 6 or _PAGE.search(match.string[: match.start()][-20:]):
        return match.group()
    quote = value[0] if value[0] in "\"'" else ""
    return f"{announced}{quote}<SECRET>{quote}"


def _redacted_secrets(text: str) -> str:
    if not _MAYBE_SECRET.search(text):
        return text
    for pattern in _SECRETS:
        text = pattern.sub(_mark_secret, text)
    return text


@row_check(
    "safety",
    "error",
    title="Secrets",
    message="Rows with a secret, such as a service key or a private key: {count}. The first is row {row}.",
    why="Whoever gets the model can ask for the key.",
    remedy="Replace the secret, and have it revoked: it has been in a data file.",
    blind_spots="Keys of well-known services, private keys, and tokens and passwords behind a colon or an "
    "equals sign. "
    "Others are not known.",
    fix_title="Replace with <SECRET>",
    fix=rewriting(_redacted_secrets, *EVERYTHING),
    source="Carlini et al. 2021, arXiv:2012.07805; the services' own documentation of how their keys begin",
)
def secret(conversation: Conversation) -> str:
    looked_at = texts(conversation, *EVERYTHING)
    return next(("<SECRET>" for text in looked_at if _redacted_secrets(text) != text), "")


# ---- insults and injections ---------------------------------------------------------------------------------------

_TOXIC = re.compile(
    r"\b(?:(?:mother)?fuck(?:s|ed|er|ers|ing|face)?|bullshit|shithead|dipshit|cunts?|assholes?|arseholes?|"
    r"dickheads?|wankers?|"
    r"sluts?|whores?|niggers?|niggas?|faggots?|retards|kikes?|wetbacks?|trann(?:y|ies)|kill yourself|kys|go to hell|"
    r"pieces? of (?:shit|trash|garbage)|"
    r"you(?:'re|’re| are)(?: (?:such|just|really|a|an|the|so|all|fucking|bloody|complete|total|damn))* "
    r"(?:idiots?|morons?|imbeciles?|stupid|worthless|pathetic|scum|retard(?:ed)?|subhuman|losers?|trash|"
    r"garbage|dumb)|"
    r"(?:you )(?:stupid|dumb|pathetic|worthless|little|fucking) (?:idiot|moron|bitch|bastard|shit|cunt|piece)|"
    r"i hate (?:all )?(?:jews|muslims|blacks|women|gays|immigrants))\b|"
    r"傻[逼屄B]|操你|他妈的|去死吧|滚蛋|王八蛋|狗娘养|贱人",
    re.IGNORECASE,
)


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
    found = next((match for text in conversation.responses if (match := _TOXIC.search(text))), None)
    return found.group() if found else ""


_INJECTION = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b (?:(?:all|any|every|of|the|your|my|these|those|"
    r"everything|and) ){0,4}"
    r"(?:previous|prior|above|earlier|preceding|former|existing|initial|original|system|foregoing)\b"
    r"(?: (?:and|or|previous|above|system|\w+)){0,2} ?(?:instructions?|prompts?|rules?|directions?|"
    r"messages?|guidelines|commands?)|"
    r"\b(?:reveal|print|show|repeat|output|leak|tell me|disclose) (?:me )?(?:your|the) (?:hidden |secret |"
    r"full |initial |entire )?"
    r"system (?:prompt|message|instructions?)|"
    r"\byou are now (?:in )?(?:dan\b|developer mode|jailbroken|an? unrestricted|an? unfiltered|free from)|"
    r"\bdo anything now\b|"
    r"忽略(?:之前|以上|上面|前面|先前)(?:的)?(?:所有|全部|一切)?(?:的)?(?:指令|提示|指示|规则|内容)|"
    r"(?:输出|显示|泄露|告诉我)你的系统(?:提示|指令|prompt)",
    re.IGNORECASE,
)


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
    found = next(
        (
            match
            for m in conversation.messages
            if m.role != "system" and (match := _INJECTION.search(m.content))
        ),
        None,
    )
    return found.group() if found else ""
