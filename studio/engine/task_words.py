"""What kind of task a prompt opens with, by its first telling word, in English and Chinese.

The classes are those of assets/general/README.md, as far as one word tells them; the idea to look at a set by the verbs
that its instructions open with is Self-Instruct's (Wang et al. 2022, arXiv:2212.10560, figure 2).
"""

from __future__ import annotations

import re

_ENGLISH = {
    "summary": "summarize summarise summary condense headline tldr abridge recap",
    "rewriting": "rewrite rephrase paraphrase reword shorten simplify transform change turn reformulate",
    "translation": "translate translation",
    "classification": "classify categorize categorise label identify detect determine sentiment category categories",
    "extraction": "extract find parse retrieve list",
    "brainstorming": "brainstorm suggest propose name ideas generate recommend",
    "arithmetic": "calculate compute solve convert sum multiply divide add subtract equation",
    "logic": "deduce infer puzzle riddle sequence syllogism",
    "creative_writing": "poem story haiku verse lyrics song limerick acrostic horror fiction dialogue joke slogan",
    "coding": "code program implement debug function script python javascript java sql html css algorithm regex query",
    "explanation": "explain describe elaborate illustrate clarify why how outline discuss",
    "letter": "email e-mail letter memo cover notice",
    "planning": "plan schedule itinerary agenda organize organise checklist timetable",
    "comparison": "compare contrast difference differences differentiate distinguish versus",
    "proofreading": "proofread edit correct grammar spelling punctuate",
    "advice": "advise advice should recommend tips",
    "vocabulary": "define synonym synonyms antonym antonyms definition meaning idiom word rhyme rhymes",
    "open_question": "what who when where which is are do does did can was were has tell",
}
"""A word of several classes belongs to the first of them."""

_CHINESE = {
    "summary": "总结 概括 概述 摘要 归纳 缩写",
    "rewriting": "改写 重写 润色 换一种说法 扩写 简化",
    "translation": "翻译 译成 译为 翻成",
    "classification": "分类 归类 判断 识别 属于哪",
    "extraction": "提取 抽取 找出 列出 摘出",
    "brainstorming": "想出 建议几 起个名 取名 头脑风暴 点子 创意",
    "arithmetic": "计算 算一下 求解 方程 等于多少 多少元",
    "logic": "推理 推断 谜语 逻辑",
    "creative_writing": "写一首 写首 诗 故事 作文 小说 剧本 对联 创作",
    "coding": "代码 编程 函数 程序 脚本 算法 Python SQL",
    "explanation": "解释 说明 介绍 描述 为什么 为何 怎么 如何 阐述",
    "letter": "邮件 写一封 写封 信 通知 请假条",
    "planning": "计划 规划 安排 日程 行程 方案",
    "comparison": "比较 对比 区别 不同 差异",
    "proofreading": "校对 修改 纠正 病句 错别字 语法",
    "advice": "建议 应该 推荐 怎么办",
    "vocabulary": "定义 同义词 反义词 近义词 成语 含义 意思 造句",
    "open_question": "什么 谁 哪 多少 几 是否 吗",
}

TASKS = tuple(_ENGLISH)
OTHER = "other"
LOOKED_AT = 240
"""Characters of a prompt that are looked at."""

_WORDS: dict[str, str] = {}
for _task, _words in _ENGLISH.items():
    for _word in _words.split():
        _WORDS.setdefault(_word, _task)
_SIGNS: dict[str, str] = {}
for _task, _words in _CHINESE.items():
    for _word in _words.split():
        _SIGNS.setdefault(_word, _task)
_WEAK = frozenset(
    f"{_ENGLISH['open_question']} {_CHINESE['open_question']} why how 为什么 为何 怎么 如何".split()
)
"""Words that say no more than that something is asked: a later word that says more goes before."""
_BEGINNING = 4
"""They count among so many words at the start only: further on they are no question."""
_ENGLISH_WORD = re.compile(r"[a-z][a-z-]+")
_CHINESE_SIGN = re.compile("|".join(map(re.escape, sorted(_SIGNS, key=len, reverse=True))))


def task_of(prompt: str) -> tuple[str, str]:
    """The class of a prompt and the word that told it; `other` and nothing where no known word stands in its opening.

    >>> task_of("Summarize the text below."), task_of("请把下面的句子翻译成英文。"), task_of("Bees")
    (('summary', 'summarize'), ('translation', '翻译'), ('other', ''))
    >>> task_of("Can you write a poem about rain?")
    ('creative_writing', 'poem')
    """
    opening = prompt[:LOOKED_AT]
    if opening.isascii():
        return _first(_ENGLISH_WORD.findall(opening.lower()), _WORDS)
    found = _first(_CHINESE_SIGN.findall(opening), _SIGNS)
    return found if found[1] else _first(_ENGLISH_WORD.findall(opening.lower()), _WORDS)


def _first(words: list[str], tasks: dict[str, str]) -> tuple[str, str]:
    weak = ""
    for place, word in enumerate(words):
        if word in tasks:
            if word not in _WEAK:
                return tasks[word], word
            if place < _BEGINNING:
                weak = weak or word
    return (tasks[weak], weak) if weak else (OTHER, "")
