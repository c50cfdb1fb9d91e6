"""The chat templates that the studio ships: what each is for and what it implies. The texts are in assets/templates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shipped:
    """A template file in assets/templates and what choosing it implies."""

    title: str
    description: str
    end_of_turn: str = ""
    """The token it ends a turn with where the model knows it; else the model's end token is used."""
    markers: tuple[str, ...] = ()
    """What it writes around messages: tokens of the models that it was made for."""
    file: str = ""
    """The file's name, where it is not the template's."""
    thinking: bool | None = None
    """What `enable_thinking` is set to in the file, where it asks for that."""


_CALLS = ("<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
_THINK = ("<think>", "</think>")
_CHATML = ("<|im_start|>", "<|im_end|>")
_DEEPSEEK = ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>")

SHIPPED: dict[str, Shipped] = {
    "chatml": Shipped(
        "ChatML",
        "Roles between <|im_start|> and <|im_end|>, as in Qwen's instruct models, tools included. It fits most base "
        "models: one that lacks these tokens reads the first as plain text and ends each turn with its own end token.",
        "<|im_end|>",
        (*_CHATML, *_CALLS),
    ),
    "alpaca": Shipped(
        "Alpaca",
        "'### Instruction' and '### Response' headings in plain text, after a fixed introduction or the system "
        "message. For base models without chat tokens; no tools.",
    ),
    "llama2": Shipped(
        "Llama 2",
        "[INST] and <<SYS>> in plain text, one pair a turn; the system message stands in the first. For Llama 2. "
        "User and assistant must take turns; no tools.",
        markers=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
    ),
    "llama3": Shipped(
        "Llama 3",
        "Roles between header tokens, turns ended by <|eot_id|>. For Llama 3 base models. It writes no date of its "
        "own; one tool call in a turn, as JSON.",
        "<|eot_id|>",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "mistral": Shipped(
        "Mistral",
        "[INST] around what the user says, as in Mistral 7B 0.3, with its tool tokens. The system message and the "
        "tools stand with the first user message. User and assistant must take turns.",
        markers=(
            *("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
            *("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
        ),
    ),
    "gemma": Shipped(
        "Gemma",
        "Turns between <start_of_turn> and <end_of_turn>; the assistant is called model. The system message is put in "
        "front of the first user message. User and assistant must take turns; no tools.",
        "<end_of_turn>",
        ("<start_of_turn>", "<end_of_turn>"),
    ),
    "qwen3": Shipped(
        "Qwen3, thinking",
        "ChatML with a <think> block before every answer, empty where a row has no reasoning. Unlike the original it "
        "keeps the reasoning of earlier turns, so that a chat sees what was trained.",
        "<|im_end|>",
        (*_CHATML, *_THINK, *_CALLS),
        thinking=True,
    ),
    "qwen3_no_thinking": Shipped(
        "Qwen3, without thinking",
        "ChatML with an empty <think> block that is part of the prompt, so that the model answers at once. Rows with "
        "reasoning are refused.",
        "<|im_end|>",
        (*_CHATML, *_THINK, *_CALLS),
        file="qwen3",
        thinking=False,
    ),
    "phi3": Shipped(
        "Phi-3",
        "Roles as tokens of their own, turns ended by <|end|>. For Phi-3 and Phi-3.5. Unlike the original it writes no "
        "second end token after the last turn; no tools.",
        "<|end|>",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    ),
    "phi4": Shipped(
        "Phi-4",
        "ChatML's tokens with <|im_sep|> between role and text, without line breaks. For Phi-4; no tools.",
        "<|im_end|>",
        ("<|im_start|>", "<|im_sep|>", "<|im_end|>"),
    ),
    "deepseek": Shipped(
        "DeepSeek",
        "User and assistant as tokens, the system message bare at the beginning. For DeepSeek V3 models that answer at "
        "once; no tools.",
        "<｜end▁of▁sentence｜>",
        _DEEPSEEK,
        thinking=False,
    ),
    "deepseek_r1": Shipped(
        "DeepSeek R1",
        "As DeepSeek, with a <think> block that the prompt opens before every answer, empty where a row has no "
        "reasoning. For R1 and its distilled models. Unlike the original it keeps the reasoning of earlier turns; no "
        "tools.",
        "<｜end▁of▁sentence｜>",
        (*_DEEPSEEK, *_THINK),
        file="deepseek",
        thinking=True,
    ),
    "zephyr": Shipped(
        "Zephyr",
        "Roles in plain text such as <|user|>, turns ended by the model's end token. For base models of the Mistral "
        "and StableLM kind; no tools.",
        markers=("<|system|>", "<|user|>", "<|assistant|>"),
    ),
    "vicuna": Shipped(
        "Vicuna",
        "'USER:' and 'ASSISTANT:' in plain text, after a fixed introduction or the system message. For base models "
        "without chat tokens; no tools.",
    ),
    "plain": Shipped(
        "Prompt and completion",
        "The texts as they stand, one after the other, and the end token after each answer. What is to stand between "
        "prompt and completion has to be in the data; no tools.",
    ),
}
