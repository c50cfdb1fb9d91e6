"""Gaps: what stands where a response ought to be, as the whole response or as a bracket in it."""

from __future__ import annotations

import re
from itertools import product

from studio.engine.checks.registry import without_code
from studio.engine.checks.text import Marks

_WHOLE_PLACEHOLDER = re.compile(
    r"\W*(?:n/?a|tbd|tba|todo\b.{0,40}|fixme\b.{0,40}|xxx+|asdf\w*|nan|null|undefined|placeholder(?: text)?|"
    r"lorem ipsum|no ?input|no ?output|"
    r"(?:model |final |sample |example |dummy |test )?(?:answer|response|output|text)(?: pending)?|blank|empty|"
    r"(?:answer|response)\s*:?\s*_+|待填|"
    r"(?:your|the|insert|add|write|enter|put)(?: \w+){0,2} (?:answer|response|output|text|content)(?: "
    r"(?:goes )?here)?|"
    r"(?:answer|response|output|text|content) (?:goes |to be (?:added|written|filled) ?)?(?:here|later|in)?|"
    r"to be (?:added|written|completed|determined|filled(?: in)?|done|announced)(?: later| soon)?|coming soon|"
    r"(?:no|missing) (?:answer|response|output|text)(?: (?:given|provided|yet|available))?|"
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
            r"[\[<{(](?:please )?(?:insert|add|fill in|put|enter)\b[^\])}>\n]{0,40}[\])}>]", re.IGNORECASE
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


def gap_in(response: str) -> str:
    """The placeholder that a response is, or that stands in it."""
    response = response.strip()
    if 0 < len(response) < 80 and (_WHOLE_PLACEHOLDER.fullmatch(response) or _EMPTY_FORM.fullmatch(response)):
        return response
    text = without_code(response).strip()
    likely = (_PLACEHOLDERS[number][1] for number in _MARKS.lists_in(text))
    found = next((match for pattern in likely if (match := pattern.search(text))), None)
    return found.group() if found else ""
