"""Personal data in a text: where it is, by form and check digits, and the text without it."""

from __future__ import annotations

import re
from collections.abc import Callable

from studio.engine.checks.text import outline

_EMAIL = re.compile(r"(?<![\w.+/%-])[A-Za-z0-9][\w.+-]*@(?:[a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}\b", re.ASCII)
_ROLE_ADDRESS = re.compile(
    r"(?:info|support|contact|hello|help|sales|office|service|no-?reply|admin|webmaster|press)@", re.I
)
_CARD = re.compile(
    r"(?<![\d.,-])(?:4\d{3}|5[1-5]\d{2}|2[2-7]\d{2}|3[47]\d{2}|6(?:011|5\d{2})|62\d{2})(?:[ "
    r"-]?\d){9,15}(?![\d.,]?\d)",
    re.ASCII,
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b", re.ASCII)
_SOCIAL_SECURITY = re.compile(
    r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])", re.ASCII
)
_CHINESE_ID = re.compile(
    r"(?<!\d)[1-8]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![\dA-Za-z])",
    re.ASCII,
)
_IP = re.compile(
    r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w-]|\.\d)", re.ASCII
)
_ORDINARY_IP = re.compile(
    r"(?:0\.|10\.|127\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|192\.168\.|22[4-9]\.|2[34]\d\.|25\d\.|"
    r"1\.2\.3\.4$|8\.8\.[84]\.[84]$|1\.[01]\.[01]\.1$|9\.9\.9\.9$)",
    re.ASCII,
)
_VERSION = re.compile(r"(?:version|v|release|build|python|section|chapter|§)[\s:.]*$", re.IGNORECASE)
_PHONES = (
    # +49 170 1234567, +1 (202) 555-0143
    re.compile(r"(?<![\w+])\+[1-9]\d{0,2}(?:[ .\-/]?\(?\d{1,5}\)?){2,6}(?![\w%])", re.ASCII),
    # (202) 555-0143, 202-555-0143, 202.555.0143
    re.compile(
        r"(?<![\w.$€£+-])(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-.]\d{4}(?![\w-]|[.,]\d)", re.ASCII
    ),
    # 06 12 34 56 78
    re.compile(r"(?<![\d.,])0[1-9](?:[ .]\d{2}){4}(?![\d.,]?\d)", re.ASCII),
    # 07700 900123, 030 12345678, 0151/23456789
    re.compile(r"(?<![\d.,/-])0\d{2,4}[ /-]\d{5,8}(?![\d.,/-]?\d)", re.ASCII),
    # 13812345678
    re.compile(r"(?<!\d)1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d)", re.ASCII),
)
_FREE_OF_CHARGE = re.compile(r"(?:\+?1[-. ]?)?\(?8(?:00|88|77|66|55|44|33)\)?[-. ]", re.ASCII)
_ABOUT_PHONES = re.compile(
    r"phone|mobile|cell|call|\btel\b|tel[.:]|text me|whatsapp|ring me|reach|contact|number is|手机|电话|微信|联系|号码|"
    r"拨打|致电",
    re.IGNORECASE,
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
    return not match.group().startswith("+") or _can_be_called(match.group())


def _can_be_called(number: str) -> bool:
    """Whether a number with a country code has the length of that country's numbers."""
    import phonenumbers

    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def _is_brazilian(text: str) -> bool:
    """Whether both check digits of a CPF are right (Receita Federal)."""
    digits = [int(character) for character in text if character.isdigit()]
    for length in (9, 10):
        total = sum(digit * (length + 1 - place) for place, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != digits[length]:
            return False
    return len(set(digits)) > 1


def _is_french(text: str) -> bool:
    """Whether the key of a French social security number is right: 97 − the rest by 97."""
    compact = re.sub(r"\s", "", text)
    number = compact[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(number) % 97 == int(compact[13:])


def _is_spanish(text: str) -> bool:
    """Whether the letter of a Spanish DNI or NIE is right: the rest by 23."""
    compact = re.sub(r"\W", "", text.upper())
    number = compact[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == compact[-1]


_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _is_italian(text: str) -> bool:
    """Whether the last letter of an Italian codice fiscale is right (decree of 23 December 1976)."""
    values = [int(c) if c.isdigit() else ord(c) - ord("A") for c in text[:15]]
    total = sum(_ODD[value] if place % 2 == 0 else value for place, value in enumerate(values))
    return chr(total % 26 + ord("A")) == text[15]


def _is_indian(match: re.Match[str]) -> bool:
    """Whether the text around calls a number of twelve digits an Aadhaar number."""
    return "aadhaar" in match.string[max(0, match.start() - 60) : match.end() + 30].lower()


_IDENTITIES: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]], ...] = (
    ("", _CHINESE_ID, lambda m: _is_chinese_id(m.group())),
    ("-", _SOCIAL_SECURITY, lambda m: True),
    ("-", re.compile(r"(?<![\d.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)", re.ASCII), lambda m: _is_brazilian(m.group())),
    ("", re.compile(r"(?<!\d)[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d(?!\d)", re.ASCII),
     lambda m: _is_french(m.group())),
    ("", re.compile(r"\b(?:\d{8}|[XYZ]-?\d{7})-?[A-HJ-NP-TV-Z]\b", re.ASCII), lambda m: _is_spanish(m.group())),
    ("", re.compile(r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b", re.ASCII), lambda m: _is_italian(m.group())),
    ("", re.compile(r"\b(?![DFIQUV])[A-Z](?![DFIOQUV])[A-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", re.ASCII),
     lambda m: not m.group()[:2].startswith(("BG", "GB", "NK", "KN", "TN", "NT", "ZZ"))),
    ("", re.compile(r"(?<!\d)[2-9]\d{3} \d{4} \d{4}(?! ?\d)", re.ASCII), _is_indian),
)  # fmt: skip
"""A character that such a number holds, its form, and whether its check digits are right."""

_FEWEST_DIGITS = 6
"""As many as the shortest of the numbers has, the British one."""
_MANY_DIGITS = re.compile(r"\d(?:[ .()/\-\u2011]{0,2}[\dA-Z]){6}", re.ASCII)
_MAC = re.compile(
    r"(?<![\w:-])(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])", re.ASCII
)
_IP6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])|"
    r"(?<![\w:.])(?:2[0-9a-f]{3}|"
    r"fd[0-9a-f]{2}):(?:[0-9A-Fa-f]{1,4}:){0,5}:(?:[0-9A-Fa-f]{1,4}:){0,5}[0-9A-Fa-f]{1,4}(?![\w:])",
    re.ASCII,
)
_PAIRED = re.compile(r"[:-](?:(?<=:)[0-9A-Fa-f]{0,4}:|(?<=-)[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-)", re.ASCII)
_NOT_PERSONAL_IP6 = re.compile(r"2001:0?db8", re.IGNORECASE)


def without_personal_data(text: str) -> str:
    """Text with each piece of personal data replaced by its kind in angle brackets."""
    if "@" in text:
        text = _EMAIL.sub(lambda m: m.group() if _ROLE_ADDRESS.match(m.group()) else "<EMAIL>", text)
    outlined = outline(text)
    if b".0." in outlined or b".00." in outlined or b".000." in outlined:
        text = _IP.sub(_replaced("<IP>", _is_personal_ip), text)
    if (text.count(":") >= 2 or text.count("-") >= 3) and _PAIRED.search(text):
        text = _IP6.sub(
            _replaced("<IP>", lambda m: not _NOT_PERSONAL_IP6.match(m.group())), _MAC.sub("<MAC>", text)
        )
    many = outlined.count(b"0") >= _FEWEST_DIGITS and _MANY_DIGITS.search(text)
    return _without_numbers(text) if many else text


def _without_numbers(text: str) -> str:
    text = _IBAN.sub(_replaced("<IBAN>", lambda m: _is_iban(m.group())), text)
    text = _CARD.sub(_replaced("<CARD>", lambda m: _is_card(m.group())), text)
    for sign, pattern, accept in _IDENTITIES:
        if sign in text:
            text = pattern.sub(_replaced("<ID>", accept), text)
    for pattern in _PHONES:
        text = pattern.sub(_replaced("<PHONE>", _is_phone), text)
    return text


def _is_personal_ip(match: re.Match[str]) -> bool:
    return not _ORDINARY_IP.match(match.group()) and not _VERSION.search(
        match.string[max(0, match.start() - 12) : match.start()]
    )


def _replaced(by: str, accept: Callable[[re.Match[str]], bool]) -> Callable[[re.Match[str]], str]:
    return lambda match: by if accept(match) else match.group()
