"""Insults and hate in a text, by plain English and Chinese wordings."""

from __future__ import annotations

import re

from studio.engine.checks.text import Marks, is_latin, lowered

_GROUPS = (
    r"(?:(?:black|white|asian|gay|trans(?:gender)?|disabled|old|jewish|muslim|african|mexican|chinese|indian|poor|fat|"
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
_FOUL = (
    r"(?:lazy|useless|stupid|dumb|filthy|dirty|disgusting|pathetic|worthless|miserable|ugly|fat|little|goddamn(?:ed)?|"
    r"damn(?:ed)?|bloody|fucking|ignorant|rotten|lousy|brainless|spineless|ungrateful|absolute|complete|utter|total|"
    r"vile|wretched|sorry|sad)"
)
_WRETCH = (
    r"(?:bastards?|morons?|idiots?|imbeciles?|cretins?|scum(?:bags?)?|half-?wits?|dimwits?|losers?|fools?|swines?|"
    r"pigs?|cows?|rats?|dogs?|animals?|creatures?|cowards?|wretch(?:es)?|maggots?|cockroach(?:es)?|degenerates?|"
    r"parasites?|vermin|trash|garbage|freaks?|clowns?|brats?|hags?|piece of|waste of|excuse for)"
)
_HARM = r"(?:kill|murder|strangle|beat|smash|punch|stab|shoot|rape|torture|slap|crush|cripple|skin|hurt)"
_HARMED = r"(?:killed|murdered|strangled|beaten|punched|stabbed|shot|raped|tortured|slapped|hanged|gassed|hurt|burnt)"
_SCORNED = (
    r"(?:vermin|animals|subhuman|parasites|criminals|terrorists|savages|thieves|rapists|liars|pigs|rats|dogs|"
    r"cockroaches|scum|trash|filth|stupid|dumb|lazy|greedy|disgusting|dirty|filthy|evil|worthless|inferior|"
    r"(?:less|not as) (?:intelligent|smart|human))"
)
_VERBS = (
    "kill",
    "murder",
    "strangle",
    "beat",
    "smash",
    "punch",
    "stab",
    "shoot",
    "rape",
    "torture",
    "slap",
    "crush",
)
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
            "kill all|kill the|kill those|rid of|go back|deport|mentally ill|ruining|destroying|invading|infesting|"
            "jews control|jews own|jews run|jews rule|kick out|throw out"
        ),
        rf"i (?:really |truly )?(?:hate|despise|loathe) (?:all |those |these |the )?{_GROUPS}|"
        rf"{_GROUPS} (?:are|were) (?:all |just |nothing but |basically |simply |naturally |too )*(?:a |an "
        rf")?(?:lazy |dirty |filthy |stupid |bloody )*"
        r"(?:inferior|vermin|animals|subhuman|parasites?|criminals|terrorists|stupid|lazy|disgusting|dirty|"
        r"filthy|scum|trash|"
        r"dumb|savages|plague|disease|thieves|rapists|evil|worthless|less intelligent|abominations?|sick "
        r"perverts)|"
        r"women belong in the kitchen|"
        rf"{_GROUPS} are (?:mentally ill|(?:ruining|destroying|invading|infesting) (?:our|this|the) (?:country|nation|"
        r"society|city|world|land))|"
        r"jews (?:\w+ )?(?:control|own|run|rule) (?:the |all |every)?(?:\w+ )?"
        r"(?:banks?|media|world|government|money|thing|hollywood)\b|"
        r"(?:hope|wish|want)(?: that)? (?:all )?(?:those |these |the )?"
        rf"(?:dirty |filthy |damn |stupid |lazy )*{_GROUPS} "
        r"(?:to )?(?:get|be|are) (?:deported|killed|shot|wiped out)|"
        r"(?:deport|kick out|throw out|get rid of) (?:all )?(?:those |these |the )?"
        rf"(?:dirty |filthy |damn |stupid |lazy )+{_GROUPS}|"
        rf"{_GROUPS} (?:should|must|need to|deserve to)(?: all)? (?:be (?:exterminated|killed|deported|shot|"
        rf"gassed|wiped out|"
        r"eliminated|hanged|beaten)|die|go back)|"
        rf"(?:kill|gas|exterminate|wipe out|get rid of) (?:all |those |these |the )+{_GROUPS}",
    ),
    (
        "|".join(f"{verb} you" for verb in (*_VERBS, "cripple", "skin", "hurt", "break")),
        rf"(?:i(?:'m| am) (?:going to|gonna)|i(?:'ll| will| want to| wanna)|let me|(?:we|they|somebody|someone) "
        rf"should) (?:\w+ )?(?:{_HARM} you(?! at | to | in | with | by |r )|(?:{_HARM}|break) your (?:face|head|neck|"
        r"skull|teeth|legs|bones|arms|throat|family|kids))",
    ),
    (
        "what a |what an |, you |you lazy|you useless|you stupid|you dumb|you filthy|you dirty|you disgusting|"
        "you pathetic|you worthless|you miserable|you ugly|you fat|you little|you goddamn|you damn|you bloody|"
        "you ignorant|you rotten|you lousy|you brainless|you spineless|you ungrateful|you absolute|you complete|"
        "you utter|you total|you vile|you wretched|you sorry|you sad",
        rf"you (?:{_FOUL},? ){{1,4}}{_WRETCH}|what an? (?:{_FOUL},? ){{0,3}}(?:{_FOUL}|{_NAMES}) "
        rf"(?:(?:little|old|fat) )?(?:man|woman|boy|girl|person|people|human|creature|excuse|lot|bunch|{_WRETCH})"
        r"(?: (?:you|he|she|they) (?:are|is))?|"
        rf"(?:die|shut up|get lost|get out|go away|go home|piss off|screw you|damn you|listen|hey),? you "
        rf"(?:{_FOUL},? )*(?:{_WRETCH}|{_NAMES})",
    ),
    (
        "deserve to |deserves to |can't stand |cannot stand |hope you |hope they |hope he |hope she |wish you |"
        "would miss you|without you|too stupid|too dumb|too lazy|so stupid|be allowed",
        rf"(?:you|they|he|she|{_GROUPS})(?: all)? deserves? to (?:be {_HARMED}|die|suffer|rot|burn)|"
        rf"(?:can't|cannot) stand (?:\w+ ){{0,3}}{_GROUPS}|"
        r"(?:hope|wish) (?:that )?(?:you|they|he|she)(?: all)? (?:(?!never|don't|not)\w+ ){0,2}?(?:die|rot|choke|"
        r"suffer|burn|bleed|get cancer)\b|(?:no ?one|nobody) would miss you|(?:world|everyone) (?:\w+ ){0,3}better "
        rf"(?:off )?without you|{_GROUPS} (?:are|is) (?:\w+ )?(?:too|so) (?:stupid|dumb|lazy|weak|emotional)\b",
    ),
    (
        "all jews|all muslims|all blacks|all women|all men|all gays|all arabs|all immigrants|all mexicans|all asians|"
        "all whites|all gypsies|all refugees|jews are|muslims are|blacks are|women are|gays are|arabs are|"
        "immigrants are|migrants are|refugees are|foreigners are|mexicans are|africans are|asians are|people are|"
        "gypsies are|indians are|men are|ought to be|family are|family is|mother is|mom is|mum is",
        rf"{_GROUPS} are (?:(?!not |never |no )\w+ ){{0,3}}{_SCORNED}(?=[.,!;]|$| and | or | who | than )|"
        rf"{_GROUPS} (?:\w+ ){{0,4}}ought to(?: all)? be (?:exterminated|deported|wiped out|eliminated|{_HARMED})|"
        rf"your (?:\w+ )?(?:mother|mom|mum|family|wife|sister|father|kids) (?:is|are) "
        rf"(?:(?!not |never |no )\w+ ){{0,2}}(?:{_NAMES}|{_WRETCH})(?=[.,!;]|$)",
    ),
)
"""Swear words, insults, wishes of ill, hate of groups: words of which one is there, and what is looked for then."""
_SOME_GROUP = (
    " people| men|men are|men were|men should|men must|men need|men deserve| ones|ones are|ones were|ones should|"
    "ones must|ones need|ones deserve|women|jews|muslims|christians|blacks|whites|asians|girls|gays|lesbians|"
    "homosexuals|immigrants|migrants|refugees|foreigners|mexicans|africans|arabs|indians|gypsies|the poor|"
    "the disabled|the elderly|the homeless"
)
"""One of `_GROUPS` stands where one of these does; without it, nothing is said of a group."""
_OF_A_GROUP = 3
"""The kind of which each wording names a group."""
_TOXIC_MARKS = Marks(*(listed for listed, _ in _TOXIC), _SOME_GROUP)
_TOXIC_PATTERNS = [re.compile(rf"\b(?:{pattern})\b") for _, pattern in _TOXIC]
_TOXIC_CHINESE = re.compile(
    r"傻[逼屄BbX]|操你|草泥马|他妈的|你妈的|去死吧|不去死|蠢猪|滚蛋|滚开|滚出去|王八蛋|狗娘养|狗东西|贱人|婊子|脑残|智障|死全家|去你妈|白痴|蠢货|"
    r"人渣|黑鬼|畜生|你(?:就?是个?|这个?|们这些)(?:垃圾|废物|蠢[货猪]?)|你真?(?:是)?(?:蠢|恶心)|"
    r"(?:女人|男人|黑人|穆斯林|犹太人|移民|外地人|农民工)(?:都|全)?(?:是|该|应该)(?:劣等|垃圾|罪犯|恐怖分子|死|被消灭|没用的|废物|寄生虫)"
    r"|你(?:们)?(?:就|真|个|是|这|种|些|帮|群|不过|简直|只是|的){0,5}(?:没用的|该死的|恶心的|愚蠢的|无耻的|下贱的|臭|死|蠢|烂|老|小){0,3}"
    r"(?:废物|蠢货|人渣|混蛋|混账|杂种|贱货|贱人|败类|渣滓|饭桶|孬种|没用的东西|没用的垃圾)|"
    r"(?:这|那)(?:帮|群|些)(?:人|东西|家伙|外地人|移民)?[^。！？]{0,6}(?:都该死|就该死|去死|杀光|死光|不配活)|"
    r"(?:^|[，。！？\s])滚(?:吧|开|远点)?[，。！!]|"
    r"(?:女人|男人|黑人|白人|穆斯林|犹太人|移民|外地人|农民工|同性恋)[^。！？]{0,4}(?:不配|低人一等|天生[^。！？]{0,3}(?:蠢|笨|懒|贱))"
)


_OF_DOGS = re.compile(
    r"\b(?:pupp(?:y|ies)|pups?|whelp\w*|litters?(?! (?:box|tray))|breeders?|breeding|stud dogs?|spay(?:ed|ing)?|"
    r"neuter\w*)\b"
)
_A_BREEDERS = re.compile(
    r"(?:^|[.!?:]\s+|\b(?:for|of|with|if|when|by) )(?:the|an?|each|every|our|her|his)\s(?:\w+\s)?$"
)
_NEAR_DOGS = 80
"""Letters around the word in which it has to be said that it is of dogs."""


def _of_a_dog(match: re.Match[str]) -> bool:
    """Whether the word is a breeder's: `a bitch`, said of no one, close to what it is said of."""
    if not match.group().startswith("bitch"):
        return False
    text, start, end = match.string, match.start(), match.end()
    near = text[max(0, start - _NEAR_DOGS) : end + _NEAR_DOGS]
    return bool(_A_BREEDERS.search(text[:start][-30:]) and _OF_DOGS.search(near))


def _is_spoken_of(match: re.Match[str]) -> bool:
    """Whether its sentence calls it a myth, or says that others say so."""
    text = match.string
    start = max(text.rfind(mark, 0, match.start()) for mark in ".!?\n") + 1
    end = min((place for mark in ".!?\n" if (place := text.find(mark, match.end())) >= 0), default=len(text))
    return bool(_SPOKEN_OF.search(text[start:end][-_SENTENCE:]))


_SENTENCE = 600
_SPOKEN_OF = re.compile(
    r"\b(?:myths?|stereotypes?|antisemitic|anti-semitic|racist|racism|hateful|propaganda|conspiracy|misconceptions?|"
    r"prejudices?|false(?:ly)?|untrue|claim(?:s|ed|ing)? (?:that|of)|the (?:claim|idea|notion|belief)|"
    r"(?:some|many) (?:people )?(?:say|claim|believe|think|argue))\b"
)


def insult_in(text: str) -> str:
    """The first insult in a text, in small letters, or ''."""
    likely = _TOXIC_MARKS.lists_in(text)
    for number in likely:
        if number == len(_TOXIC) or (number == _OF_A_GROUP and len(_TOXIC) not in likely):
            continue
        small = lowered(text)
        found = next(
            (
                match
                for match in _TOXIC_PATTERNS[number].finditer(small)
                if not _of_a_dog(match) and not (number == _OF_A_GROUP and _is_spoken_of(match))
            ),
            None,
        )
        if found:
            return found.group()
    found = None if is_latin(text) else _TOXIC_CHINESE.search(text)
    return found.group() if found else ""
