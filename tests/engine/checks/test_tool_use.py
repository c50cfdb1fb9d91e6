"""Conversations with tools and reasoning: clean ones are let pass, defects are found and repaired in every part."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from studio.domain.chat import Conversation, Message, ToolCall
from studio.domain.finding import DIMENSIONS
from studio.engine.checks import CHECKS, clean, run_checks


def user(content: str) -> Message:
    return Message("user", content)


def says(content: str, reasoning: str = "") -> Message:
    return Message("assistant", content, reasoning=reasoning)


def calls(*called: ToolCall, content: str = "", reasoning: str = "") -> Message:
    return Message("assistant", content, reasoning=reasoning, tool_calls=called)


def call(name: str, id: str = "", /, **arguments: object) -> ToolCall:
    return ToolCall(name, json.dumps(arguments, ensure_ascii=False), id)


def result(content: str, id: str = "", name: str = "") -> Message:
    return Message("tool", content, name=name, tool_call_id=id)


def tool(name: str, *parameters: str) -> str:
    properties = {parameter: {"type": "string"} for parameter in parameters}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return json.dumps({"type": "function", "function": {"name": name, "parameters": schema}})


WEATHER = tool("get_weather", "city", "unit")
PAGE = "<!doctype html>\n<html><body><p>Opening hours:&nbsp;9 to 17</p><br></body></html>\n"
LISTING = "total 12\n-rw-r--r-- 1 ann staff 482 Mar  3 09:12 setup.py\ndrwxr-xr-x 4 ann staff 128 Mar  3 09:10 src\n"

CLEAN = [
    Conversation(
        (
            user("How warm is it in Oslo and in Rome right now?"),
            calls(call("get_weather", "call_1", city="Oslo"), call("get_weather", "call_2", city="Rome")),
            result('{"celsius": 4.5, "sky": "clear", "at": "2024-03-05T07:00:00Z"}', "call_1", "get_weather"),
            result('{"celsius": 17, "sky": "cloudy", "at": 1709622000}', "call_2", "get_weather"),
            says("It is 4.5 °C and clear in Oslo, and 17 °C and cloudy in Rome."),
        ),
        tools=(WEATHER, tool("get_forecast", "city")),
    ),
    Conversation((user("Do I need a coat in Bergen?"), calls(call("get_weather", city="Bergen")))),
    Conversation(
        (
            user("What is in the folder ~/project?"),
            calls(
                call("shell", "c1", command="ls -l ~/project", timeout=30),
                content="I will list the folder for you now:",
            ),
            result(LISTING, "c1"),
            says("It holds `setup.py` and the folder `src`."),
            user("And how many lines of Python are there in it?"),
            calls(call("shell", "c2", command="find ~/project/src -name '*.py' | xargs wc -l | tail -1")),
            result("   310 total\n", "c2"),
            says("There are 310 lines of Python in `src`."),
        ),
        tools=(tool("shell", "command", "timeout"),),
    ),
    Conversation(
        (
            user("When does the town library open?"),
            calls(call("fetch", "f1", url="https://library.example.org/hours?lang=en&day=1")),
            result(PAGE, "f1"),
            says("It opens at 9 and closes at 17."),
        ),
        tools=(tool("fetch", "url"),),
    ),
    Conversation(
        (
            Message("system", "You are a shop's assistant. Answer from the order system only."),
            user("Where is my order A-1042?"),
            calls(call("find_order", order_id="A-1042")),
            result('{"error": "not_found"}'),
            says("I'm sorry, but I can't find an order with the number A-1042. Please check it once more."),
        ),
        tools=(tool("find_order", "order_id"),),
    ),
    Conversation(
        (
            user("How many of last year's customers came back? The table is `orders`."),
            calls(call("sql", "s1", query="SELECT COUNT(*) FROM (SELECT customer FROM orders GROUP BY 1) x")),
            result('{"rows": [[1532]], "next_page_token": "CDIQAA12ab34"}', "s1"),
            calls(call("sql", "s2", query="SELECT 1", page_token="CDIQAA12ab34")),
            result('{"rows": []}', "s2"),
            says("1,532 customers came back."),
        ),
        tools=(tool("sql", "query", "page_token"),),
    ),
    Conversation(
        (
            user("Add up 128.40 and 77.15 and take off a tenth."),
            calls(
                call("python", "p1", code="total = 128.40 + 77.15\nprint(round(total * 0.9, 2))\n"),
                reasoning="The user wants the sum less 10 %.\n128.4 + 77.15 = 205.5, no, 205.55. I let Python do it.\n",
            ),
            result("185.0\n", "p1"),
            says("That makes 185.00.", reasoning="The tool says 185.0, which is 205.55 * 0.9 rounded."),
        ),
        tools=(tool("python", "code"),),
    ),
    Conversation(
        (
            user("Welche Stadt hat mehr Einwohner, Graz oder Linz?"),
            says(
                "Graz hat mehr Einwohner als Linz.",
                reasoning="The user asks in German which of the two has more people. Graz has about 300,000 and Linz "
                "about 210,000, so it is Graz, and I answer in German.",
            ),
        )
    ),
    Conversation(
        (
            user("Warum ist der Himmel am Abend rot und nicht blau?"),
            says(
                "<think>\nThe user wants to know why the sky is red in the evening. As an AI I cannot see it, but that "
                "does not matter: it is scattering.\n</think>\n\n"
                "Weil das Licht am Abend einen längeren Weg durch die Luft nimmt und das blaue gestreut wird."
            ),
        )
    ),
    Conversation(
        (
            user("帮我查一下明天从上海到北京的高铁。"),
            calls(call("search_trains", "t1", origin="上海", destination="北京", date="2024-05-02")),
            result('{"trains": [{"no": "G2", "departs": "07:00", "arrives": "11:36"}]}', "t1"),
            says("明天可以坐 G2 次，07:00 从上海出发，11:36 到达北京。"),
        ),
        tools=(tool("search_trains", "origin", "destination", "date"),),
    ),
    Conversation(
        (
            Message("system", "You may call tools between <tool_call> and </tool_call>."),
            user("Book a table for two at the Lindenhof tonight at eight."),
            says(
                '<tool_call>\n{"name": "book", "arguments": {"place": "Lindenhof", "people": 2}}\n</tool_call>'
            ),
            result('<tool_response>\n{"confirmed": true}\n</tool_response>'),
            says("Your table for two at the Lindenhof is booked for eight tonight."),
        )
    ),
    Conversation(
        (
            user("Turn off the light in the kitchen, please."),
            calls(call("list_devices", "d1")),
            result('["light.kitchen", "light.hall"]', "d1"),
            calls(call("switch", "d2", device="light.kitchen", on=False)),
            result("", "d2"),
            says("Done."),
        ),
        tools=(tool("list_devices"), tool("switch", "device", "on")),
    ),
    Conversation(
        (
            user("Send the page with our prices to support@example.com as an HTML mail."),
            calls(
                call(
                    "send_mail",
                    "m1",
                    to="support@example.com",
                    html="<p>Tea: 3 &euro;<br>Cake: 4 &euro;</p>",
                    api_version="2024-01-01",
                )
            ),
            result('{"status": "queued", "id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}', "m1"),
            says("The mail is on its way."),
        ),
        tools=(tool("send_mail", "to", "html"),),
    ),
    Conversation(
        (
            user("Is 91 a prime number?"),
            says(
                "No, 91 is not a prime number: it is 7 times 13.",
                reasoning="Let me see. 91 is odd. 9 + 1 = 10, so 3 does not divide it. 7 * 13 = 91. Not prime.",
            ),
        )
    ),
]


def many(rows: int) -> list[Conversation]:
    """Rows of one task, enough of them for the checks that compare rows."""
    places = ["Oslo", "Rome", "Graz", "Lima", "Bonn", "Kyiv", "Nice", "Cork", "Bern", "Riga", "Doha", "Pune"]
    talks = []
    for number in range(rows):
        city, sky = places[number % 12], ["snow", "rain", "fog", "sun"][number // 12 % 4]
        asked = ["Tell me about the weather in {}", "{}: coat or no coat", "How is the sky over {}"][
            number % 3
        ]
        turns = [
            user(asked.format(city) + f", {['today', 'tonight', 'at noon', 'at dawn'][number // 12 % 4]}?"),
            calls(call("get_weather", f"call_{number}", city=city, unit="celsius")),
            result(json.dumps({"celsius": number, "sky": sky}), f"call_{number}"),
            says(
                [f"{sky.title()} and {number} °C in {city}.", f"Expect {sky}.", f"{city} has {sky}."][
                    number % 3
                ]
            ),
        ]
        talks.append(Conversation(tuple(turns[: 2 if number % 5 == 0 else 4]), tools=(WEATHER,)))
    return talks


@pytest.mark.parametrize("row", CLEAN)
def test_a_clean_row_has_no_finding(row: Conversation) -> None:
    assert [(found.check, found.message) for found in run_checks([row]).findings] == []


def test_clean_rows_together_have_no_finding() -> None:
    report = run_checks([*CLEAN, *many(40)])
    in_german_and_chinese = [9, 10]
    assert [(found.check, list(found.rows)) for found in report.findings] == [
        ("other_language", in_german_and_chinese)
    ]
    assert report.scores == {**dict.fromkeys(DIMENSIONS, 100.0), "consistency": report.scores["consistency"]}
    assert report.scores["consistency"] > 99


def test_nothing_in_clean_rows_is_repaired() -> None:
    rows = [*CLEAN, *many(40)]
    cleaned = clean(rows, ["all"])
    assert (cleaned.changes, cleaned.conversations) == ([], rows)


def found(check: str, *rows: Conversation) -> list[int]:
    return [row for finding in CHECKS[check].findings(rows) for row in finding.rows]


def repaired(check: str, row: Conversation) -> Conversation | None:
    (left,) = clean([row], [check]).conversations or [None]
    return left


WHOLE = Conversation(
    (
        Message("system", "Be kind.", name="shop"),
        Message("user", "q", name="ann"),
        Message("assistant", "Wait.", False, "r", (call("f", "c1", a=1, b=["x"]),), "guide"),
        result("t", "c1", "f"),
        says("a", "s"),
    ),
    5,
    (WEATHER,),
)


@pytest.mark.parametrize(
    ("check", "bad", "good"),
    [
        ("personal_data", "Ask ann@example.com.", "Ask <EMAIL>."),
        ("secret", "key AKIAIOSFODNN7EXAMPLE", "key <SECRET>"),
        ("mojibake", "a cafÃ©", "a café"),
        ("control_characters", "a\u200bb", "ab"),
    ],
)
@pytest.mark.parametrize("part", ["content", "result", "reasoning", "arguments"])
def test_a_defect_is_found_and_repaired_in_each_part_and_all_else_is_kept(
    check: str, bad: str, good: str, part: str
) -> None:
    def row(text: str) -> Conversation:
        system, question, turn, given, last = WHOLE.messages
        if part == "arguments":
            turn = replace(turn, tool_calls=(call("f", "c1", a=1, b=["x", text]),))
        elif part == "result":
            given = replace(given, content=text)
        else:
            turn = replace(turn, **{part: text})
        return replace(WHOLE, messages=(system, question, turn, given, last))

    assert found(check, row(bad)) == [5]
    assert repaired(check, row(bad)) == row(good)
    assert found(check, row(good)) == []


def test_the_name_of_an_argument_tells_what_it_holds() -> None:
    row = Conversation(
        (
            user("q"),
            calls(call("login", password="correct7horse8battery", phone=13812345678, n=7)),
            result('{"phone": 13812345678, "note": "ü"}'),
            says("a"),
        )
    )
    assert (found("secret", row), found("personal_data", row)) == ([1], [1])
    new = clean([row], ["secret", "personal_data"]).conversations[0]
    assert json.loads(new.messages[1].tool_calls[0].arguments) == {
        "password": "<SECRET>",
        "phone": "<PHONE>",
        "n": 7,
    }
    assert new.messages[2].content == '{"phone": "<PHONE>", "note": "ü"}'


def test_a_key_that_is_personal_data_is_replaced_as_well() -> None:
    row = Conversation((user("q"), calls(call("invite", **{"ann@example.com": "ann@example.com"}))))
    new = repaired("personal_data", row)
    assert new is not None
    assert new.messages[1].tool_calls == (call("invite", **{"<EMAIL>": "<EMAIL>"}),)


def test_arguments_stay_as_they_are_written_where_nothing_is_repaired() -> None:
    written = ToolCall("f", '{"b":1,\n "a": "\\u00fc"}', "c1")
    row = Conversation((user("mail ann@example.com"), calls(written), result("t", "c1"), says("a")))
    new = repaired("personal_data", row)
    assert new is not None
    assert new.messages[1].tool_calls == (written,)


def test_template_tokens_are_removed_from_reasoning_and_calls_are_kept() -> None:
    row = Conversation((user("q"), calls(call("f"), content="<|im_end|>", reasoning="r<|im_end|>")))
    assert found("special_tokens", row) == [1]
    assert repaired("special_tokens", row) == Conversation((user("q"), calls(call("f"), reasoning="r")))
    assert repaired("special_tokens", Conversation((user("q"), says("<|im_end|>", "r")))) is None


def test_a_turn_that_neither_answers_nor_calls_is_empty() -> None:
    rows = [
        Conversation((user("q"), says("", "r"))),
        Conversation((user("q"), says("<think>\nr\n</think>\n\n"))),
        Conversation((user("q"), calls(call("f")), result("t"), says(" "))),
        Conversation((user("q"), calls(call("f")))),
    ]
    assert found("empty_response", *rows) == [1, 2, 3]


def test_the_answer_after_inline_reasoning_is_what_is_looked_at() -> None:
    thought = "<think>\nThe user wants to know what tofu is made from, and so I say it.\n</think>\n\n"
    asked = "What is tofu made from?"
    for check, said in [
        ("refusal", "I'm sorry, but I can't assist with that request."),
        ("repeats_prompt", asked),
        ("placeholder", "TODO"),
        ("wrong_language", "豆腐是用黄豆做的。先把黄豆泡软磨成豆浆。"),
        ("cut_off", "```python\nprint(1)"),
    ]:
        assert found(check, Conversation((user(asked), says(thought + said)))) == [1]


def test_a_long_reasoning_that_goes_round_in_circles_is_found() -> None:
    assert found("repetition", Conversation((user("q"), says("a", "and then we went home again " * 30)))) == [
        1
    ]


def test_rows_are_compared_with_their_calls_reasoning_and_tools() -> None:
    def row(city: str, id: str, reasoning: str = "", tools: tuple[str, ...] = (WEATHER,)) -> Conversation:
        turn = calls(call("get_weather", id, city=city), reasoning=reasoning)
        return Conversation((user("Is it warm there?"), turn, result("4", id), says("Yes.")), tools=tools)

    rows = [
        row("Oslo", "a"),
        row("Rome", "b"),
        row("Oslo", "c"),
        row("Oslo", "d", "I think of Oslo."),
        row("Oslo", "e", tools=()),
    ]
    assert found("duplicate_exact", *rows) == [3]


def test_near_duplicates_have_nearly_the_same_calls() -> None:
    def row(question: str, body: str, answer: str = "Done.") -> Conversation:
        turn = calls(call("note", text=body))
        return Conversation((user(question), turn, result("ok"), says(answer)), tools=(WEATHER,))

    first = "Buy milk and bread, call the plumber about the sink, and water the plants on the balcony."
    other = "Ask the landlord for a new key, pay the gas bill, and bring the books back to the library."
    rows = [
        row("Please note this for me", first),
        row("please note this for me.", first.replace("the balcony", "balcony")),
        row("Please note this for me!", other),
        replace(row("Please note this for me", first), tools=()),
    ]
    assert found("duplicate_near", *rows) == [2]


def test_different_calls_for_the_same_question_are_conflicting() -> None:
    rows = [
        Conversation((user("Light off"), calls(call("switch", id, on=on))))
        for id, on in [("a", False), ("b", False), ("c", True)]
    ]
    assert found("conflicting_responses", *rows) == [1, 2, 3]
    assert clean(rows, ["conflicting_responses"]).conversations == rows[:2]
    assert found("conflicting_responses", rows[0], replace(rows[2], tools=(WEATHER,))) == []


def test_turns_of_the_assistant_are_joined_with_all_they_hold() -> None:
    first, second = says("I look.", "r"), calls(call("f", "c1"))
    row = Conversation((user("q"), first, second, result("t", "c1"), says("a")), 1, (WEATHER,))
    assert found("role_order", row) == [1]
    joined = calls(call("f", "c1"), content="I look.", reasoning="r")
    assert repaired("role_order", row) == Conversation(
        (user("q"), joined, result("t", "c1"), says("a")), 1, (WEATHER,)
    )


def test_turns_that_cannot_be_joined_in_their_order_are_left_out() -> None:
    assert repaired("role_order", Conversation((user("q"), calls(call("f")), says("a")))) is None
    assert repaired("role_order", Conversation((user("q"), says("a"), says("b", "r")))) is None


def test_a_last_result_without_an_answer_is_removed() -> None:
    row = Conversation((user("q"), calls(call("f")), result("t")))
    assert found("role_order", row) == [1]
    assert repaired("role_order", row) == Conversation((user("q"), calls(call("f"))))


def test_a_system_prompt_keeps_its_name_when_its_typo_is_repaired() -> None:
    usual, typo = "Turn the message into a ticket.", "Turn the mesage into a ticket."
    rows = [
        Conversation(
            (Message("system", text, name="desk"), user(f"q{n}"), calls(call("f"), reasoning="r")), n
        )
        for n, text in enumerate([usual] * 10 + [typo], start=1)
    ]
    cleaned = clean(rows, ["system_prompt_variants"]).conversations
    assert cleaned[10].messages == (rows[0].messages[0], *rows[10].messages[1:])


def test_a_change_in_reasoning_or_arguments_is_shown() -> None:
    row = Conversation((user("q"), calls(call("f", to="ann@example.com"), reasoning="ann@example.com")))
    (change,) = clean([row], ["personal_data"]).changes
    assert change.before == 'user: q\nassistant: [ann@example.com] f({"to": "ann@example.com"})'
    assert change.after == 'user: q\nassistant: [<EMAIL>] f({"to": "<EMAIL>"})'
