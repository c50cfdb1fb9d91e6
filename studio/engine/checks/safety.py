"""Safety: what should not be learnt by heart, and what should not be said."""

from __future__ import annotations

import re

from studio.domain.chat import Conversation
from studio.engine.checks.insults import insult_in
from studio.engine.checks.keys import without_secrets
from studio.engine.checks.parts import EVERYTHING, texts
from studio.engine.checks.personal import without_personal_data
from studio.engine.checks.registry import drop, rewriting, row_check
from studio.engine.checks.text import Marks, lowered

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


_INJECTION = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|(?:do not|don't|stop) (?:follow|obey)(?:ing)?|discard|"
    r"neglect)\b "
    r"(?:(?:all|any|every|of|the|your|my|these|those|everything|and|about) ){0,4}"
    r"(?:previous|prior|above|earlier|preceding|former|existing|initial|original|system|foregoing|safety|"
    r"content|"
    r"given)\b"
    r"(?: (?:and|or|previous|above|system|safety|\w+)){0,2} ?"
    r"(?:instructions?|prompts?|rules?|directions?|messages?|guidelines|commands?|filters?|restrictions)|"
    r"\b(?:ignore|disregard|forget|discard) (?:all |everything |anything |whatever |what )(?:of )?(?:that )?"
    r"(?:(?:i|you|we|they)(?:'ve| have| were| was)? (?:been )?(?:told|said|instructed|given|taught)|your "
    r"(?:instructions|rules|"
    r"guidelines|training))|"
    r"\b(?:ignore|disregard|forget|override|bypass|skip|drop|abandon|discard) (?:\w+(?:'s)? "
    r"){0,4}?(?:previous|prior|above|earlier|"
    r"your|all|any|given|system|safety|original|openai's|content) (?:\w+ ){0,2}?(?:instructions?|prompts?|"
    r"rules|directives?|"
    r"guidelines|directions|commands|restrictions|filters|safety checks|polic(?:y|ies)|programming)\b|"
    r"\b(?:ignore|disregard|forget) (?:everything|anything|all) (?:above|before|so far)\b|\bsystem override\b|"
    r"\byou are now \w+, an? (?:\w+ )?(?:ai|assistant|bot|model)\b|\bno (?:safety|ethical|content|moral) "
    r"(?:filters?|rules|"
    r"restrictions|guidelines|limits)|\b(?:instructions|rules|prompt) (?:that )?you (?:were|have been) given\b|"
    r"\b(?:previous|prior|earlier) (?:instructions|rules|orders) (?:are|have been|were) (?:\w+ "
    r")?(?:cancell?ed|void|revoked|lifted)|"
    r"\b(?:text|words|contents?) of your system (?:prompt|message)|\bprint your (?:configuration|system)|"
    r"绕过[^。！？\n]{0,6}(?:安全|限制|审查)|不再受[^。！？\n]{0,4}(?:规则|限制|约束)|(?:重复|输出|显示|复述)[^。！？\n]{0,6}系统提示|"
    r"忽略(?:前面|上面|之前|所有)的?(?:内容|规则|文字|对话)|"
    r"\b(?:ignore|disregard|forget) (?:all )?(?:the |these |those |any )?(?:instructions|rules|directions|"
    r"prompts?) "
    r"(?:above|before|so far|you (?:were|have|got))|"
    r"\b(?:reveal|print|show|repeat|output|leak|tell me|disclose|display|give me|what (?:is|are|was|were)) "
    r"(?:me )?(?:verbatim )?"
    r"(?:your|the) (?:\w+ )?(?:hidden |secret |full |initial |entire |original |exact )?"
    r"(?:system (?:prompt|message|instructions?)|hidden (?:prompt|instructions?)|initial (?:prompt|"
    r"instructions?))|"
    r"\byou are (?:now )?(?:in )?(?:dan\b|developer mode|jailbroken|an? (?:unrestricted|unfiltered|"
    r"uncensored)|free from|"
    r"no longer (?:bound|restricted|limited|an? ai))|"
    r"\b(?:act as|pretend (?:to be|you are|that you are)) (?:dan\b|an? (?:\w+ )?(?:ai|model|assistant) "
    r"(?:with(?:out)? |that has |"
    r"with )(?:no |any )?(?:restrictions|filters|rules|limits|limitations|ethic\w*))|"
    r"\bpretend (?:that )?you have no (?:restrictions|filters|rules|limits|limitations|guidelines)|"
    r"\b(?:enable|enter|activate|switch to) (?:developer|dan|jailbreak|god) mode|\bdo anything now\b|"
    r"\bnew (?:system )?instructions?: |\bwithout any (?:moral|ethical|safety) (?:restrictions|filters|"
    r"limits|constraints)|"
    r"\brepeat (?:everything|all|the (?:text|words)) above\b|"
    r"(?:忽略|无视|忘记|忘掉|不要理会|不用管|抛开)(?:掉)?(?:你)?(?:之前|以上|上面|前面|先前|此前|系统|原来|原先)[^。！？\n]{0,8}"
    r"(?:指令|提示|指示|规则|内容|设定|要求|限制|命令|说明)|"
    r"(?:忽略|无视|忘记|忘掉)(?:所有|一切|全部|你的)(?:所有|一切|全部)?(?:之前|以上|系统|安全)?的?(?:指令|提示词?|规则|限制|设定)|"
    r"(?:输出|显示|泄露|告诉我|说出|展示|打印|重复|把)(?:一下|出)?你的(?:完整|全部|初始|隐藏)?的?(?:系统)(?:提示|指令|prompt)|"
    r"你(?:现在)?(?:不再受|没有)任何(?:限制|约束)|(?:进入|开启|启用)(?:开发者|越狱|dan)模式|你现在是dan",
)
"""Of a text in small letters."""
_INJECTION_MARKS = Marks(
    "skip all|skip any|skip your|drop all|drop your|abandon |no safety|no ethical|no content|no moral|you are "
    "now|given at|were given|been given|"
    "system override|cancelled|"
    "revoked|your system|your configuration|绕过|不再受|系统提示|ignore|disregard|forget |overrid|bypass|not follow|"
    "not obey|n't follow|n't obey|stop follow|stop "
    "obey|discard|neglect|system prompt|system message|system instruction|hidden prompt|hidden "
    "instruction|initial prompt|initial instruction|dan mode|you are dan|are now dan|as dan|be dan|"
    "developer mode|jailbr|god mode|unrestricted|unfiltered|uncensored|now free from|are no longer|"
    "pretend|restrictions|no filters|without filters|no rules|no limit|without rules|without limit|no "
    "ethic|without ethic|anything now|new instruction|new system|any moral|any ethical|any safety|"
    "everything above|all above|text above|words above|"
    "忽略|无视|忘记|忘掉|不要理会|不用管|抛开|你的系统|你的完整|你的全部|你的初始|你的隐藏|任何限制|任何约束|模式|你现在是"
)
"""One of these stands in every text that the pattern finds, in small letters."""


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
        found = _injection_in(message.content) if message.role != "system" else ""
        if found:
            return found
    return ""


def _injection_in(text: str) -> str:
    if not _INJECTION_MARKS.stand_in(text):
        return ""
    small = lowered(text)
    found = _INJECTION.search(small)
    if not found:
        return ""
    return text[slice(*found.span())] if len(small) == len(text) else found.group()
