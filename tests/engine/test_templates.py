from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import processors

from studio.domain.chat import Conversation, Message, ToolCall
from studio.domain.errors import StudioError
from studio.engine.rendering import Renderer
from studio.engine.shipped_templates import SHIPPED
from studio.engine.templates import choices, resolve, template_messages
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from tests.oracles import families
from tests.oracles.conversations import TALKS, THOUGHTS, TOOLS, UNEVEN, WEATHER, call, result, talk
from tests.oracles.tokenizers import save

ORIGINALS = {
    "chatml": "qwen3_instruct_2507",
    "llama3": "llama3",
    "gemma": "gemma3",
    "qwen3": "qwen3",
    "phi3": "phi3",
    "deepseek": "deepseekv3",
    "deepseek_r1": "deepseek_r1_distill",
}
"""The template as the models ship it that each of ours is to write the same text as."""


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    """A tokenizer that knows a family's control tokens, for each of the families."""
    return {
        name: load_tokenizer(_with_bos(save(tmp_path_factory.mktemp(name), families.family(name), "bytes")))
        for name in {*ORIGINALS.values(), "llava_next"}
    }


def _with_bos(folder: Path) -> Path:
    """The model folder of a tokenizer that begins each text with its token for that, where it has one."""
    import tokenizers

    bos = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("bos_token")
    if bos:
        backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        begin = [(bos, backend.token_to_id(bos))]
        backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=begin)
        backend.save(str(folder / "tokenizer.json"))
    return folder


def written(name: str, conversation: Conversation, tokenizer: Tokenizer, *, prompt: bool = False) -> str:
    template = resolve(name, tokenizer)
    return Renderer(template, tokenizer).text(conversation.messages, conversation.tools, prompt=prompt)


def theirs(
    source: str, conversation: Conversation, tokenizer: Tokenizer, *, prompt: bool = False, **settings: bool
) -> str:
    """What transformers writes with a template."""
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = template_messages(conversation.messages)
    tools = [json.loads(tool) for tool in conversation.tools] or None
    texts, _ = render_jinja_template(
        [messages], tools, chat_template=source, add_generation_prompt=prompt, **tokenizer.named, **settings
    )
    return str(texts[0])


def original(name: str) -> str:
    return families.family(ORIGINALS[name]).original


# The texts of the original templates


@pytest.mark.parametrize("case", TALKS)
@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma", "deepseek"])
def test_the_text_is_the_originals(name: str, case: str, tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers[ORIGINALS[name]]
    assert written(name, TALKS[case], tokenizer) == theirs(original(name), TALKS[case], tokenizer)


@pytest.mark.parametrize("case", TALKS)
def test_phi_3_is_the_original_without_its_second_end_token(
    case: str, tokenizers: dict[str, Tokenizer]
) -> None:
    tokenizer = tokenizers["phi3"]
    text = written("phi3", TALKS[case], tokenizer)
    assert text + "<|endoftext|>" == "<s>" * tokenizer.adds_bos + theirs(
        original("phi3"), TALKS[case], tokenizer
    )


@pytest.mark.parametrize("case", TALKS)
def test_qwen3_writes_the_thinking_of_every_turn_as_the_original_does_of_the_last(
    case: str, tokenizers: dict[str, Tokenizer]
) -> None:
    tokenizer, conversation = tokenizers["qwen3"], TALKS[case]
    text = written("qwen3", conversation, tokenizer)
    assert text == theirs(families.family("qwen3").training, conversation, tokenizer)
    if len(conversation.responses) == 1 and conversation.messages[-1].role == "assistant":
        assert text == theirs(original("qwen3"), conversation, tokenizer)
    assert text == written("qwen3_no_thinking", conversation, tokenizer)


@pytest.mark.parametrize("case", TALKS)
def test_deepseek_r1_adds_to_the_original_the_thinking_of_every_turn(
    case: str, tokenizers: dict[str, Tokenizer]
) -> None:
    tokenizer = tokenizers["deepseek_r1_distill"]
    text = written("deepseek_r1", TALKS[case], tokenizer)
    thought = "<｜Assistant｜><think>\n\n</think>\n\n"
    assert text.replace(thought, "<｜Assistant｜>") == theirs(original("deepseek_r1"), TALKS[case], tokenizer)
    assert text.count(thought) == len(TALKS[case].responses)


QUESTIONS = {case: replace(TALKS[case], messages=TALKS[case].messages[:-1]) for case in TALKS}


@pytest.mark.parametrize("case", QUESTIONS)
@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma"])
def test_the_prompt_is_the_originals(name: str, case: str, tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers[ORIGINALS[name]]
    prompt = written(name, QUESTIONS[case], tokenizer, prompt=True)
    assert prompt == theirs(original(name), QUESTIONS[case], tokenizer, prompt=True)


@pytest.mark.parametrize("case", [case for case in QUESTIONS if not QUESTIONS[case].responses])
def test_the_first_prompt_is_the_originals(case: str, tokenizers: dict[str, Tokenizer]) -> None:
    question = QUESTIONS[case]
    for name, settings in (
        ("qwen3", {}),
        ("qwen3_no_thinking", {"enable_thinking": False}),
        ("deepseek_r1", {}),
    ):
        tokenizer = tokenizers[ORIGINALS[name.removesuffix("_no_thinking")]]
        wanted = theirs(
            original(name.removesuffix("_no_thinking")), question, tokenizer, prompt=True, **settings
        )
        assert written(name, question, tokenizer, prompt=True) == wanted
    wanted = theirs(original("deepseek"), question, tokenizers["deepseekv3"], prompt=True)
    assert written("deepseek", question, tokenizers["deepseekv3"], prompt=True) + "<think>\n" == wanted


@pytest.mark.parametrize("case", {**THOUGHTS, **TOOLS})
def test_qwen3_writes_reasoning_and_calls_as_the_originals(
    case: str, tokenizers: dict[str, Tokenizer]
) -> None:
    tokenizer, conversation = tokenizers["qwen3"], {**THOUGHTS, **TOOLS}[case]
    wanted = theirs(families.family("qwen3").training, conversation, tokenizer)
    assert written("qwen3", conversation, tokenizer) == wanted


@pytest.mark.parametrize("case", [case for case in TOOLS if "reasoning" not in case])
def test_chatml_writes_calls_as_qwens_instruct_models(case: str, tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["qwen3_instruct_2507"]
    assert written("chatml", TOOLS[case], tokenizer) == theirs(original("chatml"), TOOLS[case], tokenizer)


@pytest.mark.parametrize("case", ["tools unused", "a call", "a call at the end", "a call with other scripts"])
def test_llama_3_writes_calls_as_the_original_without_its_date(
    case: str, tokenizers: dict[str, Tokenizer]
) -> None:
    tokenizer = tokenizers["llama3"]
    wanted = theirs(families.family("llama3_2").original, TOOLS[case], tokenizer)
    dated = re.compile(
        r"<\|start_header_id\|>system<\|end_header_id\|>\n\nEnvironment.*?<\|eot_id\|>", re.DOTALL
    )
    assert written("llama3", TOOLS[case], tokenizer) == dated.sub("", wanted)


# Texts of families whose originals are not at hand, as their makers describe them

TWICE = talk("Hi", "Hello.", "And?", "Bye.", system="Be brief.")
ALONE = talk("Hi", "Hello.")
DESCRIBED = {
    "llama2": (
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] And? [/INST] Bye. </s>",
        "<s>[INST] Hi [/INST] Hello. </s>",
    ),
    "mistral": (
        "<s>[INST] Be brief.\n\nHi[/INST] Hello.</s>[INST] And?[/INST] Bye.</s>",
        "<s>[INST] Hi[/INST] Hello.</s>",
    ),
    "zephyr": (
        "<s><|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello.</s>\n"
        "<|user|>\nAnd?</s>\n<|assistant|>\nBye.</s>\n",
        "<s><|user|>\nHi</s>\n<|assistant|>\nHello.</s>\n",
    ),
    "vicuna": (
        "<s>Be brief. USER: Hi ASSISTANT: Hello.</s>USER: And? ASSISTANT: Bye.</s>",
        "<s>A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: Hi ASSISTANT: Hello.</s>",
    ),
    "alpaca": (
        "<s>Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello.</s>"
        "\n\n### Instruction:\nAnd?\n\n### Response:\nBye.</s>",
        "<s>Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\nHi\n\n### Response:\nHello.</s>",
    ),
    "plain": ("<s>Be brief.\n\nHiHello.</s>And?Bye.</s>", "<s>HiHello.</s>"),
    "phi4": (
        "<s><|im_start|>system<|im_sep|>Be brief.</s><|im_start|>user<|im_sep|>Hi</s>"
        "<|im_start|>assistant<|im_sep|>Hello.</s><|im_start|>user<|im_sep|>And?</s>"
        "<|im_start|>assistant<|im_sep|>Bye.</s>",
        "<s><|im_start|>user<|im_sep|>Hi</s><|im_start|>assistant<|im_sep|>Hello.</s>",
    ),
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_text_is_the_one_described(name: str, tokenizers: dict[str, Tokenizer]) -> None:
    twice, alone = DESCRIBED[name]
    assert written(name, TWICE, tokenizers["llava_next"]) == twice
    assert written(name, ALONE, tokenizers["llava_next"]) == alone


def test_mistral_writes_tools_with_the_first_question(tokenizers: dict[str, Tokenizer]) -> None:
    tool = json.dumps(json.loads(WEATHER))
    assert written("mistral", TOOLS["a call"], tokenizers["llava_next"]) == (
        f"<s>[AVAILABLE_TOOLS] [{tool}][/AVAILABLE_TOOLS][INST] Rain in Paris?[/INST]"
        '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Paris"}, "id": "call00001"}]</s>'
        '[TOOL_RESULTS] {"content": "{\\"rain\\": true}", "call_id": "call00001"}[/TOOL_RESULTS] Yes.</s>'
    )


# What holds for every template of ours

ALL = {**TALKS, **UNEVEN, **THOUGHTS, **TOOLS}


def parts(conversation: Conversation) -> list[str]:
    """All that a conversation says, without what any template may strip."""
    said = [name for tool in conversation.tools for name in (json.loads(tool)["function"]["name"],)]
    for message in conversation.messages:
        said += [message.reasoning, *re.split(r"</?think>", message.content)]
        said += [str(value) for call in message.tool_calls for value in json.loads(call.arguments).values()]
    return [part.strip() for part in said]


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_dropped_unless_the_row_is_refused(
    name: str, case: str, tokenizers: dict[str, Tokenizer]
) -> None:
    try:
        text = written(name, ALL[case], tokenizers["llava_next"])
    except StudioError:
        assert case not in TALKS  # for everything else there are families without room
        return
    for part in parts(ALL[case]):
        assert part in text or json.dumps(part, ensure_ascii=False)[1:-1] in text


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_prompt_is_a_prefix_of_the_text(name: str, case: str, tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer, conversation = tokenizers["llava_next"], ALL[case]
    try:
        text = written(name, conversation, tokenizer)
    except StudioError:
        return
    for index, message in enumerate(conversation.messages):
        if message.role == "assistant" and index:
            asked = replace(conversation, messages=conversation.messages[:index])
            assert text.startswith(written(name, asked, tokenizer, prompt=True))


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("name", SHIPPED)
def test_transformers_writes_the_same_from_the_source_alone(
    name: str, case: str, tokenizers: dict[str, Tokenizer]
) -> None:
    tokenizer = tokenizers["llava_next"]
    try:
        text = written(name, ALL[case], tokenizer)
    except StudioError:
        return
    assert text == theirs(resolve(name, tokenizer).source, ALL[case], tokenizer)


@pytest.mark.parametrize("name", SHIPPED)
def test_markers_are_those_that_the_template_writes(name: str, tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["deepseekv3" if name.startswith("deepseek") else "llava_next"]
    text = "".join(
        written(name, conversation, tokenizer, prompt=True)
        for conversation in (TWICE, *((TOOLS["a call"],) if _takes_tools(name, tokenizer) else ()))
    )
    ends = {SHIPPED[name].end_of_turn}
    assert [marker for marker in SHIPPED[name].markers if marker not in text and marker not in ends] == []


def _takes_tools(name: str, tokenizer: Tokenizer) -> bool:
    try:
        return bool(written(name, TOOLS["a call"], tokenizer))
    except StudioError:
        return False


def test_a_turn_ends_with_the_models_own_end_token_where_it_lacks_the_templates(
    tokenizers: dict[str, Tokenizer],
) -> None:
    assert written("llama3", ALONE, tokenizers["llama3"]).endswith("Hello.<|eot_id|>")
    assert written("llama3", ALONE, tokenizers["llava_next"]).endswith("Hello.</s>")


def test_a_text_begins_with_the_models_bos_where_the_tokenizer_adds_one(
    tokenizers: dict[str, Tokenizer],
) -> None:
    for name in SHIPPED:
        assert written(name, ALONE, tokenizers["llava_next"]).count("<s>") == 1
        assert written(name, ALONE, tokenizers["llama3"]).startswith("<|begin_of_text|>")
        assert "<s>" not in written(name, ALONE, tokenizers["qwen3"])


@pytest.mark.parametrize("name", ["llama2", "mistral", "gemma"])
def test_families_that_want_turns_refuse_others(name: str, tokenizers: dict[str, Tokenizer]) -> None:
    with pytest.raises(StudioError, match="refuses this conversation: user and assistant take turns"):
        written(name, UNEVEN["two questions in a row"], tokenizers["llava_next"])


# Names


def test_a_template_of_ones_own_is_its_source(tokenizers: dict[str, Tokenizer]) -> None:
    template = resolve("custom", tokenizers["qwen3"], "{{ messages[0].content }}")
    assert (template.name, template.source) == ("custom", "{{ messages[0].content }}")
    with pytest.raises(StudioError, match="Your own template is empty"):
        resolve("custom", tokenizers["qwen3"], " \n")


def test_the_models_own_template_can_be_told_not_to_think(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer, question = tokenizers["qwen3"], Conversation(ALONE.messages[:1])
    prompt = written("model_no_thinking", question, tokenizer, prompt=True)
    assert prompt == theirs(original("qwen3"), question, tokenizer, prompt=True, enable_thinking=False)
    assert prompt == theirs(resolve("model_no_thinking", tokenizer).source, question, tokenizer, prompt=True)
    assert "model_no_thinking" in dict(choices(tokenizer))
    assert "model_no_thinking" not in dict(choices(tokenizers["llama3"]))
    with pytest.raises(StudioError, match="has no switch for thinking"):
        resolve("model_no_thinking", tokenizers["llama3"])


def test_setting_the_switch_changes_nothing_else_of_a_template(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = replace(tokenizers["qwen3"], chat_template="\n  {{ enable_thinking }}\n\nend\n")
    own, without = (
        Renderer(resolve(name, tokenizer), tokenizer).text(()) for name in ("model", "model_no_thinking")
    )
    assert without == own.replace("  ", "  False")


def test_an_unknown_name_is_answered_with_those_known(tokenizers: dict[str, Tokenizer]) -> None:
    with pytest.raises(StudioError, match=r"no chat template chatlm.*auto, model, .*chatml"):
        resolve("chatlm", tokenizers["qwen3"])


def test_the_picker_explains_every_template() -> None:
    texts = json.loads(Path("assets/i18n/en.json").read_text(encoding="utf-8"))
    for name, shipped in SHIPPED.items():
        assert texts[f"template.name.{name}"] == shipped.title
        assert texts[f"template.about.{name}"] == shipped.description


# What a template is given


def test_messages_are_given_in_openais_shape_with_arguments_as_objects() -> None:
    messages = (
        Message("user", "Hi", trained=False),
        Message("assistant", "", reasoning="Hm.", tool_calls=(call("Paris"), ToolCall("f", "not JSON"))),
        result("rain"),
    )
    assert template_messages(messages) == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {
                    "id": "call00001",
                    "type": "function",
                    "function": {"name": "weather", "arguments": {"city": "Paris"}},
                },
                {"type": "function", "function": {"name": "f", "arguments": "not JSON"}},
            ],
        },
        {"role": "tool", "content": "rain", "name": "weather", "tool_call_id": "call00001"},
    ]
