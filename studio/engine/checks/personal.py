"""Personal data in a text: where it is, by form and check digits, and the text without it."""

from __future__ import annotations

import re
from collections.abc import Callable

from studio.engine.checks.text import outline

_EMAIL = re.compile(r"(?<![\w.+/%-])[A-Za-z0-9][\w.+-]*@(?:[a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}\b", re.ASCII)
_ROLE_ADDRESS = re.compile(
    r"(?:info|support|contact|hello|help|sales|office|service|no-?reply|admin|webmaster|press|git)@", re.I
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
_FREE_OF_CHARGE = re.compile(r"(?:\+?1[-. ]?)?\(?8(?:00|88|77|66|55|44|33)\)?[-. ]", re.ASCII)
_ABOUT_PHONES = re.compile(
    r"phone|mobile|cell|call|\btel\b|tel[.:]|text me|whatsapp|ring me|reach|contact|number is|手机|电话|微信|联系|号码|"
    r"拨打|致电",
    re.IGNORECASE,
)

_PHONE_BEFORE = re.compile(
    r"(?:\b(?:tele)?phone|\bmobile|\bcell|\btel\b|\bcall\b|\bdial|\btext me|whatsapp|\bring me|"
    r"reach (?:me|us|him|her|them)|\bfax|手机|电话|微信|拨打|致电)[^\n\d]{0,30}\Z",
    re.IGNORECASE | re.ASCII,
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


def _is_named_phone(match: re.Match[str]) -> bool:
    """Whether a number of nine to eleven digits that could be any other stands behind a word for telephones."""
    digits = re.sub(r"\D", "", match.group())
    if not 9 <= len(digits) <= 11 or len(set(digits)) <= 2 or _FREE_OF_CHARGE.match(match.group()):
        return False
    return bool(_PHONE_BEFORE.search(match.string[max(0, match.start() - 40) : match.start()]))


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


_NUMBERS: tuple[tuple[str, bytes, str, Callable[[re.Match[str]], bool]], ...] = (
    ("<IBAN>", rb"AA00", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b", lambda m: _is_iban(m.group())),
    ("<CARD>", rb"0000(?:[ -]?0){9}",
     r"(?<![\d.,-])(?:4\d{3}|5[1-5]\d{2}|2[2-7]\d{2}|3[47]\d{2}|6(?:011|5\d{2})|62\d{2})(?:[ -]?\d){9,15}(?![\d.,]?\d)",
     lambda m: _is_card(m.group())),
    ("<ID>", rb"0{17}",
     r"(?<!\d)[1-8]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![\dA-Za-z])",
     lambda m: _is_chinese_id(m.group())),
    ("<ID>", rb"000-00-0000", r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])", lambda m: True),
    ("<ID>", rb"000\.000\.000-00", r"(?<![\d.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)", lambda m: _is_brazilian(m.group())),
    ("<ID>", rb"0 ?00 ?00 ?0[0A] ?000 ?000 ?00",
     r"(?<!\d)[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d(?!\d)",
     lambda m: _is_french(m.group())),
    ("<ID>", rb"0000000-?A", r"\b(?:\d{8}|[XYZ]-?\d{7})-?[A-HJ-NP-TV-Z]\b", lambda m: _is_spanish(m.group())),
    ("<ID>", rb"AAAAAA00A00A000A", r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b",
     lambda m: _is_italian(m.group())),
    ("<ID>", rb"AA ?00 ?00 ?00 ?A", r"\b(?![DFIQUV])[A-Z](?![DFIOQUV])[A-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b",
     lambda m: not m.group()[:2].startswith(("BG", "GB", "NK", "KN", "TN", "NT", "ZZ"))),
    ("<ID>", rb"0000 0000 0000", r"(?<!\d)[2-9]\d{3} \d{4} \d{4}(?! ?\d)", _is_indian),
    # +49 170 1234567, +1 (202) 555-0143
    ("<PHONE>", rb"\+0", r"(?<![\w+])\+[1-9]\d{0,2}(?:[ .\-/]?\(?\d{1,5}\)?){2,6}(?![\w%])", _is_phone),
    # (202) 555-0143, 202-555-0143, 202.555.0143
    ("<PHONE>", rb"000[-.]0000",
     r"(?<![\w.$€£+-])(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-.]\d{4}(?![\w-]|[.,]\d)", _is_phone),
    # 06 12 34 56 78
    ("<PHONE>", rb"00(?:[ .]00){4}", r"(?<![\d.,])0[1-9](?:[ .]\d{2}){4}(?![\d.,]?\d)", _is_phone),
    # 07700 900123, 030 12345678, 0151/23456789
    ("<PHONE>", rb"000[ /-]00000", r"(?<![\d.,/-])0\d{2,4}[ /-]\d{5,8}(?![\d.,/-]?\d)", _is_phone),
    # 020 7925 0918, 01223 336 399, 03-3224-5000, 0049 89 21802180
    ("<PHONE>", rb"00[ -]000",
     r"(?<![\d.,/$€£+-])(?:0\d{2} \d{4} \d{4}|0\d{4} \d{3} \d{3}|0\d{1,2}-\d{4}-\d{4})(?![\w%]|[.,/-]\d)",
     lambda m: len(set(m.group())) > 4),
    ("<PHONE>", rb"000", r"(?<![\d.,/$€£+-])00[1-9]\d{1,2}(?:[ .-]\(?\d{1,8}\)?){1,5}(?![\w%]|[.,/-]\d)",
     lambda m: _can_be_called("+" + m.group()[2:])),
    # 415 555 2671, 020 7946 0958, (0)171 123 4567, beside a word about telephones
    ("<PHONE>", rb"0[) .-]{1,2}00",
     r"(?<![\d.,/$€£+-])(?<![$€£] )\(?[02-9]\d{1,4}\)?(?:[ .-]\d{2,4}){2,4}(?![\w%]|[.,/-]\d)", _is_named_phone),
    # 4155552671, 02079460958, beside the word itself
    ("<PHONE>", rb"0{10}", r"(?<![\w.,/$€£+-])(?:0\d{9,10}|[2-9]\d{9})(?![\w%]|[.,/-]\d)", _is_named_phone),
    # 13812345678
    ("<PHONE>", rb"000[ -]?0000[ -]?0000", r"(?<!\d)1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d)", _is_phone),
)  # fmt: skip
"""The kind of a number, what its outline holds, its form, and whether its check digits are right."""
_FORMS = tuple(
    (kind, re.compile(outlined), re.compile(form, re.ASCII), accept)
    for kind, outlined, form, accept in _NUMBERS
)

_FEWEST_DIGITS = 6
"""As many as the shortest of the numbers has, the British one."""
_MANY_DIGITS = re.compile(r"\d(?:[ .()/\-\u2011]{0,2}[\dA-Z]){6}", re.ASCII)
# What the outlines hold of texts with such a number and with such an address; what is not ASCII is zeros in them.
_DIGITS_OUTLINED = re.compile(rb"0(?:[ .()/\x00-]{0,6}[0A]){6}")
_IP_OUTLINED = re.compile(rb"\.0{1,3}\.")
_COLONS_OUTLINED = re.compile(rb":[0Aa]{0,4}:")
_DASHES_OUTLINED = re.compile(rb"-[0Aa]{2}-[0Aa]{2}-")
_MAC = re.compile(
    r"(?<![\w:-])(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])", re.ASCII
)
_IP6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])|"
    r"(?<![\w:.])(?:2[0-9a-f]{3}|"
    r"fd[0-9a-f]{2}):(?:[0-9A-Fa-f]{1,4}:){0,5}:(?:[0-9A-Fa-f]{1,4}:){0,5}[0-9A-Fa-f]{1,4}(?![\w:])",
    re.ASCII,
)
_NOT_PERSONAL_IP6 = re.compile(r"2001:0?db8", re.IGNORECASE)


def without_personal_data(text: str) -> str:
    """Text with each piece of personal data replaced by its kind in angle brackets."""
    if "@" in text:
        text = _EMAIL.sub(lambda m: m.group() if _ROLE_ADDRESS.match(m.group()) else "<EMAIL>", text)
    outlined = outline(text)
    if _IP_OUTLINED.search(outlined):
        text = _IP.sub(_replaced("<IP>", _is_personal_ip), text)
    if _COLONS_OUTLINED.search(outlined) or _DASHES_OUTLINED.search(outlined):
        text = _IP6.sub(
            _replaced("<IP>", lambda m: not _NOT_PERSONAL_IP6.match(m.group())), _MAC.sub("<MAC>", text)
        )
    many = outlined.count(b"0") >= _FEWEST_DIGITS and _DIGITS_OUTLINED.search(outlined)
    return _without_numbers(text, outlined) if many and _MANY_DIGITS.search(text) else text


def _without_numbers(text: str, outlined: bytes) -> str:
    """Without numbers of each form in turn, which is looked for only where the outline of the text has its like."""
    for kind, likeness, form, accept in _FORMS:
        if likeness.search(outlined):
            text = form.sub(_replaced(kind, accept), text)
    return text


def _is_personal_ip(match: re.Match[str]) -> bool:
    return not _ORDINARY_IP.match(match.group()) and not _VERSION.search(
        match.string[max(0, match.start() - 12) : match.start()]
    )


def _replaced(by: str, accept: Callable[[re.Match[str]], bool]) -> Callable[[re.Match[str]], str]:
    return lambda match: by if accept(match) else match.group()
