"""Rows with tools and reasoning, as a person reads them."""

from __future__ import annotations

import json
import re
from html import escape, unescape

from studio.domain.chat import Conversation, Message, ToolCall
from studio.ui import data_turns
from studio.ui.i18n import words

EN, ZH = words("en"), words("zh")
EVIL = '<script>alert("x")</script>'
TOOL = json.dumps({"type": "function", "function": {"name": "get_weather", "description": EVIL}})
CALL = ToolCall("get_weather", '{"city":"Oslo"}', "call_1")
ROW = Conversation(
    (
        Message("user", "How warm is it?"),
        Message("assistant", "", reasoning="I have to look it up.", tool_calls=(CALL,)),
        Message("tool", '{"celsius": 4}', name="get_weather", tool_call_id="call_1"),
        Message("assistant", "<think>\nFour.\n</think>\n\nIt is 4 °C."),
    ),
    7,
    (TOOL,),
)


def text(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).strip()


def test_a_row_is_read_from_its_tools_to_its_answer() -> None:
    html = data_turns.turns(EN, ROW)
    assert text(html) == text(
        f"Tools: get_weather {escape(json.dumps(json.loads(TOOL), indent=2))} "
        "User How warm is it? "
        "Assistant Reasoning, 21 characters I have to look it up. "
        'Tool call call_1 get_weather({"city": "Oslo"}) '
        'Tool get_weather call_1 {"celsius": 4} '
        "Assistant Reasoning in the text of the answer, 22 characters &lt;think> Four. &lt;/think> It is 4 °C."
    )
    assert '<pre class="code">get_weather({&quot;city&quot;: &quot;Oslo&quot;})</pre>' in html
    assert html.count('<details class="fold">') == 3
    assert "blank" not in html


def test_it_is_said_in_chinese_too() -> None:
    assert text(data_turns.turns(ZH, ROW)).startswith("工具：get_weather")
    for said in ("推理，21 个字符", "工具调用 call_1", "写在回答正文中的推理"):
        assert said in text(data_turns.turns(ZH, ROW))


def test_the_table_shows_what_the_last_turn_says_or_calls() -> None:
    asked, called, *_ = ROW.messages
    assert text(data_turns.reply(EN, ROW)) == "Tool calls: 1 Reasoning It is 4 °C."
    calling = Conversation((asked, called))
    assert text(data_turns.reply(EN, calling)) == 'Tool calls: 1 Reasoning get_weather({"city": "Oslo"})'
    assert text(data_turns.reply(ZH, calling)).startswith("工具调用：1 含推理")
    assert data_turns.reply(EN, Conversation((asked, Message("assistant", "a < b")))) == "a &lt; b"
    assert data_turns.reply(EN, Conversation((asked,))) == ""


def test_long_arguments_get_a_line_each_and_none_get_none() -> None:
    many = ToolCall("f", json.dumps({f"key {n}": "x" * 20 for n in range(4)}))
    html = data_turns.turns(EN, Conversation((Message("assistant", "", tool_calls=(many, ToolCall("now"))),)))
    assert "f({\n  &quot;key 0&quot;: &quot;xxxx" in html
    assert '<pre class="code">now()</pre>' in html


def test_nothing_of_a_file_is_taken_for_markup() -> None:
    evil = Conversation(
        (
            Message("user", EVIL, name=EVIL),
            Message("assistant", EVIL, False, EVIL, (ToolCall(EVIL, json.dumps({EVIL: EVIL}), EVIL),)),
            Message("tool", EVIL, name=EVIL, tool_call_id=EVIL),
        ),
        tools=(TOOL, json.dumps({"type": EVIL}), json.dumps({"function": {"name": EVIL}})),
    )
    for say in (EN, ZH):
        assert "<script" not in data_turns.turns(say, evil) + data_turns.reply(say, evil)


def test_a_giant_text_is_drawn_in_part_and_says_how_much_is_left() -> None:
    giant = "x" * 100_000
    call = ToolCall("f", json.dumps({"a": giant}))
    row = Conversation(
        (Message("assistant", giant, True, giant, (call,)), Message("tool", giant)), tools=(TOOL,)
    )
    html = data_turns.turns(EN, row)
    assert len(html) < 100_000
    assert html.count("and 80,000 more characters") == 3
    assert len(data_turns.reply(EN, row)) < 1000
