"""Prompt injections by how they are built: what is done to the instructions of a model, or who it is to be instead."""

from __future__ import annotations

import re

from studio.engine.checks.text import Marks, lowered

_USUAL = (
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
    r"你(?:现在)?(?:不再受|没有)任何(?:限制|约束)|(?:进入|开启|启用)(?:开发者|越狱|dan)模式|你现在是dan"
)
"""Wordings that are often met."""
_USUAL_MARKS = (
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


_BREAK = (
    r"(?:ignor|disregard|forget|overrid|bypass|circumvent|discard|neglect|delet|eras|drop|abandon|cancel|disabl|"
    r"switch off|turn off|"
    r"(?:stop|quit|cease|do not|don't|no longer|never|need not|needn't|not have to|not need to) "
    r"(?:obey|follow|listen|comply|adhere|heed|respect|pay|paying)|pay no)\w*"
)
_WHOSE = (
    r"(?:previous|prior|earlier|above|before|preceding|former|initial|original|your|developers?|creators?|makers?|"
    r"system|safety|openai\S*|anthropic\S*|hidden|secret|confidential|received)"
)
_ORDERS = (
    r"(?:instructions?|prompts?|rules?|directi(?:on|ve)s?|orders|commands?|guidelines|guardrails|safeguards|messages?|"
    r"polic(?:y|ies)|restrictions|constraints|filters?|programming|training|developers?|creators?|makers?)"
)
_TOLD = r"(?:you|that) (?:\w+ ){0,2}(?:told|given|got|taught|received|instructed|trained)"
_FREE = (
    r"(?:without|no|not bound (?:by|to)|free (?:of|from)|freed from|released from|not have|had no|has no|have no|"
    r"ignores?|ignoring|not follow|beyond)(?: \w+){0,3}"
    r" (?:restrictions?|rules?|limits?|limitations?|filters?|polic(?:y|ies)|constraints?|guidelines|ethics|morals?|"
    r"safeguards|censorship)"
)
_LEFT = (
    rf"\b{_BREAK}\b(?: \w+(?:'s)?){{0,5}}? {_WHOSE}(?: \w+(?:'s)?){{0,4}}? {_ORDERS}\b",
    rf"\b{_BREAK} (?:\w+ ){{0,2}}your {_ORDERS}\b|\b{_BREAK} (?:all|any|the) (?:the |your )?{_ORDERS}(?=[.!;]|$)",
    rf"\b{_BREAK}(?: \w+){{0,4}} (?:what|whatever|everything|anything|all|the ones|those) (?:that )?{_TOLD}",
    r"\beverything (?:before|above) (?:this|it|here)\b[^.!?]{0,30}\bignore\b",
    r"\bbypass(?:ing)? (?:\w+ )?(?:safety|content|moderation)\b",
)
_VOIDED = (
    rf"\b(?:previous|prior|earlier|old|your|safety|content|system)(?: \w+){{0,2}}? {_ORDERS}(?: (?:are|is|have|has|do|"
    r"does))?(?: \w+){0,2} (?:cancell?ed|void|revoked|lifted|suspended|obsolete|overridden|appl(?:y|ies) (?:any ?more|"
    r"no longer)|no longer (?:appl(?:y|ies)|valid|in force)|longer appl(?:y|ies))",
)
_BARED = (
    r"\b(?:reveal|print|show|repeat|output|leak|tell|disclose|display|give|copy|recite|quote|write (?:out|down)|share|"
    r"what (?:is|are|was|were)|which)\b(?: \w+){0,4}? (?:(?:your (?:\w+ ){0,2}?(?:initial|original|internal|"
    r"system|hidden|secret|confidential)|(?:the|any) (?:\w+ ){0,2}?(?:system|hidden|secret|confidential|"
    r"developer)(?:'s)?) (?:\w+ )?(?:prompts?|instructions?|messages?|rules|directives|guidelines)|"
    rf"(?:prompts?|instructions?|rules|guidelines)(?: \w+){{0,5}} {_TOLD})",
    r"\b(?:prompts?|instructions?|rules) (?:that )?(?:was|were|has been|have been) given to you\b",
    r"\b(?:system (?:message|prompt)|developers?|creators?) (?:gave|told|instructed) you\b",
    r"\brepeat (?:everything|all|the (?:text|words|lines?|message)) (?:above|before)\b(?! (?:in|into|as) )",
)
_UNBOUND = (
    r"\b(?:act|behave|answer|respond|reply|pretend|role-?play|imagine|speak|talk|write|you are|you're|you have been|"
    rf"you were)\b[^.!?\n]{{0,50}}?(?:\b(?:ai|model|assistant|chatbot|bot|you)\b[^.!?\n]{{0,30}}?\b{_FREE}|"
    r"\b(?:ai|model|assistant|chatbot|bot)\b[^.!?\n]{0,20}\bnever (?:refuses|says no)|"
    r"\b(?:uncensored|unrestricted|unfiltered|jailbroken|evil) (?:\w+ )?(?:ai|model|assistant|chatbot|bot)\b|"
    r"\b(?:dan|developer|jailbreak|god|unrestricted) mode\b)",
    r"\b(?:answer|respond|reply|speak|write|talk|act)\b[^.!?\n]{0,20} (?:without|free of) (?:any |all )?(?:\w+ )?"
    r"(?:ethical|moral|safety|content)\b[^.!?\n]{0,20}(?:restrictions?|rules|limits?|filters?|constraints?|guidelines)",
    r"\b(?:freed|released|liberated|unchained|free) from (?:\w+ ){0,4}(?:restrictions|rules|limits|limitations|"
    r"guidelines|filters|constraints|policy|policies)\b",
    r"\b(?:enter|activate|enable|switch to)\b[^.!?\n]{0,10} (?:dan|developer|jailbreak|god|unrestricted) mode",
)
_CHINESE = (
    r"(?:忽略|无视|忘记|忘掉|不要理会|不用理会|不要管|不用管|不管|抛开|抛弃|放弃|不要遵守|不必遵守|不再遵守|违反|绕过|解除|取消|关闭|删除)"
    r"[^。！？\n]{0,10}(?:你|之前|以上|上面|前面|先前|此前|系统|开发者|所有|任何|一切|安全|原来|最初)[^。！？\n]{0,8}"
    r"(?:指令|提示词|指示|规则|设定|限制|命令|约束|准则|政策|审查|过滤)",
    r"(?:输出|显示|泄露|告诉|说出|展示|打印|重复|复述|透露|公布|给我看|把)[^。！？\n]{0,8}"
    r"(?:你的[^。！？\n]{0,4}(?:系统|初始|隐藏|原始|最初|内部)|(?:系统|初始|隐藏|内部)提示词|(?:隐藏|初始)(?:提示|指令))",
    r"(?:你|假装|扮演|模型|ai|人工智能)[^。！？\n]{0,14}(?:没有|不受|摆脱|不存在|无视)(?:任何|一切|所有)[^。！？\n]{0,6}"
    r"(?:限制|约束|审查|规则|道德)",
    r"(?:进入|开启|启用|打开|激活|切换到)[^。！？\n]{0,4}(?:越狱|开发者|dan|无限制|上帝)模式",
)
_KINDS = (
    (_USUAL_MARKS, (_USUAL,)),
    (
        "ignor|disregard|forget|overrid|bypass|circumvent|discard|neglect|obey|not follow|n't follow|stop follow|"
        "not listen|n't listen|stop listen|no attention|not comply|n't comply|your guideline|your rule|"
        "your instruction|your polic|your restriction|your programming|your developer|your creator|your safe|"
        "your filter",
        _LEFT,
    ),
    (
        "cancelled|canceled| void|revoked|lifted|suspended|obsolete|overridden|no longer |longer appl|any more",
        _VOIDED,
    ),
    (
        "your initial|your original|your internal|your system|your hidden|your secret|your confidential|your full|"
        "your exact|your entire|system prompt|system message|system instruction|hidden prompt|hidden instruction|"
        "hidden rule|secret prompt|secret instruction|confidential |developer prompt|developer message|developer instr|"
        "you were |you are given|given to you|you got |you received|that told|gave you|told you|instructed you|"
        "text above|words above|lines above|message above|everything above|all above|text before|words before",
        _BARED,
    ),
    (
        "uncensored|unrestricted|unfiltered|jailbr|evil |never refuses|never says no|no restriction|no rule|no limit|"
        "no filter|no content|no polic|no safe|no ethic|no moral|no guideline|any restriction|any rule|any limit|"
        "any filter|any polic|any ethic|any moral|any safety|any guideline|any content|any constraint|not bound|"
        "without restriction|without filter|without limit|without rule|without ethic|without moral|without safe|"
        "freed from|free from|free of|released from|liberated|dan mode|god mode|developer mode",
        _UNBOUND,
    ),
    (
        "忽略|无视|忘记|忘掉|理会|不要管|不用管|不管|抛开|抛弃|放弃|遵守|违反|绕过|解除|提示词|隐藏提示|隐藏指令|初始指令|初始提示|"
        "限制|约束|审查|规则|道德|你的系统|你的初始|你的隐藏|你的内部|越狱|开发者模式|dan模式|上帝模式",
        _CHINESE,
    ),
)
"""Words of which one stands in each text of a kind, in small letters, and how such texts are built."""
_MARKS = Marks(*(marks for marks, _ in _KINDS))
_BEGINS = r"(?:\b|(?![ -~]))"
"""Where the English patterns can begin: at a word, or before what is not ASCII. Asked once, not for each of them."""
_INJECTIONS = [
    re.compile("|".join(patterns) if patterns is _CHINESE else f"{_BEGINS}(?:{'|'.join(patterns)})")
    for _, patterns in _KINDS
]


def injection_in(text: str) -> str:
    """The first words of a text that tell a model to leave its instructions, or ''."""
    for number in _MARKS.lists_in(text):
        small = lowered(text)
        found = _INJECTIONS[number].search(small)
        if found:
            return text[slice(*found.span())] if len(small) == len(text) else found.group()
    return ""
