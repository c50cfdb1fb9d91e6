"""Conversations at which masks have been seen to go wrong, each under what it shows."""

from __future__ import annotations

import json

from studio.domain.chat import Conversation, Message, ToolCall

WEATHER = json.dumps(
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Its name."}},
                "required": ["city"],
            },
        },
    }
)


def talk(*turns: str, system: str | None = None) -> Conversation:
    """User and assistant in turns, the user first."""
    messages = [] if system is None else [Message("system", system)]
    for index, text in enumerate(turns):
        messages.append(Message("assistant" if index % 2 else "user", text))
    return Conversation(tuple(messages), 1)


def call(city: str, number: int = 1) -> ToolCall:
    return ToolCall("weather", json.dumps({"city": city}, ensure_ascii=False), f"call{number:05}")


def result(text: str, number: int = 1) -> Message:
    return Message("tool", text, name="weather", tool_call_id=f"call{number:05}")


def _with_tools(*messages: Message) -> Conversation:
    return Conversation((Message("user", "Rain in Paris?"), *messages), 1, (WEATHER,))


def _thought(reasoning: str, content: str) -> Message:
    return Message("assistant", content, reasoning=reasoning)


TALKS = {
    "one turn": talk("Hi", "Hello."),
    "a system message": talk("Hi", "Hello.", system="Be brief."),
    "three turns": talk("Hi", "Hello.", "And you?", "I am fine.", "Good.", "Bye."),
    "a system message and two turns": talk("Hi", "Hello.", "And you?", "Fine.", system="Be brief."),
    "an open question at the end": talk("Hi", "Hello.", "And you?"),
    "an empty answer": talk("Hi", ""),
    "an empty question": talk("", "Hello."),
    "an empty system message": talk("Hi", "Hello.", system=""),
    "empty turns before an answer": talk("Hi", "", "", "Hello."),
    "an empty turn at the end": talk("Hi", "Hello.", "", ""),
    "nothing but empty turns": talk("", "", "", ""),
    "white space around all turns": talk(
        "  Hi \n", "\n\n  Hello. \t\n", " And? ", " Bye.\n\n", system=" \nBe brief.\n "
    ),
    "white space alone": talk("\n", "  ", " ", "\n\n"),
    "one space before the answer": talk("Hi", " Hello."),
    "indented code": talk("Show me", "    if x:\n        y()\n", "More", "\tz\r\n\r\nend"),
    "Chinese and Japanese": talk("你好，世界。", "こんにちは。", "再见", "さようなら。"),
    "Arabic, Hindi and Thai": talk("مرحبا بالعالم", "नमस्ते", "สวัสดี", "مع السلامة"),
    "letters with combining marks": talk("e\u0301a\u0308", "\u0301e\u0301", "o\u0302", "u\u0308\u0301"),
    "emoji": talk("👋🏽", "👩‍👩‍👧‍👦🙂", "🇫🇷?", "🏳️‍🌈"),
    "characters of four bytes at both ends": talk("𝒳?", "𝒳 is 𝒴", "𝒴?", "𝒵"),
    "private-use characters": talk(
        "\ue000\uf8ff", "\ue000\U000f0000 and \U000f0001", "\U000f0000", "\U0010fffd"
    ),
    "the answer in the question": talk("Say yes", "yes", "Say yes again", "yes"),
    "the question in the answer": talk("yes", "yes, yes", "no", "no, no"),
    "the answer is the question": talk("yes", "yes", "yes", "yes"),
    "the answer in the system message": talk("Hi", "Be brief.", "Be brief.", "Hi", system="Be brief."),
    "an answer of one letter": talk("a", "a", "aa", "a"),
    "roles as answers": talk("user", "assistant", "system", "user\nassistant\n"),
    "the template's words": talk(
        "### Response:\n[INST]", "ASSISTANT: Assistant: model\n", "[/INST] <|", "|> <s"
    ),
    "Jinja": talk("{{ messages }}", "{% generation %}{{ x }}{% endgeneration %}", "{# no #}", "{{ '{{' }}"),
    "quotes and markup": talk("<b>&amp;'\"</b>", "<p>\\n \\u00e9 'x' \"y\"</p>", "<<SYS>>", "&lt;"),
    "numbers": talk("12345 + 1", "12346", "0", "00"),
    "long": talk("Tell me a story. " * 40, "Once upon a time. " * 60, "Go on. " * 20, "The end. " * 30),
}
"""Roles in turns and contents alone, as every family can have them but for the system message."""

UNEVEN = {
    "two answers in a row": Conversation(
        (Message("user", "Hi"), Message("assistant", "Hello."), Message("assistant", "And welcome.")), 1
    ),
    "two questions in a row": Conversation(
        (Message("user", "Hi"), Message("user", "You there?"), Message("assistant", "Yes.")), 1
    ),
    "a system message in the middle": Conversation(
        (*talk("Hi", "Hello.").messages, *talk("Go", "Gone.", system="Be brief.").messages), 1
    ),
    "the assistant begins": Conversation(
        (Message("assistant", "Welcome."), *talk("Hi", "Hello.").messages), 1
    ),
    "no answer at all": talk("Hi"),
}

THOUGHTS = {
    "reasoning": Conversation((Message("user", "2+2?"), _thought("Two and two.", "4")), 1),
    "reasoning twice": Conversation(
        (
            Message("user", "2+2?"),
            _thought("Two and two.", "4"),
            Message("user", "+1?"),
            _thought("4, 5.", "5"),
        ),
        1,
    ),
    "reasoning with white space": Conversation(
        (Message("user", "2+2?"), _thought("\n Hm. \n\n", "\n4\n")), 1
    ),
    "reasoning equal to the answer": Conversation(
        (Message("user", "4"), _thought("4", "4"), Message("user", "4"), _thought("4", "4")), 1
    ),
    "reasoning without an answer": Conversation((Message("user", "2+2?"), _thought("Two and two.", "")), 1),
    "reasoning in the first turn only": Conversation(
        (Message("user", "2+2?"), _thought("Two and two.", "4"), *talk("+1?", "5").messages), 1
    ),
    "reasoning as tags": talk(
        "2+2?", "<think>\nTwo and two.\n</think>\n\n4", "+1?", "<think>\n\n</think>\n\n5"
    ),
    "a tag that only closes": talk("2+2?", "Two and two.</think>4"),
    "a tag that only opens": talk("2+2?", "<think>Two and two. 4"),
}

TOOLS = {
    "tools unused": _with_tools(Message("assistant", "No.")),
    "a call": _with_tools(
        Message("assistant", "", tool_calls=(call("Paris"),)),
        result('{"rain": true}'),
        Message("assistant", "Yes."),
    ),
    "a call at the end": _with_tools(Message("assistant", "", tool_calls=(call("Paris"),))),
    "a call after words": _with_tools(
        Message("assistant", "Let me look.", tool_calls=(call("Paris"),)),
        result("rain"),
        Message("assistant", "Yes."),
    ),
    "a call after reasoning": _with_tools(
        Message("assistant", "", reasoning="I must look.", tool_calls=(call("Paris"),)),
        result("rain"),
        _thought("It rains.", "Yes."),
    ),
    "two calls at once": _with_tools(
        Message("assistant", "", tool_calls=(call("Paris"), call("Lyon", 2))),
        result("rain"),
        result("sun", 2),
        Message("assistant", "Yes and no."),
    ),
    "two rounds of calls": _with_tools(
        Message("assistant", "", tool_calls=(call("Paris"),)),
        result("rain"),
        Message("assistant", "", tool_calls=(call("Lyon", 2),)),
        result("sun", 2),
        Message("assistant", "Yes and no."),
        Message("user", "Thanks"),
        Message("assistant", "Welcome."),
    ),
    "a result that repeats the call": _with_tools(
        Message("assistant", "", tool_calls=(call("Paris"),)),
        result('{"city": "Paris"}'),
        Message("assistant", '{"city": "Paris"}'),
    ),
    "a call with other scripts": _with_tools(
        Message("assistant", "", tool_calls=(call("北京 🙂"),)), result("雨"), Message("assistant", "是。")
    ),
}

ALL = {**TALKS, **UNEVEN, **THOUGHTS, **TOOLS}
