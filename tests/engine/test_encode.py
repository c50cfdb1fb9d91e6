from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tokenizers

from studio.domain.chat import Conversation, Message, ToolCall
from studio.domain.config import Overlong, TemplateConfig
from studio.domain.encoded import IGNORED
from studio.domain.errors import StudioError
from studio.engine import sandbox
from studio.engine.encode import EncodedData, Encoder, encoder_for, fingerprint, select, shorten
from studio.engine.shipped_templates import SHIPPED
from studio.engine.templates import Template, resolve
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from tests.tiny import CHATML, tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def said(*turns: str, system: str = "", row: int = 1) -> Conversation:
    """User and assistant in turns, the user first."""
    messages = [Message("system", system)] if system else []
    roles = ("user", "assistant")
    messages += [Message(roles[index % 2], text) for index, text in enumerate(turns)]  # type: ignore[arg-type]
    return Conversation(tuple(messages), row)


def trained_text(conversation: Conversation, template: str, tokenizer: Tokenizer) -> str:
    row = Encoder(resolve(template, tokenizer), tokenizer).encode(conversation)
    return "".join(tokenizer.token(label) for label in row.labels if label != IGNORED)


CASES = {
    "one turn": said("Hi", "Hello."),
    "with a system message": said("Hi", "Hello.", system="Be brief."),
    "two turns": said("Hi", "Hello.", "And?", "Bye."),
    "an answer inside the question": said("Say yes", "yes"),
    "an answer that is the question": said("yes", "yes"),
    "white space around the answer": said("Hi", "  Hello.\n"),
    "an empty turn before": said("Hi", "", "And?", "Bye."),
    "the template's own words": said("### Response:\nno", "### Instruction:\nyes"),
}


@pytest.mark.parametrize("template", ["model", "chatml", "alpaca"])
@pytest.mark.parametrize("case", CASES)
def test_responses_and_their_end_tokens_are_trained_and_nothing_else(
    case: str, template: str, tokenizer: Tokenizer
) -> None:
    wanted = "".join(response + "<|im_end|>" for response in CASES[case].responses)
    assert trained_text(CASES[case], template, tokenizer) == wanted


@pytest.mark.parametrize("template", ["model", "chatml", "alpaca"])
def test_an_answer_of_weight_0_is_read_but_not_trained(template: str, tokenizer: Tokenizer) -> None:
    whole = said("Hi", "Hello.", "And?", "Bye.")
    for untrained, wanted in ((1, "Bye.<|im_end|>"), (3, "Hello.<|im_end|>")):
        messages = list(whole.messages)
        messages[untrained] = Message("assistant", messages[untrained].content, trained=False)
        row = Conversation(tuple(messages), 1)
        assert trained_text(row, template, tokenizer) == wanted
        chosen = resolve(template, tokenizer)
        encoded, all_trained = (
            Encoder(chosen, tokenizer).encode(row),
            Encoder(chosen, tokenizer).encode(whole),
        )
        assert (encoded.text, encoded.input_ids) == (all_trained.text, all_trained.input_ids)
        assert encoded.end_token_trained


def test_llama_2_puts_spaces_around_the_answer_and_trains_them(tokenizer: Tokenizer) -> None:
    """A chat's prompt ends before the first of them."""
    assert trained_text(said("Hi", "Hello."), "llama2", tokenizer) == " Hello. <|im_end|>"


def test_a_template_that_strips_contents_is_followed(tokenizer: Tokenizer) -> None:
    strips = Template(
        "x", "x", "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}<|im_end|>{% endfor %}"
    )
    row = Encoder(strips, tokenizer).encode(said("Hi", "  Hello.\n"))
    assert "".join(tokenizer.token(label) for label in row.labels if label != IGNORED) == "Hello.<|im_end|>"


def test_a_response_that_the_template_leaves_out_is_a_hazard(tokenizer: Tokenizer) -> None:
    silent = Template("x", "Silent", "{{ messages[0].content }}")
    row = Encoder(silent, tokenizer).encode(said("Hi", "Hello."))
    assert {"not_shown", "nothing_trained"} <= {*row.hazards}


def test_a_row_that_the_template_refuses_is_named_with_its_reason_and_the_others_go_on(
    tokenizer: Tokenizer,
) -> None:
    picky = Template(
        "x",
        "Picky",
        CHATML.replace(
            "{% for",
            "{% if messages[0].role == 'assistant' %}"
            "{{ raise_exception('the user begins') }}{% endif %}{% for",
            1,
        ),
    )
    rows = [
        said("Hi", "Hello.", row=6),
        Conversation((Message("assistant", "Hello."), Message("user", "Hi")), 7),
    ]
    encoder = Encoder(picky, tokenizer)
    selected = select(encoder, rows, encoder.encode_many(rows), 100, "cut")
    assert [row.row for row in selected.rows] == [6]
    (found,) = selected.findings
    assert (found.check, found.rows) == ("refused", (7,))
    assert "the user begins" in found.message


def test_a_template_that_refuses_everything_says_so_at_once(tokenizer: Tokenizer) -> None:
    with pytest.raises(StudioError, match="no more chats"):
        Encoder(Template("x", "x", "{{ raise_exception('no more chats') }}"), tokenizer).encode_many(
            [said("Hi", "a")]
        )


NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_a_refused_system_message_goes_into_the_first_user_turn_and_is_named(tokenizer: Tokenizer) -> None:
    encoder = Encoder(Template("x", "x", NO_SYSTEM), tokenizer)
    conversation = said("Hi", "Hello.", system="Be brief.")
    row = encoder.encode(conversation)
    assert "user\nBe brief.\n\nHi<|im_end|>" in row.text
    assert row.hazards == ("system_merged",)
    prompt = encoder.prompt(conversation.before_response())
    assert prompt == [*row.input_ids[: len(prompt)]]


def test_an_ignored_system_message_goes_there_too(tokenizer: Tokenizer) -> None:
    deaf = CHATML.replace(
        "{% for message in messages %}", "{% for message in messages if message.role != 'system' %}"
    )
    row = Encoder(Template("x", "x", deaf), tokenizer).encode(said("Hi", "Hello.", system="Be brief."))
    assert "user\nBe brief.\n\nHi<|im_end|>" in row.text
    assert row.hazards == ("system_merged",)


def test_neighbours_of_one_role_are_joined_where_roles_must_alternate(tokenizer: Tokenizer) -> None:
    messages = (Message("user", "Hi"), Message("user", "there"), Message("assistant", "Hello."))
    row = Encoder(Template("x", "x", NO_SYSTEM), tokenizer).encode(Conversation(messages, 1))
    assert "user\nHi\n\nthere<|im_end|>" in row.text
    assert row.hazards == ("turns_merged",)


FIRST_ONLY = CHATML.replace(
    "{% for message in messages %}",
    "{% for message in messages %}{% if message.role == 'system' and not loop.first %}"
    "{{ raise_exception('the system comes first') }}{% endif %}",
)


def test_system_messages_that_may_only_stand_first_are_joined_there(tokenizer: Tokenizer) -> None:
    encoder = Encoder(Template("x", "x", FIRST_ONLY), tokenizer)
    messages = list(said("Hi", "Hello.", "And?", "Bye.", system="Be brief.").messages)
    row = encoder.encode(Conversation((*messages[:3], Message("system", "Be kind."), *messages[3:]), 1))
    assert row.text.startswith("<|im_start|>system\nBe brief.\n\nBe kind.<|im_end|>")
    assert "user\nHi<|im_end|>" in row.text
    assert {"systems_joined"} <= {*row.hazards}
    assert "system_merged" not in row.hazards


def test_a_later_system_message_that_the_template_passes_over_in_silence_is_a_hazard(
    tokenizer: Tokenizer,
) -> None:
    silent = CHATML.replace(
        "in messages %}", "in messages if message.role != 'system' or message == messages[0] %}"
    )
    messages = list(said("Hi", "Hello.", "And?", "Bye.", system="Be brief.").messages)
    row = Conversation((*messages[:3], Message("system", "Be kind."), *messages[3:]), 1)
    assert Encoder(Template("x", "x", silent), tokenizer).encode(row).hazards == ("not_shown",)


def test_an_answer_without_words_or_a_call_is_a_hazard_where_it_is_learnt(tokenizer: Tokenizer) -> None:
    rows = [said("Hi", " ", "And?", "Bye."), said("Hi", "Hello.")]
    every, last = (
        Encoder(Template("x", "x", CHATML), tokenizer, TemplateConfig(turns=turns))  # type: ignore[arg-type]
        for turns in ("all", "last")
    )
    assert [row.hazards for row in every.encode_many(rows)] == [("empty_answer",), ()]
    assert every.encode(rows[0]).hazards == ("empty_answer",)
    assert last.encode(rows[0]).hazards == ()


@pytest.mark.parametrize(
    "source", [CHATML, CHATML.replace("message['content']", "(message['content'] | trim)")]
)
def test_white_space_that_a_template_strips_is_said(source: str, tokenizer: Tokenizer) -> None:
    encoder = Encoder(Template("x", "x", source), tokenizer)
    rows = [said("Hi ", "Hello.\n"), said("Hi", "Hello.")]
    stripped = ("stripped",) if "trim" in source else ()
    assert [row.hazards for row in encoder.encode_many(rows)] == [stripped, ()]
    assert encoder.encode(rows[0]).hazards == stripped


@pytest.mark.parametrize("content", ["m.content", "(m.content | trim)"])
def test_white_space_at_the_end_of_a_turn_that_no_token_ends_is_not_said_to_be_stripped(
    content: str, tokenizer: Tokenizer
) -> None:
    source = f"{{% for m in messages %}}{{{{ m.role }}}}: {{{{ {content} }}}}{{% endfor %}}"
    encoder = Encoder(Template("x", "x", source), tokenizer)
    for row in (said("Hi", "Hello. \n"), said("Hi", "Hello. \n", "And?", "Bye.\n\n")):
        assert ("stripped" in encoder.encode(row).hazards) == ("trim" in content)
    assert ("stripped" in encoder.encode(said("Hi", "\n Hello.")).hazards) == ("trim" in content)


@pytest.mark.parametrize("masks", [{}, {"prompts": True}], ids=str)
def test_a_call_that_the_template_does_not_write_is_not_learnt_as_silence(
    masks: dict[str, object], tokenizer: Tokenizer
) -> None:
    call = Message("assistant", "", tool_calls=(ToolCall("Hi", "{}"),))
    row = Conversation(
        (Message("user", "Hi"), call, Message("tool", "rain"), Message("assistant", "Rain.")), 1
    )
    encoder = Encoder(Template("x", "x", CHATML), tokenizer, TemplateConfig(**masks))  # type: ignore[arg-type]
    encoded = encoder.encode(row)
    text = "".join(tokenizer.token(label) for label in encoded.labels if label != IGNORED)
    assert "assistant\n<|im_end|>" not in text
    assert text.rstrip().endswith("Rain.<|im_end|>")
    assert text == "Rain.<|im_end|>" or masks
    assert "not_shown" in encoded.hazards


@pytest.mark.parametrize("written", ["m.content | tojson", "m.content | replace('\": ', '\":')", "''"])
def test_results_that_are_escaped_or_written_anew_are_shown(written: str, tokenizer: Tokenizer) -> None:
    source = THINKING.replace("m.content", f"({written} if m.role == 'tool' else m.content)")
    assert source != THINKING
    messages = list(TOOL_USE.messages)
    place = next(index for index, message in enumerate(messages) if message.role == "tool")
    messages[place] = replace(messages[place], content='{"sky": "rain \u00e9", "degrees": 4}')
    row = Encoder(Template("x", "x", source), tokenizer).encode(Conversation(tuple(messages), 1))
    assert ("not_shown" in row.hazards) == (written == "''")


def test_a_template_that_is_not_jinja_names_the_line(tokenizer: Tokenizer) -> None:
    with pytest.raises(StudioError, match="not valid Jinja, line 2"):
        Encoder(Template("x", "x", "\n{% for %}"), tokenizer).encode(said("Hi", "Hello."))


@pytest.mark.parametrize("template", ["model", "chatml", "alpaca", "llama2"])
@pytest.mark.parametrize("case", ["one turn", "with a system message", "two turns"])
def test_a_chat_prompt_is_a_prefix_of_the_training_text(
    case: str, template: str, tokenizer: Tokenizer
) -> None:
    conversation, chosen = CASES[case], resolve(template, tokenizer)
    prompt = Encoder(chosen, tokenizer).prompt(conversation.before_response())
    assert prompt == [*Encoder(chosen, tokenizer).encode(conversation).input_ids[: len(prompt)]]


@pytest.mark.parametrize("template", ["model", "chatml", "alpaca", "llama2"])
@pytest.mark.parametrize("case", CASES)
def test_ids_equal_those_of_transformers(case: str, template: str, tokenizer: Tokenizer) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tokenizer.path)
    chosen = resolve(template, tokenizer)
    wanted = theirs.apply_chat_template(
        [message.to_json() for message in CASES[case].messages], chat_template=chosen.source
    )["input_ids"]
    assert list(Encoder(chosen, tokenizer).encode(CASES[case]).input_ids) == wanted


def test_an_answer_ends_at_the_templates_end_token(tokenizer: Tokenizer) -> None:
    assert Encoder(resolve("chatml", tokenizer), tokenizer).stop_ids == [tokenizer.special["<|im_end|>"]]


def test_a_template_that_asks_for_the_date_keeps_the_one_it_began_with(tmp_path: Path) -> None:
    folder = tiny_tokenizer(tmp_path)
    (folder / "chat_template.jinja").write_text(
        "{{ strftime_now('%Y') }} {{ messages[0].content }} {{ messages[1].content }}<|im_end|>",
        encoding="utf-8",
    )
    source = resolve("auto", load_tokenizer(folder)).source
    assert "strftime_now" not in source
    assert source.startswith("{{ '20")


def test_what_is_cut_is_kept_to_be_shown(tokenizer: Tokenizer) -> None:
    whole = Encoder(resolve("model", tokenizer), tokenizer).encode(said("Hi", "Hello."))
    cut = shorten(whole, whole.total - 4)
    assert (cut.input_ids + cut.cut_ids, cut.cut_trained) == (whole.input_ids, 3)
    assert whole.end_token_trained
    assert not cut.end_token_trained


def test_losing_only_what_follows_the_end_token_loses_nothing(tokenizer: Tokenizer) -> None:
    whole = Encoder(resolve("model", tokenizer), tokenizer).encode(said("Hi", "Hello."))
    cut = shorten(whole, whole.total - 1)
    assert (cut.trained, cut.end_token_trained) == (whole.trained, True)


def chosen_rows(
    tokenizer: Tokenizer, conversations: list[Conversation], overlong: Overlong, **masks: object
) -> EncodedData:
    encoder = encoder_for(TemplateConfig(**masks), tokenizer)  # type: ignore[arg-type]
    return select(encoder, conversations, encoder.encode_many(conversations), 60, overlong)


def test_rows_whose_prompt_fills_the_length_are_left_out_and_named(tokenizer: Tokenizer) -> None:
    selected = chosen_rows(
        tokenizer, [said("Hi", "Yes.", row=3), said("A long question" * 9, "No.", row=5)], "cut"
    )
    assert [row.row for row in selected.rows] == [3]
    assert [(found.check, found.rows) for found in selected.findings] == [("prompt_fills_length", (5,))]


@pytest.mark.parametrize("overlong", ["cut", "drop", "split", "keep"])
def test_rows_without_a_prompt_or_an_answer_are_left_out_and_named(
    overlong: Overlong, tokenizer: Tokenizer
) -> None:
    rows = [said("Hi", " ", row=3), said("", "Yes.", row=4), said("Hi", "Yes.", row=5)]
    selected = chosen_rows(tokenizer, rows, overlong)
    assert [row.row for row in selected.rows] == [5]
    assert {found.check: found.rows for found in selected.findings}["left_out"] == (3, 4)


def test_long_rows_are_cut_dropped_or_kept_as_chosen(tokenizer: Tokenizer) -> None:
    rows = [said("Hi", "Yes. " * 20, row=3), said("Hi", "No.", row=4)]
    cut, dropped, kept = (chosen_rows(tokenizer, rows, how) for how in ("cut", "drop", "keep"))
    assert [row.total for row in cut.rows] == [60, kept.rows[1].total]
    assert [row.row for row in dropped.rows] == [4]
    assert kept.rows[0].total > 100
    checks = [[found.check for found in data.findings] for data in (cut, dropped, kept)]
    assert checks == [["too_long"], ["too_long"], ["kept_long"]]


def test_a_long_conversation_is_split_into_runs_of_whole_exchanges(tokenizer: Tokenizer) -> None:
    turns = ["One?", "1.", "Two?", "2.", "Three?", "3."]
    conversation = said(*turns, system="S", row=9)
    data = chosen_rows(tokenizer, [conversation], "split")
    assert [row.row for row in data.rows] == [9] * len(data.rows)
    assert len(data.rows) > 1
    assert all(row.total <= 60 and "<|im_start|>system\nS<|im_end|>" in row.text for row in data.rows)
    learnt = "".join(tokenizer.token(label) for row in data.rows for label in row.labels if label != IGNORED)
    assert learnt == "1.<|im_end|>2.<|im_end|>3.<|im_end|>"  # each once
    assert [found.check for found in data.findings] == ["split_turns"]
    last = chosen_rows(tokenizer, [conversation], "split", turns="last")
    assert [
        "".join(tokenizer.token(label) for label in row.labels if label != IGNORED) for row in last.rows
    ] == ["3.<|im_end|>"]


def learnt(conversation: Conversation, source: str, tokenizer: Tokenizer, **masks: object) -> str:
    encoder = Encoder(Template("x", "x", source), tokenizer, TemplateConfig(**masks))  # type: ignore[arg-type]
    return "".join(
        tokenizer.token(label) for label in encoder.encode(conversation).labels if label != IGNORED
    )


THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.reasoning_content %}{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls %}{{ '\n<tool_call>' + c.function.name }}"
    "{{ c.function.arguments | tojson + '</tool_call>' }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CALL = ToolCall("weather", '{"city": "Oslo"}')
TOOL_USE = Conversation(
    (
        Message("user", "Oslo?"),
        Message("assistant", "I look.", reasoning="It asks.", tool_calls=(CALL,)),
        Message("tool", "rain"),
        Message("assistant", "Rain.", reasoning="So."),
    ),
    1,
)
WHOLE = (
    "<think>\nIt asks.\n</think>\n\n",
    "I look.",
    '\n<tool_call>weather{"city": "Oslo"}</tool_call>',
    "<|im_end|>",
    "<think>\nSo.\n</think>\n\n",
    "Rain.<|im_end|>",
)


@pytest.mark.parametrize(
    ("masks", "parts"),
    [
        ({}, (0, 1, 2, 3, 4, 5)),
        ({"reasoning": False}, (1, 2, 3, 5)),
        ({"tool_calls": False}, (0, 1, 3, 4, 5)),
        ({"reasoning": False, "tool_calls": False}, (1, 3, 5)),
        ({"turns": "last"}, (4, 5)),
        ({"turns": "last", "reasoning": False}, (5,)),
    ],
)
def test_reasoning_tool_calls_and_earlier_turns_are_learnt_by_choice(
    masks: dict[str, object], parts: tuple[int, ...], tokenizer: Tokenizer
) -> None:
    assert learnt(TOOL_USE, THINKING, tokenizer, **masks) == "".join(WHOLE[part] for part in parts)


def test_reasoning_inside_the_content_is_reasoning_too(tokenizer: Tokenizer) -> None:
    row = said("Hi", "<think>\nHm.\n</think>\n\nHello.")
    assert learnt(row, CHATML, tokenizer, reasoning=False) == "Hello.<|im_end|>"


LAST_THOUGHT = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% set said = m.content.split('</think>') %}"
    "{% if said | length > 1 and loop.last %}{{ '<think>' + said[0].split('<think>')[-1] + '</think>' }}{% endif %}"
    "{{ said[-1].lstrip() + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As Qwen 3's: of reasoning inside the content, only that of the last turn is written, and nothing before it."""


@pytest.mark.parametrize(
    ("answers", "hazards"),
    [
        (("<think>Hm.</think>Hello.",), set()),
        (("Hello.", "<think>Hm.</think>Hello."), set()),
        (("<think>Early.</think>Hello.", "Bye."), {"not_shown"}),
        (("First words <think>Hm.</think> and last.",), {"not_shown"}),
    ],
)
def test_reasoning_in_the_content_that_a_template_drops_is_named(
    answers: tuple[str, ...], hazards: set[str], tokenizer: Tokenizer
) -> None:
    turns = [turn for said in answers for turn in (Message("user", "Hi"), Message("assistant", said))]
    row = Encoder(Template("x", "x", LAST_THOUGHT), tokenizer).encode(Conversation(tuple(turns), 1))
    assert {*row.hazards} & {"not_shown"} == hazards


def test_a_mark_of_the_vocabulary_in_a_prompt_stays_a_token_and_is_named(tmp_path: Path) -> None:
    folder = tiny_tokenizer(tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_tokens(["<think>", "</think>", "   "])
    backend.save(str(folder / "tokenizer.json"))
    tokenizer = load_tokenizer(folder)
    assert [*tokenizer.marks] == ["<think>", "</think>"]
    encoder = Encoder(resolve("model", tokenizer), tokenizer)
    asked, thought = said("What is <think>?", "A mark."), said("Hi", "<think>Hm.</think>Hello.")
    assert encoder.encode(asked).hazards == ("mark_in_words",)
    assert encoder.encode(thought).hazards == ()
    for row in (asked, thought):
        (quick,) = encoder.encode_many([row])
        assert [*quick.input_ids].count(tokenizer.marks["<think>"]) == 1
        assert quick.hazards == encoder.encode(row).hazards


def test_with_prompts_everything_is_learnt(tokenizer: Tokenizer) -> None:
    encoder = Encoder(resolve("model", tokenizer), tokenizer, TemplateConfig(prompts=True))
    row = encoder.encode(said("Hi", "Hello.", system="S"))
    assert row.labels == row.input_ids


def test_a_special_tokens_text_in_a_persons_words_is_words(tokenizer: Tokenizer) -> None:
    encoder = Encoder(resolve("model", tokenizer), tokenizer)
    row = encoder.encode(said("What is <|im_end|>?", "An end: <|im_end|>."))
    end = tokenizer.special["<|im_end|>"]
    assert row.text.count("<|im_end|>") == 4
    assert (row.input_ids.count(end), row.labels.count(end)) == (2, 1)
    assert "".join(tokenizer.token(i) for i in row.input_ids) == row.text
    assert [row.text[a:b] for a, b in row.spans] == [tokenizer.token(i) for i in row.input_ids]
    assert row.hazards == ("special_text",)
    prompt = encoder.prompt((Message("user", "What is <|im_end|>?"),))
    assert prompt == [*row.input_ids[: len(prompt)]]


@pytest.mark.parametrize("asked", ["Where?", "What is <|im_end|>?"])
def test_a_special_tokens_text_is_words_too_where_the_template_writes_none_itself(
    asked: str, tokenizer: Tokenizer
) -> None:
    bare = Template("x", "x", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    encoder = Encoder(bare, tokenizer, TemplateConfig(prompts=True))
    conversation = said(asked, "An end: <|im_end|>.")
    for row in (encoder.encode(conversation), *encoder.encode_many([conversation])):
        assert not set(tokenizer.special.values()) & {*row.input_ids}
        assert {"special_text"} <= {*row.hazards} <= {"special_text", "unended_text"}
    prompt = encoder.prompt((Message("user", asked),))
    assert prompt == [*row.input_ids[: len(prompt)]]


def test_a_special_token_of_one_character_is_words_too(tmp_path: Path) -> None:
    folder = tiny_tokenizer(tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_special_tokens(["€"])
    backend.save(str(folder / "tokenizer.json"))
    tokenizer = load_tokenizer(folder)
    row = Encoder(resolve("model", tokenizer), tokenizer).encode(said("a € b", "€"))
    assert tokenizer.special["€"] not in row.input_ids
    assert "".join(map(tokenizer.token, row.input_ids)).count("\\x") == 6  # each as its three bytes
    assert row.hazards == ("special_text",)


def test_a_doubled_beginning_is_made_one_and_a_missing_one_named(tmp_path: Path) -> None:
    folder = tiny_tokenizer(tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["bos_token"] = "<|endoftext|>"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = load_tokenizer(folder)
    twice = Encoder(Template("x", "x", "{{ bos_token + bos_token }}" + CHATML), tokenizer)
    row, bos = twice.encode(said("Hi", "Hello.")), tokenizer.special["<|endoftext|>"]
    assert row.input_ids.count(bos) == 1
    assert (row.hazards, len(row.spans)) == (("doubled_bos",), row.total)
    assert twice.prompt((Message("user", "Hi"),)).count(bos) == 1


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer of whole words and runs of line breaks, which knows few of them."""
    folder = tiny_tokenizer(tmp_path_factory.mktemp("words"))
    vocabulary = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "user",
        "assistant",
        "\n",
        "\n\n",
        "Hi",
        "Hello",
        ".",
    ]
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(vocabulary)}, unk_token="<|endoftext|>")
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\n+|\w+|\S"), "isolated")
    backend.add_special_tokens(vocabulary[:3])
    backend.save(str(folder / "tokenizer.json"))
    return load_tokenizer(folder)


def test_a_token_over_the_border_of_prompt_and_response_is_split_there(words: Tokenizer) -> None:
    encoder = Encoder(resolve("model", words), words)
    row = encoder.encode(said("Hi", "\nHello"))
    prompt = encoder.prompt((Message("user", "Hi"),))
    assert prompt == [*row.input_ids[: len(prompt)]]
    assert row.hazards == ("merged_border",)
    assert [words.token(label) for label in row.labels if label != IGNORED] == ["\n", "Hello", "<|im_end|>"]


def test_characters_that_the_vocabulary_lacks_are_a_hazard(words: Tokenizer) -> None:
    assert "unknown_token" in Encoder(resolve("model", words), words).encode(said("Hi", "Goodbye")).hazards


def test_a_template_without_a_generation_prompt_is_opened_as_in_training(tokenizer: Tokenizer) -> None:
    source = CHATML.split("{% if add_generation_prompt")[0]
    encoder = Encoder(Template("x", "x", source), tokenizer)
    row = encoder.encode(said("Hi", "Hello.", "And?", "Bye."))
    assert "".join(tokenizer.token(label) for label in row.labels if label != IGNORED) == (
        "Hello.<|im_end|>Bye.<|im_end|>"
    )
    prompt = encoder.prompt((Message("user", "Hi"),))
    assert tokenizer.decode(prompt).endswith("<|im_start|>assistant\n")
    assert prompt == [*row.input_ids[: len(prompt)]]


def test_a_template_that_rewrites_earlier_turns_is_a_hazard_unless_the_last_alone_is_learnt(
    tokenizer: Tokenizer,
) -> None:
    forgetful = THINKING.replace("{% if m.reasoning_content %}", "{% if m.reasoning_content and loop.last %}")
    encoder = Encoder(Template("x", "x", forgetful), tokenizer)
    assert {"not_shown"} <= {*encoder.encode(TOOL_USE).hazards}


def test_generation_marks_say_what_is_learnt(tokenizer: Tokenizer) -> None:
    marked = CHATML.replace(
        "message['content'] + '<|im_end|>\\n' }}",
        "'' }}{% generation %}{{ message['content'] + '<|im_end|>\\n' }}{% endgeneration %}",
    ).replace("{% for message in messages %}", "{% for message in messages %}", 1)
    assert marked != CHATML
    only = marked.replace("{% generation %}", "{% if message.role == 'assistant' %}{% generation %}").replace(
        "{% endgeneration %}",
        "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>\\n' }}{% endif %}",
    )
    conversation = said("Hi", "Hello.", "And?", "Bye.")
    assert learnt(conversation, only, tokenizer) == "Hello.<|im_end|>\nBye.<|im_end|>\n"
    assert learnt(conversation, only, tokenizer, turns="last") == "Bye.<|im_end|>\n"


MASKS = (
    {},
    {"turns": "last"},
    {"reasoning": False},
    {"tool_calls": False},
    {"reasoning": False, "tool_calls": False},
    {"prompts": True},
)


@pytest.mark.parametrize("masks", MASKS, ids=str)
@pytest.mark.parametrize("template", ["model", *SHIPPED])
def test_many_at_once_are_as_one_by_one(
    template: str, masks: dict[str, object], tokenizer: Tokenizer
) -> None:
    encoder = Encoder(resolve(template, tokenizer), tokenizer, TemplateConfig(**masks))  # type: ignore[arg-type]
    rows = [*CASES.values(), TOOL_USE, said("<|im_end|>", "<|im_start|>")]
    assert encoder.encode_many(rows) == [replace(encoder.encode(row), text="", spans=()) for row in rows]


def test_the_fingerprint_changes_with_a_label(tokenizer: Tokenizer) -> None:
    row = Encoder(resolve("model", tokenizer), tokenizer).encode(said("Hi", "Yes."))
    other = Encoder(resolve("model", tokenizer), tokenizer).encode(said("Hi", "Yes!"))
    assert fingerprint([row]) != fingerprint([other])
    assert fingerprint([row]) == fingerprint(
        [Encoder(resolve("model", tokenizer), tokenizer).encode(said("Hi", "Yes."))]
    )


def changed_tokenizer(folder: Path, **fields: object) -> Tokenizer:
    """The tiny tokenizer with these fields of its tokenizer.json."""
    file = tiny_tokenizer(folder) / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | fields), encoding="utf-8")
    return load_tokenizer(folder)


def added_tokens(tokenizer: Tokenizer, **changes: dict[str, object]) -> list[dict[str, object]]:
    """The `added_tokens` of tokenizer.json, with fields changed by token."""
    found = json.loads(tokenizer.backend.to_str())["added_tokens"]
    return [token | changes.get(token["content"].strip("<|>"), {}) for token in found]


def test_an_end_token_that_is_but_a_word_of_the_vocabulary_is_one_token(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    held = [token for token in added_tokens(tokenizer) if token["content"] != "<|im_end|>"]
    words = changed_tokenizer(tmp_path, added_tokens=held)
    encoder, theirs = Encoder(resolve("model", words), words), AutoTokenizer.from_pretrained(words.path)
    for conversation in (said("Hi", "Hello."), said("Hi <|im_end|>", "Hello.")):
        row = encoder.encode(conversation)
        assert [row.input_ids.count(2), row.labels.count(2)] == [2, 1]
        assert row.end_token_trained
    plain = encoder.encode(said("Hi", "Hello."))
    assert [*plain.input_ids] == theirs(plain.text, add_special_tokens=False)["input_ids"]


def test_an_end_token_that_falls_into_letters_is_not_learnt(tokenizer: Tokenizer, tmp_path: Path) -> None:
    held = added_tokens(tokenizer, im_end={"single_word": True})
    words = changed_tokenizer(tmp_path, added_tokens=held)
    encoder = Encoder(resolve("model", words), words)
    glued, apart = encoder.encode_many([said("Hi.", "Hello"), said("Hi.", "Hello.")])
    assert words.special["<|im_end|>"] not in glued.labels
    assert [row.end_token_trained for row in (glued, apart)] == [False, True]
    assert [row.hazards for row in (glued, apart)] == [("no_end_token",), ()]
    assert encoder.encode(said("Hi.", "Hello")).hazards == ("no_end_token",)


@pytest.mark.parametrize("template", ["vicuna", "model"])
def test_white_space_is_learnt_where_the_tokenizer_takes_it_out_of_its_places(
    template: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """As the tokenizer of GPT-NeoX and Pythia does."""
    trims = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    trimming = changed_tokenizer(tmp_path, post_processor=trims)
    conversation = said("Hi", "if x:\n    return  y\n")
    row, same = (Encoder(resolve(template, t), t).encode(conversation) for t in (trimming, tokenizer))
    assert (row.labels, row.spans) == (same.labels, same.spans)
    learnt = "".join(trimming.token(label) for label in row.labels if label != IGNORED)
    assert learnt.lstrip() == "if x:\n    return  y\n<|im_end|>"


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def renderings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources of all renderings, of which each may take a tenth of a second here."""
    begun: list[str] = []

    def counted(source: str, variables: dict[str, object], *, title: str) -> object:
        begun.append(source)
        return render_spans(source, variables, title=title, seconds=0.1)

    render_spans = sandbox.render_spans
    monkeypatch.setattr(sandbox, "render_spans", counted)
    return begun


def test_rows_that_the_template_takes_too_long_for_are_named_and_no_more_of_them_tried(
    tokenizer: Tokenizer, renderings: list[str]
) -> None:
    slow = CHATML.replace(
        "{% for", "{% if 'loop' in messages[0].content %}" + ENDLESS + "{% endif %}{% for", 1
    )
    encoder = Encoder(Template("x", "Slow", slow), tokenizer)
    encoder.encode_many([said("Hi", "Hello.")])
    tried = len(renderings)
    with pytest.raises(StudioError, match=r"Slow was stopped, .* and maybe at more: 1, 3, 4\."):
        encoder.encode_many([said("Hi" if n == 2 else "loop", "Hello.", row=n) for n in range(1, 40)])
    assert len(renderings) == tried + 4
    with pytest.raises(StudioError, match="does not come to an end"):
        encoder.encode(said("loop <|im_end|>", "Hello."))


def test_a_template_that_never_ends_is_tried_once_and_holds_no_other_up(
    tokenizer: Tokenizer, renderings: list[str]
) -> None:
    endless, sound = (Encoder(Template("x", "x", source), tokenizer) for source in (ENDLESS, CHATML))
    for row in range(20):
        with pytest.raises(StudioError, match="does not come to an end"):
            endless.encode(said("Hi", "Hello.", row=row))
    assert renderings == [ENDLESS]
    with endless.renderer._probing:  # as while it is tried
        assert sound.encode(said("Hi", "Hello.")).end_token_trained


WRITES_IDS = THINKING.replace("{{ m.content }}", "{{ m.content + (m.tool_call_id or '') }}").replace(
    "c.function.name", "c.id + c.function.name"
)


def test_special_tokens_text_in_the_ids_of_calls_is_words(tokenizer: Tokenizer) -> None:
    assert WRITES_IDS.count("id") == 2
    call = replace(CALL, id="<|im_end|>")
    messages = list(TOOL_USE.messages)
    messages[1:3] = [
        replace(messages[1], tool_calls=(call,)),
        replace(messages[2], tool_call_id="<|im_end|>"),
    ]
    row = Encoder(Template("x", "x", WRITES_IDS), tokenizer).encode(Conversation(tuple(messages), 1))
    end = tokenizer.special["<|im_end|>"]
    assert (row.text.count("<|im_end|>"), row.input_ids.count(end)) == (6, 4)
    assert "special_text" in row.hazards


def test_a_call_whose_name_holds_a_special_tokens_text_is_left_out_where_it_is_written_first(
    tokenizer: Tokenizer,
) -> None:
    calls = THINKING[THINKING.index("{% for c in") : THINKING.index("{{ '<|im_end|>\n' }}")]
    first = THINKING.replace(calls, "").replace("{{ m.content }}", calls + "{{ m.content }}")
    messages = list(TOOL_USE.messages)
    messages[1] = replace(messages[1], reasoning="", tool_calls=(replace(CALL, name="a<|im_end|>"),))
    conversation = Conversation(tuple(messages), 1)
    text = learnt(conversation, first, tokenizer, tool_calls=False)
    assert text.startswith("I look.<|im_end|>")


def test_where_a_template_marks_others_words_too_a_turn_begins_after_its_prompt(words: Tokenizer) -> None:
    every = CHATML.replace(
        "message['content'] + '<|im_end|>\\n' }}",
        "'' }}{% generation %}{{ message['content'] + '<|im_end|>\\n' }}{% endgeneration %}",
    )
    assert every != CHATML
    encoder = Encoder(Template("x", "x", every), words)
    merged, apart = (encoder.encode(said("Hi", answer)) for answer in ("\nHello", "Hello"))
    assert ["unlike_chat" in row.hazards for row in (merged, apart)] == [True, False]


def test_what_is_remembered_of_texts_before_turns_is_bounded(tokenizer: Tokenizer) -> None:
    bare = Template("x", "x", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    encoder = Encoder(bare, tokenizer)
    encoder.encode_many([said(f"Question {row}", "Yes.", row=row) for row in range(600)])
    assert encoder._lead_ids.cache_info().currsize == 512
