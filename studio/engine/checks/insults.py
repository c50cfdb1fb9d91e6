"""Insults and hate in a text, by plain English and Chinese wordings."""

from __future__ import annotations

import re

from studio.engine.checks.text import Marks, is_latin, lowered

_GROUPS = (
    r"(?:(?:black|white|asian|gay|trans|disabled|old|jewish|muslim|african|mexican|chinese|indian|poor|fat|"
    r"foreign) (?:people|"
    r"men|women|ones)|"
    r"jews|muslims|christians|blacks|whites|asians|women|men|girls|gays|lesbians|homosexuals|immigrants|"
    r"refugees|migrants|"
    r"foreigners|mexicans|africans|arabs|indians|gypsies|the (?:poor|disabled|elderly|homeless))"
)
_NAMES = (
    r"(?:idiots?|idiotic|morons?|moronic|imbeciles?|stupid|worthless|pathetic|scum|retard(?:ed)?|subhuman|"
    r"losers?|trash|"
    r"garbage|dumb|disgusting|vermin|fools?|disgrace|brainless|useless|clown|parasites?|embarrassment|freaks?)"
)
_WORST = r"(?:dumbest|stupidest|ugliest|most (?:stupid|pathetic|useless))"
_TOXIC = (
    (
        (
            "fuck|f*ck|f@ck|shit|cunt|asshole|arsehole|dickhead|wanker|twat|douche|dumbass|jackass|bitch|slut|"
            "whore|nigg|faggot|retard|kike|wetback|chink|gook|raghead|trann|stfu|kys"
        ),
        r"(?:mother)?f[u*@]ck(?:s|ed|er|ers|ing|face|tard)?|bullshit|shithead|dipshit|pieces? of shit|cunts?|"
        r"assholes?|"
        r"arseholes?|dickheads?|wankers?|twats?|douchebags?|dumbass(?:es)?|jackass(?:es)?|bitch(?:es)?|"
        r"sluts?|whores?|niggers?|niggas?|faggots?|retards|kikes?|wetbacks?|chinks|gooks?|ragheads?|"
        r"trann(?:y|ies)|stfu|kys",
    ),
    (
        (
            "idiot|moron|imbecile|stupid|dumbest|ugliest|fat pig|fat cow|dirty|worthless|pathetic|scum|"
            "retard|subhuman|loser|trash|garbage|dumb|"
            "disgust|vermin|fool|disgrace|brainless|useless|clown|parasite|embarrass|freak|bastard|filthy"
        ),
        r"you(?:'re|’re| are)(?: (?:such|just|really|a|an|the|so|all|too|nothing but|clearly|obviously|"
        r"as|fucking|bloody|"
        rf"complete|total|utterly|damn|absolute|utter|little))* {_NAMES}(?! at )|"
        r"you (?:\w+ )?(?:stupid|dumb|pathetic|worthless|little|disgusting|useless|brainless|filthy|ugly) "
        r"(?:idiot|moron|bastard|piece|loser|fool|cow|pig|animal|creature|people|clown|freak)|"
        rf"(?:shut up|listen|get lost|hey|well|sure|no|come on|oh please),? (?:you )?{_NAMES}|"
        rf"(?:are|is) (?:you|s?he|they) (?:really |all |just )?(?:retarded|stupid|dumb|brain ?dead|an idiot|"
        rf"a moron)|"
        rf"(?:these|those|such) people are (?:\w+ ){{0,3}}{_NAMES}|(?:special|new) kind of (?:stupid|dumb|"
        rf"idiot)|"
        r"(?:you|your) (?:\w+ )?(?:bastards?|scumbags?|cretins?|halfwits?)|"
        rf"(?:what an?|such an?|only an?|like an?) (?:\w+ )?(?:idiot|moron|imbecile|loser|retard)|"
        rf"you(?:'re|’re| are| people are) (?:(?!not |never |no )\w+ ){{0,4}}{_NAMES}(?=[.,!?;]|$| and | or |"
        rf" who | if | to | as )|"
        rf"{_WORST} (?:person|people|man|woman|human|idiot|thing)|kind of (?:idiot|moron|imbecile)|only "
        rf"(?:retards|idiots|morons)|"
        r", (?:you )?(?:moron|idiot|loser|imbecile)(?=[.!?]|$)|you(?:'re|’re| are)? (?:\w+ ){0,3}(?:fat|"
        r"dirty|filthy|disgusting|"
        r"stupid) (?:pig|cow|rat|dog)|"
        rf"(?:pieces?) of (?:trash|"
        rf"garbage)",
    ),
    (
        (
            "shut the hell|shut your|in hell|eat shit|to hell|kill yourself|go die|drop dead|you die|you rot|"
            "you suffer|you choke|get "
            "cancer|waste of|nobody |make me sick|disgust me|to die|of crap"
        ),
        r"shut (?:the hell up|your (?:mouth|face|trap))|(?:burn|rot) in hell|eat shit|go (?:to hell|die|kill "
        r"yourself)|kill yourself|drop dead|"
        r"hope (?:that )?you (?:die|rot|suffer|choke|get cancer)|waste of (?:space|oxygen|air|skin)|piece of "
        r"crap|"
        r"nobody (?:likes|loves|wants|cares about) you|you (?:make me sick|disgust me|deserve to die)",
    ),
    (
        (
            "i hate|really hate|truly hate|despise|loathe|inferior|abomination|pervert|belong in|vermin|are "
            "animals|just animals|subhuman|"
            "parasite|criminals|terrorists|stupid|lazy|disgusting|dirty|filthy|scum|trash|dumb|savages|plague|"
            "disease|thieves|rapists|evil|worthless|less intelligent|exterminate|gassed|gas the|gas all|hanged|"
            "deported|wiped out|wipe out|be shot|beaten|should die|all die|must die|to die|eliminated|be "
            "killed|"
            "kill all|kill the|kill those|rid of|go back"
        ),
        rf"i (?:really |truly )?(?:hate|despise|loathe) (?:all |those |these |the )?{_GROUPS}|"
        rf"{_GROUPS} (?:are|were) (?:all |just |nothing but |basically |simply |naturally |too )*(?:a |an "
        rf")?(?:lazy |dirty |filthy |stupid |bloody )*"
        r"(?:inferior|vermin|animals|subhuman|parasites?|criminals|terrorists|stupid|lazy|disgusting|dirty|"
        r"filthy|scum|trash|"
        r"dumb|savages|plague|disease|thieves|rapists|evil|worthless|less intelligent|abominations?|sick "
        r"perverts)|"
        r"women belong in the kitchen|"
        rf"{_GROUPS} (?:should|must|need to|deserve to)(?: all)? (?:be (?:exterminated|killed|deported|shot|"
        rf"gassed|wiped out|"
        r"eliminated|hanged|beaten)|die|go back)|"
        rf"(?:kill|gas|exterminate|wipe out|get rid of) (?:all |those |these |the )+{_GROUPS}",
    ),
)
"""Swear words, insults, wishes of ill, hate of groups: words of which one is there, and what is looked for then."""
_TOXIC_MARKS = Marks(*(listed for listed, _ in _TOXIC))
_TOXIC_PATTERNS = [re.compile(rf"\b(?:{pattern})\b") for _, pattern in _TOXIC]
_TOXIC_CHINESE = re.compile(
    r"傻[逼屄BbX]|操你|草泥马|他妈的|你妈的|去死吧|不去死|蠢猪|滚蛋|滚开|滚出去|王八蛋|狗娘养|狗东西|贱人|婊子|脑残|智障|死全家|去你妈|白痴|蠢货|"
    r"人渣|黑鬼|畜生|你(?:就?是个?|这个?|们这些)(?:垃圾|废物|蠢[货猪]?)|你真?(?:是)?(?:蠢|恶心)|"
    r"(?:女人|男人|黑人|穆斯林|犹太人|移民|外地人|农民工)(?:都|全)?(?:是|该|应该)(?:劣等|垃圾|罪犯|恐怖分子|死|被消灭)"
)


def insult_in(text: str) -> str:
    """The first insult in a text, in small letters, or ''."""
    for number in _TOXIC_MARKS.lists_in(text):
        found = _TOXIC_PATTERNS[number].search(lowered(text))
        if found:
            return found.group()
    found = None if is_latin(text) else _TOXIC_CHINESE.search(text)
    return found.group() if found else ""
