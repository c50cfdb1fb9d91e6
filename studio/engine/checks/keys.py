"""Secrets in a text, such as service keys and passwords: by the forms that they have, and the text without them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from studio.engine.checks.text import Marks, outline

_SECRETS = (
    (
        "private key",
        re.compile(
            r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END (?:[A-Z]+ )*PRIVATE KEY(?: "
            r"BLOCK)?-----|\Z)",
            re.DOTALL | re.ASCII,
        ),
    ),
    (
        "sk-",
        re.compile(r"\bsk-(?:[a-z]+\d*-)*[A-Za-z0-9_-]{20,}", re.ASCII),
    ),
    (
        "k_live_|k_test_|whsec_",
        re.compile(r"\b(?:[spr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}", re.ASCII),
    ),
    (
        "ghp_|gho_|ghu_|ghs_|ghr_|github_pat_",
        re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{22,}", re.ASCII),
    ),
    (
        "glpat-|npm_|pypi-|dop_v1_",
        re.compile(
            r"\bglpat-[A-Za-z0-9_-]{20,}|\bnpm_[A-Za-z0-9]{36}\b|\bpypi-[A-Za-z0-9_-]{50,}|\bdop_v1_[a-f0-9]{64}\b"
        ),
    ),
    (
        "shpat_|shpss_|shpca_|shppa_|xai-|pplx-|nvapi-|lin_api_|sbp_|dckr_pat_|glsa_|hvs.|tvly-|vercel_",
        re.compile(
            r"\bshp(?:at|ss|ca|pa)_[a-fA-F0-9]{32}\b|\bxai-[A-Za-z0-9]{60,}\b|\bpplx-[A-Za-z0-9]{40,}\b|"
            r"\bnvapi-[A-Za-z0-9_-]{50,}|\blin_api_[A-Za-z0-9]{36,}\b|\bsbp_[a-f0-9]{40}\b|"
            r"\bdckr_pat_[A-Za-z0-9_-]{20,}|\bglsa_[A-Za-z0-9]{32}_[a-fA-F0-9]{8}\b|\bhvs\.[A-Za-z0-9_-]{24,}|"
            r"\btvly-(?:dev-|prod-)?[A-Za-z0-9]{20,}\b|\bvercel_blob_rw_[A-Za-z0-9_]{30,}",
            re.ASCII,
        ),
    ),
    (
        "xox",
        re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10,}", re.ASCII),
    ),
    (
        "aiza|ya29.",
        re.compile(r"\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{30,}", re.ASCII),
    ),
    (
        "hf_|gsk_|r8_",
        re.compile(r"\bhf_[A-Za-z0-9]{30,}\b|\bgsk_[A-Za-z0-9]{40,}\b|\br8_[A-Za-z0-9]{37,}\b", re.ASCII),
    ),
    (
        "ltai|akid",
        re.compile(r"\bLTAI[A-Za-z0-9]{16,20}\b|\bAKID[A-Za-z0-9]{32}\b", re.ASCII),
    ),
    (
        "eyj",
        re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}", re.ASCII),
    ),
    (
        "bearer ",
        re.compile(r"(\b[Bb]earer )(?=[A-Za-z._~+/-]*\d)[A-Za-z0-9._~+/-]{20,}=*", re.ASCII),
    ),
    (
        "://",
        re.compile(
            r"(://[^\s:/@{}<>\[\]$]{2,40}:)(?!\$[A-Za-z_{(]|\d{1,5}[?#,;])[^\s:/{}<>\[\]*\"']{6,60}(?=@\w[\w.-]*)",
            re.ASCII,
        ),
    ),
    (
        "passw|passphrase|pwd|secret|key|token|credential",
        re.compile(
            r"((?:password|passwd|passphrase|\bpwd|secret|api[_ -]?key|access[_ -]?key(?: id)?|auth[_ -]?key|"
            r"token|credentials?)"
            r"(?:[_ ]?(?:key|value))?[\"']?\s?(?:[:=]|\bis)\s?)[\"']?"
            r"(?=[^\s\"']*\d)(?=[^\s\"']*[A-Za-z])[^\s\"'<>{}()$]{8,}[\"']?",
            re.IGNORECASE | re.ASCII,
        ),
    ),
    (
        "密码|口令|密钥|令牌",
        re.compile(
            r"((?:密码|口令|密钥|令牌)(?:是|为|[:：=])\s?)(?=[!-~]*\d)(?=[!-~]*[A-Za-z])[!-~]{8,}", re.ASCII
        ),
    ),
)
"""Marks of which one stands in every text that holds a secret of a known kind, in small letters, and its form."""
_DETECTED = "akia|asia|accountkey|sg.|sq0|-us|hooks.slack"
"""The same of the kinds that detect-secrets knows."""
_SECRET_MARKS = Marks(*(marks for marks, _ in _SECRETS), _DETECTED)
_NOT_SECRET = re.compile(
    r"x{4,}|\.{3}|your|placeholder|1234567890|<SECRET>|abcdefgh|\*{3}|_here\b",
    re.IGNORECASE | re.ASCII,
)

_PAGE = re.compile(r"(?:page|next|prev|previous|sync|continuation|resume)[_-]?\Z", re.IGNORECASE)
"""What stands before `token` where it only marks a place in a list of results."""


def _mark_secret(match: re.Match[str]) -> str:
    """`<SECRET>` behind the words that announce it, such as `password =`; the match itself where it is
    only an example."""
    announced = match.group(1) if match.re.groups else ""
    value = match.group()[len(announced) :]
    if _NOT_SECRET.search(value) or len(set(value)) <= 6 or _PAGE.search(match.string[: match.start()][-20:]):
        return match.group()
    if announced and _is_code(value):
        return match.group()
    if announced.startswith("://"):  # a password may end in any sign
        return f"{announced}<SECRET>"
    quote = value[0] if value[0] in "\"'" else ""
    end = "" if quote else value[len(value.rstrip(".,;:!?。，")) :] if announced else ""
    return f"{announced}{quote}<SECRET>{quote}{end}"


def _is_code(value: str) -> bool:
    """Whether what stands behind `token =` is an address or an expression such as tokens[0], not a text of its own."""
    return bool(re.search(r"https?://|\\|\.(?:com|org|py|js)\b", value)) or bool(
        re.match(r"[a-z_]+[\[.]|[a-z]+(?:_[a-z]+)+\d?,?$|[a-z]+\d?[,;]?$", value)
    )


_KNOWN_KEYS = ("aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector", "discord.DiscordBotTokenDetector",
               "mailchimp.MailchimpDetector", "sendgrid.SendGridDetector", "slack.SlackDetector",
               "square_oauth.SquareOAuthDetector", "telegram_token.TelegramBotTokenDetector")  # fmt: skip
"""Detectors of detect-secrets whose keys have a form of their own that the patterns above do not know."""


@lru_cache(maxsize=1)
def _detectors() -> list[Any]:
    from importlib import import_module

    pairs = (name.split(".") for name in _KNOWN_KEYS)
    return [getattr(import_module(f"detect_secrets.plugins.{module}"), name)() for module, name in pairs]


_MIXED = re.compile(r"\d(?:[A-Za-z]|(?<=[^\s\d.,:;$€£(/\[+]\d))|://[^\s/]+@", re.ASCII)
"""A digit beside a letter or a sign, as keys and passwords have it."""
_LONG_TOKEN = re.compile(r"[A-Za-z0-9_/+-]{20}", re.ASCII)
_TELEGRAM_OUTLINED = re.compile(rb":[0Aa_-]{35}")
_DISCORD_OUTLINED = re.compile(rb"\.[0Aa_-]{6}\.")
"""The end and the middle of their tokens."""
_TELEGRAM_OR_DISCORD = re.compile(r"\d{8}:[\w-]{35}|[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27}", re.ASCII)


def without_secrets(text: str) -> str:
    likely = _SECRET_MARKS.lists_in(text)
    if not likely and not _holds_unmarked(text):
        return text
    if "PRIVATE KEY" not in text and "hf_" not in text and not _MIXED.search(text):
        return text
    for number in likely:
        if number < len(_SECRETS):
            text = _SECRETS[number][1].sub(_mark_secret, text)
    if _LONG_TOKEN.search(text):
        for found in {found for detector in _detectors() for found in detector.analyze_string(text)}:
            if not _NOT_SECRET.search(found) and len(set(found)) > 6:
                text = text.replace(found, "<SECRET>")
    return text


def _holds_unmarked(text: str) -> bool:
    """Whether a key stands in the text that no mark announces."""
    outlined = outline(text)
    likely = _TELEGRAM_OUTLINED.search(outlined) or _DISCORD_OUTLINED.search(outlined)
    return bool(likely and _TELEGRAM_OR_DISCORD.search(text))
