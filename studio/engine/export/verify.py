"""The proof of an export: loaded again with plain transformers, held against the live model on the run's prompts."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from studio.domain.chat import Conversation
from studio.domain.config import ExportConfig, Quantization
from studio.domain.errors import Stopped
from studio.domain.text import Text
from studio.engine.export.gguf.read import load_gguf
from studio.engine.export.gguf.write import file_name
from studio.engine.export.merge import Way
from studio.engine.generate import greedy
from studio.engine.machine import default_device
from studio.engine.models import quiet_loading
from studio.engine.tuned import Pair, TunedRun, load_pair

PROMPTS = 8
ANSWER_TOKENS = 32
_LONGEST = 2048
"""Tokens of a prompt that is used; longer ones would prove no more and take long."""

_EXACT, _ROUNDED = 1e-4, 0.05
"""Largest mean KL divergence in nats a token: where all is float32, and where weights are rounded to 16 bits.

A bfloat16 weight keeps 8 bits. Adding the update before rounding, as an export does, or after the product, as the live
adapter does, is not the same to the last bit: 0.006 was measured on a model of 135 M parameters, 0.000 in float32.
Merging into 4-bit weights by mistake would show as more than 1.
"""
_QUANTISED: Mapping[Quantization, float] = {"f16": 0.05, "q8_0": 0.05, "q4_1": 1.0, "q4_0": 1.0}
"""The same for GGUF. What four bits lose is a choice, as long as it is less than what was learnt (docs/exports.md)."""


@dataclass(frozen=True)
class Distance:
    """How far two models are apart on the same answers, token by token."""

    max_logit_difference: float
    mean_kl: float
    """Nats a token, of the first to the second."""
    greedy_match: float
    """Share of prompts that both answer with exactly the same tokens, the likeliest each time."""

    def to_json(self) -> dict[str, float]:
        return {
            "max_logit_difference": round(self.max_logit_difference, 6),
            "mean_kl": round(self.mean_kl, 8),
            "greedy_match": round(self.greedy_match, 4),
        }


@dataclass(frozen=True)
class Verified:
    """What the comparison showed and how it was judged."""

    chat: Distance
    """The export against the tuned model as the chat runs it."""
    original: Distance | None
    """For a QLoRA run merged into the original weights: against the adapter on these, which is what was exported."""
    way: Way | None
    """For a merged QLoRA run: which weights its update was added to."""
    merges: Mapping[Way, Distance]
    """For a merged QLoRA run: each merge that was made, against the chat."""
    untuned_kl: float
    """For scale: how far the tuned model is from the untuned one, in the same measure."""
    prompts: int
    tokens: int
    same_prompt_ids: bool
    same_end_tokens: bool
    tolerance_kl: float
    failures: tuple[Text, ...]
    note: Text | None
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def max_logit_difference(self) -> float:
        return self.chat.max_logit_difference

    @property
    def mean_kl(self) -> float:
        return self.chat.mean_kl

    @property
    def greedy_match(self) -> float:
        return self.chat.greedy_match

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "reason": " ".join(str(failure) for failure in self.failures),
            "reason_texts": [failure.to_json() for failure in self.failures],
            **self.chat.to_json(),
            "against_original": self.original.to_json() if self.original else None,
            "into": self.way,
            "merges": {way: distance.to_json() for way, distance in self.merges.items()},
            "untuned_kl": round(self.untuned_kl, 6),
            "prompts": self.prompts,
            "tokens": self.tokens,
            "same_prompt_ids": self.same_prompt_ids,
            "same_end_tokens": self.same_end_tokens,
            "tolerance_kl": self.tolerance_kl,
            "note": str(self.note) if self.note else "",
            "note_text": self.note.to_json() if self.note else None,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class _Question:
    """A prompt, what the live model answers, and its logits there: (answer + 1, vocabulary)."""

    conversation: Conversation
    prompt: list[int]
    answer: list[int]
    logits: torch.Tensor


def verify(
    run: TunedRun,
    folders: Mapping[Way, Path],
    config: ExportConfig,
    rows: Sequence[Conversation],
    progress: Callable[[float, float], None],
    should_stop: Callable[[], bool],
) -> dict[Way, Verified]:
    """Compare the exports, by what they were merged into, with the live model on the first rows that fit.

    One model is in memory at a time.
    """
    begun = time.monotonic()
    chosen = _choose(run, rows)
    merged = run.four_bit and config.to != "adapter"
    compare_original = merged and "original" in folders
    total = len(chosen) * (1 + len(folders) + compare_original)
    done = 0

    def step() -> None:
        nonlocal done
        if should_stop():
            raise Stopped
        progress(done, total)
        done += 1

    questions, untuned = _ask(load_pair(run), run, chosen, step)
    originals = None
    if compare_original:
        pair = load_pair(run, quantize=False)
        originals = [_again(pair, run, question, step) for question in questions]
        del pair
    found = {
        way: _compare(
            _load(run, folder, config), run, questions, originals if way == "original" else None, step
        )
        for way, folder in folders.items()
    }
    progress(total, total)
    tolerance = _tolerance(run, config)
    merges = {way: compared.chat for way, compared in found.items()} if merged else {}
    return {
        way: Verified(
            chat=compared.chat,
            original=compared.original,
            way=way if merged else None,
            merges=merges,
            untuned_kl=untuned,
            prompts=len(questions),
            tokens=sum(len(question.logits) for question in questions),
            same_prompt_ids=compared.same_prompt_ids,
            same_end_tokens=compared.same_end_tokens,
            tolerance_kl=tolerance,
            failures=tuple(_failures(compared, tolerance, untuned, len(questions))),
            note=_note(compared, way, merges) or (_NOT_ASKED if config.to == "gguf" else None),
            seconds=round(time.monotonic() - begun, 1),
        )
        for way, compared in found.items()
    }


def closer(found: Mapping[Way, Verified]) -> Way:
    """Which merge answers more like the chat; one that failed its proof only where all did."""
    return min(found, key=lambda way: (not found[way].passed, found[way].chat.mean_kl))


def _tolerance(run: TunedRun, config: ExportConfig) -> float:
    if config.to == "gguf":
        return _QUANTISED[config.quantization]
    exact = config.dtype == run.config.train.dtype == "float32" and not run.four_bit
    return _EXACT if exact else _ROUNDED


def _choose(run: TunedRun, rows: Sequence[Conversation]) -> list[tuple[Conversation, list[int]]]:
    """The first prompts that leave room for an answer."""
    config = json.loads((run.model_path / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config") or config
    room = min(_LONGEST, config.get("max_position_embeddings") or _LONGEST) - ANSWER_TOKENS
    chosen: list[tuple[Conversation, list[int]]] = []
    for row in rows:
        if len(chosen) == PROMPTS:
            break
        messages = row.before_response()
        ids = run.prompt(messages) if messages else []
        if 0 < len(ids) <= room:
            chosen.append((row, ids))
    return chosen


def _ask(
    pair: Pair, run: TunedRun, chosen: Sequence[tuple[Conversation, list[int]]], step: Callable[[], None]
) -> tuple[list[_Question], float]:
    """The live model's answers, and the mean KL divergence of the tuned model to the untuned one on them."""
    questions, apart = [], []
    for row, prompt in chosen:
        step()
        answer = greedy(pair, "tuned", prompt, run.stop_ids, ANSWER_TOKENS)
        logits, _ = pair.logits("tuned", prompt + answer, last=len(answer) + 1)
        base, _ = pair.logits("base", prompt + answer, last=len(answer) + 1)
        questions.append(_Question(row, prompt, answer, logits))
        apart.append(_kl(logits, base))
    return questions, _mean(apart)


def _again(pair: Pair, run: TunedRun, question: _Question, step: Callable[[], None]) -> _Question:
    """Another live model's answer, and its logits on the first one's."""
    step()
    logits, _ = pair.logits("tuned", question.prompt + question.answer, last=len(question.answer) + 1)
    answer = greedy(pair, "tuned", question.prompt, run.stop_ids, ANSWER_TOKENS)
    return _Question(question.conversation, question.prompt, answer, logits)


@dataclass(frozen=True)
class _Export:
    """A model and its tokenizer as anyone else would load them; nothing here is the studio's."""

    model: Any
    tokenizer: Any

    @property
    def end_ids(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def prompt(self, conversation: Conversation) -> list[int]:
        messages = [message.to_json() for message in conversation.before_response()]
        ids: list[int] = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        return ids

    def logits(self, ids: list[int], last: int) -> torch.Tensor:
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        known = "logits_to_keep" in inspect.signature(base.forward).parameters
        with torch.inference_mode():
            inputs = torch.tensor([ids], device=self.model.device)
            output = self.model(input_ids=inputs, **({"logits_to_keep": last} if known else {}))
        logits: torch.Tensor = output.logits[0, -last:].float().cpu()
        return logits

    def greedy(self, ids: list[int]) -> list[int]:
        from transformers import GenerationConfig

        neutral = GenerationConfig(
            do_sample=False,
            max_new_tokens=ANSWER_TOKENS,
            eos_token_id=self.model.generation_config.eos_token_id,
            pad_token_id=self.model.generation_config.pad_token_id,
        )
        inputs = torch.tensor([ids], device=self.model.device)
        # The base's own preferences, such as a repetition penalty, would otherwise fill what is not set.
        kept, self.model.generation_config = self.model.generation_config, neutral
        try:
            output = self.model.generate(input_ids=inputs, attention_mask=torch.ones_like(inputs))
        finally:
            self.model.generation_config = kept
        answer = output[0, len(ids) :].tolist()
        return answer[:-1] if answer and answer[-1] in self.end_ids else answer


def _load(run: TunedRun, folder: Path, config: ExportConfig) -> _Export:
    """As the export's card says."""
    if config.to == "gguf":
        with quiet_loading():
            return _Export(*load_gguf(run, folder / file_name(config.quantization), default_device()))
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig

    device = {"": default_device()}
    with quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if config.to == "merged":
            return _Export(
                AutoModelForCausalLM.from_pretrained(
                    folder, dtype="auto", device_map=device, local_files_only=True
                ).eval(),
                tokenizer,
            )
        from peft import PeftModel

        dtype = getattr(torch, run.config.train.dtype)
        options: dict[str, Any] = {}
        if run.four_bit:
            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=dtype,
            )
        base = AutoModelForCausalLM.from_pretrained(
            run.model_path, dtype=dtype, device_map=device, local_files_only=True, **options
        )
        model = PeftModel.from_pretrained(base, str(folder)).eval()
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return _Export(model, tokenizer)


@dataclass(frozen=True)
class _Compared:
    """An export beside the chat's model."""

    chat: Distance
    original: Distance | None
    same_prompt_ids: bool
    same_end_tokens: bool


def _compare(
    export: _Export,
    run: TunedRun,
    questions: Sequence[_Question],
    originals: Sequence[_Question] | None,
    step: Callable[[], None],
) -> _Compared:
    """`originals` are the answers of the adapter on the original weights, to compare with these too."""
    to_chat, to_original, same_ids = [], [], True
    for index, question in enumerate(questions):
        step()
        same_ids = same_ids and export.prompt(question.conversation) == question.prompt
        logits = export.logits(question.prompt + question.answer, last=len(question.answer) + 1)
        answer = export.greedy(question.prompt)
        to_chat.append(_distance(question, logits, answer))
        if originals is not None:
            to_original.append(_distance(originals[index], logits, answer))
    original = _summary(to_original) if originals is not None else None
    return _Compared(_summary(to_chat), original, same_ids, export.end_ids == set(run.stop_ids))


_Row = tuple[float, torch.Tensor, bool]


def _distance(question: _Question, logits: torch.Tensor, answer: list[int]) -> _Row:
    largest = float((question.logits - logits).abs().max())
    return largest, _kl(question.logits, logits), answer == question.answer


def _summary(rows: Sequence[_Row]) -> Distance:
    if not rows:
        return Distance(0.0, 0.0, 0.0)
    return Distance(
        max(row[0] for row in rows), _mean([row[1] for row in rows]), sum(row[2] for row in rows) / len(rows)
    )


def _kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence in nats of each position's next-token distributions."""
    p, q = first.double().log_softmax(-1), second.double().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def _mean(parts: Sequence[torch.Tensor]) -> float:
    return float(torch.cat(list(parts)).mean()) if parts else 0.0


def _failures(compared: _Compared, tolerance: float, untuned: float, prompts: int) -> list[Text]:
    failures = []
    distance = compared.original or compared.chat
    if not prompts:
        failures.append(Text("No row of the run is short enough to compare answers on."))
    if not distance.mean_kl <= tolerance:  # also where it is not a number
        failures.append(
            Text(
                "Its answers differ from the live model's by {kl} nats a token; at most {tolerance} is accepted.",
                {"kl": f"{distance.mean_kl:.4f}", "tolerance": tolerance},
            )
        )
    elif distance.mean_kl > max(untuned, _ROUNDED):
        failures.append(
            Text("The untuned model is as near to the live one: so few bits undo what the run has learnt.")
        )
    if not compared.same_prompt_ids:
        failures.append(Text("Its chat template does not give the token ids that the run was trained with."))
    if not compared.same_end_tokens:
        failures.append(Text("It does not end an answer at the tokens that the run was trained to end at."))
    return failures


_NOT_ASKED = Text("llama.cpp itself was not asked: read by it, the file may answer differently by rounding.")
_BOTH: Mapping[Way, str] = {
    "original": "The run learnt on a 4-bit base and was merged both ways. Into the original weights it differs from "
    "the chat by {original} nats a token, into the de-quantised ones by {dequantised}. This is the merge into the "
    "original weights, the closer one.",
    "dequantised": "The run learnt on a 4-bit base and was merged both ways. Into the original weights it differs "
    "from the chat by {original} nats a token, into the de-quantised ones by {dequantised}. This is the merge into "
    "the de-quantised weights, the closer one.",
}
_ONE: Mapping[Way, str] = {
    "original": "The run learnt on a 4-bit base and is merged into the original weights. So the export differs from "
    "the chat by {chat} nats a token, and by {original} from the same adapter on the original weights.",
    "dequantised": "The run learnt on a 4-bit base and is merged into what 4 bits made of its weights, de-quantised. "
    "So the export differs from the chat by {chat} nats a token.",
}


def _note(compared: _Compared, way: Way, merges: Mapping[Way, Distance]) -> Text | None:
    if len(merges) > 1:
        return Text(_BOTH[way], {way: f"{distance.mean_kl:.4f}" for way, distance in merges.items()})
    if not merges:
        return None
    figures = {"chat": compared.chat, **({"original": compared.original} if compared.original else {})}
    return Text(_ONE[way], {name: f"{distance.mean_kl:.4f}" for name, distance in figures.items()})
