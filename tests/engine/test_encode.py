from __future__ import annotations

from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.encoded import IGNORED
from studio.domain.errors import StudioError
from studio.engine.encode import encode, encode_prompt, fingerprint, select, shorten, stop_ids
from studio.engine.templates import Template, resolve
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from tests.tiny import tiny_tokenizer


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
    row = encode(conversation, resolve(template, tokenizer), tokenizer)
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
        encoded, all_trained = encode(row, chosen, tokenizer), encode(whole, chosen, tokenizer)
        assert (encoded.text, encoded.input_ids) == (all_trained.text, all_trained.input_ids)
        assert encoded.end_token_trained


def test_llama_2_puts_a_space_before_the_end_token_and_trains_it_too(tokenizer: Tokenizer) -> None:
    assert trained_text(said("Hi", "Hello."), "llama2", tokenizer) == "Hello. <|im_end|>"


def test_a_template_that_strips_contents_is_followed(tokenizer: Tokenizer) -> None:
    strips = Template(
        "x", "x", "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}<|im_end|>{% endfor %}"
    )
    row = encode(said("Hi", "  Hello.\n"), strips, tokenizer)
    assert "".join(tokenizer.token(label) for label in row.labels if label != IGNORED) == "Hello.<|im_end|>"


def test_a_template_that_leaves_the_response_out_is_refused_with_the_row(tokenizer: Tokenizer) -> None:
    silent = Template("x", "Silent", "{{ messages[0].content }}")
    with pytest.raises(StudioError, match="Row 7: the chat template Silent does not show the response"):
        encode(said("Hi", "Hello.", row=7), silent, tokenizer)


def test_a_template_that_refuses_a_role_says_so_with_the_row(tokenizer: Tokenizer) -> None:
    picky = Template(
        "x", "Picky", "{{ raise_exception('no system message here') if messages[0].role == 'system' }}"
    )
    with pytest.raises(
        StudioError, match=r"Row 7: The chat template Picky refuses .*: no system message here"
    ):
        encode(said("Hi", "Hello.", system="S", row=7), picky, tokenizer)


def test_a_template_that_is_not_jinja_names_the_line(tokenizer: Tokenizer) -> None:
    with pytest.raises(StudioError, match="not valid Jinja, line 2"):
        encode(said("Hi", "Hello."), Template("x", "x", "\n{% for %}"), tokenizer)


@pytest.mark.parametrize("template", ["model", "chatml", "alpaca", "llama2"])
@pytest.mark.parametrize("case", ["one turn", "with a system message", "two turns"])
def test_a_chat_prompt_is_a_prefix_of_the_training_text(
    case: str, template: str, tokenizer: Tokenizer
) -> None:
    conversation, chosen = CASES[case], resolve(template, tokenizer)
    prompt = encode_prompt(conversation.before_response(), chosen, tokenizer)
    assert tuple(prompt) == encode(conversation, chosen, tokenizer).input_ids[: len(prompt)]


@pytest.mark.parametrize("template", ["model", "chatml", "alpaca", "llama2"])
@pytest.mark.parametrize("case", CASES)
def test_ids_equal_those_of_transformers(case: str, template: str, tokenizer: Tokenizer) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tokenizer.path)
    chosen = resolve(template, tokenizer)
    wanted = theirs.apply_chat_template(
        [message.to_json() for message in CASES[case].messages], chat_template=chosen.source
    )["input_ids"]
    assert list(encode(CASES[case], chosen, tokenizer).input_ids) == wanted


def test_an_answer_ends_at_the_templates_end_token(tokenizer: Tokenizer) -> None:
    assert stop_ids(resolve("chatml", tokenizer), tokenizer) == [tokenizer.special["<|im_end|>"]]


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
    whole = encode(said("Hi", "Hello."), resolve("model", tokenizer), tokenizer)
    cut = shorten(whole, whole.total - 4)
    assert (cut.input_ids + cut.cut_ids, cut.cut_trained) == (whole.input_ids, 3)
    assert whole.end_token_trained
    assert not cut.end_token_trained


def test_losing_only_what_follows_the_end_token_loses_nothing(tokenizer: Tokenizer) -> None:
    whole = encode(said("Hi", "Hello."), resolve("model", tokenizer), tokenizer)
    cut = shorten(whole, whole.total - 1)
    assert (cut.trained, cut.end_token_trained) == (whole.trained, True)


def test_rows_that_cannot_be_trained_are_left_out_and_named(tokenizer: Tokenizer) -> None:
    template = resolve("model", tokenizer)
    rows = [
        encode(conversation, template, tokenizer)
        for conversation in (said("Hi", "Yes.", row=3), said("A long question" * 9, "No.", row=5))
    ]
    selected = select(rows, max_length=60, overlong="cut")
    assert [row.row for row in selected.rows] == [3]
    assert [(found.check, found.rows) for found in selected.findings] == [("nothing_trained", (5,))]


def test_long_rows_are_cut_or_dropped_as_chosen(tokenizer: Tokenizer) -> None:
    template = resolve("model", tokenizer)
    rows = [
        encode(said("Hi", "Yes. " * 20, row=3), template, tokenizer),
        encode(said("Hi", "No.", row=4), template, tokenizer),
    ]
    cut, dropped = select(rows, 60, "cut"), select(rows, 60, "drop")
    assert [row.total for row in cut.rows] == [60, rows[1].total]
    assert [row.row for row in dropped.rows] == [4]
    assert [found.check for found in (*cut.findings, *dropped.findings)] == ["too_long", "too_long"]


def test_the_fingerprint_changes_with_a_label(tokenizer: Tokenizer) -> None:
    row = encode(said("Hi", "Yes."), resolve("model", tokenizer), tokenizer)
    other = encode(said("Hi", "Yes!"), resolve("model", tokenizer), tokenizer)
    assert fingerprint([row]) != fingerprint([other])
    assert fingerprint([row]) == fingerprint(
        [encode(said("Hi", "Yes."), resolve("model", tokenizer), tokenizer)]
    )
