"""Gaps: what stands where a response ought to be, as the whole response or as a bracket in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

from studio.engine.checks.registry import without_code
from studio.engine.checks.text import Marks, is_structured

_WHOLE_PLACEHOLDER = re.compile(
    r"\W*(?:n/?a|tbd|tba|todo\b.{0,40}|fixme\b.{0,40}|xxx+|asdf\w*|nan|null|undefined|placeholder(?: text)?|"
    r"lorem ipsum|no ?input|no ?output|\(none\)|<none>|"
    r"(?:model |final |sample |example |dummy |test )?(?:answer|response|output|text)(?: pending)?|blank|empty|"
    r"(?:answer|response)\s*:?\s*_+|待填|"
    r"(?:your|the|insert|add|write|enter|put)(?: \w+){0,2} (?:answer|response|output|text|content)(?: "
    r"(?:goes )?here)?|"
    r"(?:answer|response|output|text|content) (?:goes |to be (?:added|written|filled) ?)?(?:here|later|in)?|"
    r"to be (?:added|written|completed|determined|filled(?: in)?|done|announced)(?: later| soon)?|coming soon|"
    r"(?:no|missing) (?:answer|response|output|text)(?: (?:given|provided|yet|available))?|"
    r"(?:same )?as above|此处省略.{0,6}|see above|ditto|略|同上|见上(?:文)?|如上|"
    r"#ref!|#n/a|#value!|#name\?|待补充|待填写|待定|待完善|暂无(?:回答|内容|答案|数据)?|此处填写.{0,8}|"
    r"(?:请|在此|在这里)(?:填写|输入|插入).{0,8}(?:答案|回答|内容|回复))\W*|"
    r"[.…?？。\-_*]+",
    re.IGNORECASE,
)
_PART = r"(?:answer|response|reply|output|text|content|completion|explanation|solution|description|translation|summary)"
_EMPTY_FORM = re.compile(
    # a bracket around the name of what is missing
    rf"[\[<{{(]+\s*(?:[\w'-]+ ){{0,4}}?(?:{_PART}|placeholder|insert|fill(?:ed)?|todo|tbd|missing|pending)\b"
    r"[^\])}>\n]{0,30}[\])}>]+[.:]?|"
    # an order to whoever was to write it
    rf"(?:please )?(?:insert|add|put|write|enter|fill|type|provide|paste)(?: in| out)?(?: \w+){{0,3}} "
    rf"(?:{_PART}(?: here| below| later)?|here|later|in)[.!…]*|"
    # a note that it is still to come
    rf"(?:the |your |model |sample |example )?{_PART}(?: is| was| has| will be)?"
    r"(?: (?:still |yet )?(?:to be|to come|to follow|pending|missing|unavailable|(?:goes )?here|added later)\b|"
    r" not(?: yet| been)* (?:available|provided|written|added|given)).{0,30}|"
    rf"no {_PART}(?: \w+){{0,2}}[.!]?|to do[.!]?|"
    # one word over and over
    r"(text|test|bla|blah|foo|word|answer|asdf|lorem|output)(?:[\s,]+\1){1,}[.!…]*|"
    r"(?:请)?(?:在)?(?:此处|这里)(?:填写|填入|插入|输入|补充|添加).{0,6}|待(?:定|补充|填写?|完善|续|更新)[。！]?|"
    r"[【\[<（(](?:请)?(?:在)?(?:此处|这里|此)?(?:答案|回答|内容)?(?:待|填写|填入|插入|输入|补充|略|缺失|为空).{0,8}[】\]>）)]|"
    r"(?:答案|回答|内容)(?:待|略|缺失|为空|暂缺).{0,6}",
    re.IGNORECASE,
)
"""A whole response that is built like a form which was not filled in."""


def _bracketed(brackets: str, *parts: str) -> str:
    """Marks: a bracket, and behind it a word of each part; a part is written as `|please `, in which nothing counts."""
    return "|".join(map("".join, product(brackets, *(part.split("|") for part in parts))))


_PLACEHOLDERS = (
    ("lorem", re.compile(r"\blorem ipsum dolor\b", re.IGNORECASE)),
    (
        _bracketed("[<{(", "|please ", "insert|add|fill in|put|enter"),
        re.compile(
            r"(?!<(?:Insert|Enter|INSERT|ENTER)>)[\[<{(](?:please )?(?:insert|add|fill in|put|enter)\b"
            r"[^\])}>\n]{0,40}[\])}>]",
            re.IGNORECASE,
        ),
    ),
    (
        _bracketed("【[<（(", "|请|在此|此处|在这里", "填写|输入|插入|补充|填入"),
        re.compile(
            r"[【\[<（(](?:请|在此|此处|在这里)?(?:填写|输入|插入|补充|填入)[^\]】>）)\n]{0,20}[\]】>）)]"
        ),
    ),
    (
        _bracketed("[<{(", "your |the ", "answer|response|output"),
        re.compile(r"[\[<{(](?:your|the) (?:answer|response|output)(?: here)?[\])}>]", re.IGNORECASE),
    ),
    ("todo|tbd|fixme", re.compile(r"(?:\A\W*|^\s*(?:#|//)?\s*)(?:TODO|TBD|FIXME)\b", re.MULTILINE)),
    ("{{", re.compile(r"\{\{\s*[A-Z]\w*(?: \w+){0,3}\s*\}\}")),
)
"""Marks of which one stands in the text, in small letters, and what is looked for then."""
_MARKS = Marks(*(marks for marks, _ in _PLACEHOLDERS))


_FIELD = (
    "name|address|street|city|country|location|place|date|time|year|price|amount|cost|total|number|phone|email|e-mail|"
    "link|url|website|company|organi[sz]ation|product|title|id|value|percentage|quantity|insert"
)
_UNSET = (
    # [ADDRESS], [COMPANY NAME], [Date 1]
    (
        "[",
        re.compile(rf"\[(?:[A-Z]+[ _-]){{0,2}}(?:{_FIELD.upper()})(?:[ _-][A-Z0-9]+)?\](?!\()"),
    ),
    # {price}, ${PRICE}, {customer_name}
    (
        "{",
        re.compile(
            rf"(?<![\w\\}}{{_^])\$?\{{(?:[a-z]+_){{0,2}}(?:{_FIELD})(?:_[a-z0-9]+)?\}}(?!\}})", re.IGNORECASE
        ),
    ),
    # XXXX; $XX; XX percent; 某公司XXX
    (
        "xx",
        re.compile(
            r"(?<![\w-])X{4,}(?![\w-])|[$€£¥]\s?X{2,}\b|\bX{2,} ?(?:%|percent|dollars|euros|days|hours|minutes|people|"
            r"units|o'clock)|(?<=[\u4e00-\u9fff])\s?[xX×]{2,4}\s?(?=[\u4e00-\u9fff，。、！？])"
        ),
    ),
    # on the ____ of June
    (
        "___",
        re.compile(
            r"(?<=[\w,:：，])[ $€£]{1,2}_{3,}(?!\w)|(?<![\w*])_{3,}(?=[ \t]*[^\s\w*-]|[ \t]+\w)|"
            r"(?<=[\u4e00-\u9fff])_{3,}"
        ),
    ),
    (
        "待",
        re.compile(
            r"[【\[<（(]\s*(?:内容|答案|信息|数据)?待(?:补充|填写?|定|完善|续|更新|确认)\s*[\]】>）)]"
        ),
    ),
)
"""As `_PLACEHOLDERS`, but what also stands where a text is meant to be filled in, or is a program."""
_UNSET_MARKS = Marks(*(mark for mark, _ in _UNSET))
_TO_FILL_IN = re.compile(
    r"letter|e-?mail|\bform|contract|agreement|template|script\b|message|invitation|resume|\bcv\b|code|python|program|"
    r"function|format|variable|string|\burl|\bapi\b|json|html|sql|blank|quiz|worksheet|exercise|questionnaire|survey|"
    r"anonymi[sz]|redact|roman numeral|信|邮件|模板|合同|协议|表格|代码|函数|变量|格式|填空|通知|邀请|简历|匿名|"
    r"脱敏|练习|试题",
    re.IGNORECASE,
)
_LETTER = re.compile(
    r"\A\W*(?:dear|subject|hi|hello|to whom)\b|\A\W*(?:尊敬的|亲爱的|主题|标题)|\b(?:sincerely|regards)\b|敬上|此致",
    re.IGNORECASE,
)

_NOTHING = frozenset(("None", "无", "None.", "无。"))
_NOTHING_FITS = re.compile(
    r"\b(?:none|any|which|what|who|whom|extract|list|find|identif\w+|detect|classify|label|categor\w+|entit\w+|"
    r"if there|how many|name the|python)\b|无|哪|什么|谁|有没有|是否|多少|提取|抽取|列出|找出|识别|分类|标签",
    re.IGNORECASE,
)
"""Prompts to which it is an answer that there is nothing."""


def gap_in(response: str, asked: str = "") -> str:
    """The placeholder that a response is, or that stands in it. `asked`: the prompt, which may want one.

    >>> gap_in("Coming soon"), gap_in("The office is at [ADDRESS]."), gap_in("None", "Write a poem about bees.")
    ('Coming soon', '[ADDRESS]', 'None')
    >>> gap_in("Dear Sir, I live at [ADDRESS].", "Write a letter."), gap_in("None", "Which of them are insects?")
    ('', '')
    """
    response = response.strip()
    if 0 < len(response) < 80 and (_WHOLE_PLACEHOLDER.fullmatch(response) or _EMPTY_FORM.fullmatch(response)):
        return response
    if response in _NOTHING:
        return "" if not asked or _NOTHING_FITS.search(asked) else response
    text = without_code(response).strip()
    return _first(_PLACEHOLDERS, _MARKS, text) or _unset(text, asked)


def _first(patterns: Sequence[tuple[str, re.Pattern[str]]], marks: Marks, text: str) -> str:
    likely = (patterns[number][1] for number in marks.lists_in(text))
    found = next((match for pattern in likely if (match := pattern.search(text))), None)
    return found.group().strip() if found else ""


def _unset(text: str, asked: str) -> str:
    found = _first(_UNSET, _UNSET_MARKS, text)
    if (
        not found
        or found in asked
        or _TO_FILL_IN.search(asked)
        or _LETTER.search(text)
        or is_structured(text)
    ):
        return ""
    return found
