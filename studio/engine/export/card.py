"""The model card of an export: what it learnt from, how, with what result, and how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from studio.domain.config import ExportConfig, Target, applies, settings
from studio.engine.export.base_card import Licence, base_name, licence_of
from studio.engine.export.gguf.write import file_name
from studio.engine.export.merge import Way, is_hub_id
from studio.engine.export.ollama import model_tag
from studio.engine.export.verify import Verified
from studio.engine.tuned import TunedRun


@dataclass(frozen=True)
class RunFacts:
    """What a run wrote down about itself, for the card."""

    created: str = ""
    rows: int = 0
    held_out_rows: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    """Rows trained on by where they are from; `data` is the data file."""
    dataset: str = ""
    """The id of the hub dataset that the data file is."""
    mixture: Mapping[str, Any] = field(default_factory=dict)
    """Of general rows mixed in: their `share` and the `sha256` of the file that they are from."""
    versions: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, Any] = field(default_factory=dict)
    """By what was hashed: a digest, or digests by file name."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """The newest evaluation's result, as docs/evaluation.md has it."""
    receipt: Mapping[str, Any] = field(default_factory=dict)
    """What the run was made from and by, fit to be handed on."""


def model_card(run: TunedRun, config: ExportConfig, facts: RunFacts, verified: Verified) -> str:
    """README.md in the form that model hubs read: YAML in front, Markdown after it."""
    licence = licence_of(run.model_path)
    front = yaml.safe_dump(_front(run, config, facts, licence), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{front}---",
        f"# {run.name}",
        _summary(run, config),
        _warning(verified),
        f"## How to load it\n\n{_how(run, config)}",
        f"## Data\n\n{_data(run, facts)}",
        f"## Training\n\n{_settings(run)}",
        f"## Result\n\n{_metrics(facts)}" if facts.metrics else "",
        f"## Evaluation\n\n{_evaluation(facts)}" if facts.evaluation else "",
        f"## Comparison with the live model\n\n{_verification(verified, config)}",
        f"## Base model and licence\n\n{_base(run, licence)}",
        f"## Fingerprints (SHA-256)\n\n{_hashes(facts)}" if facts.sha256 else "",
        f"## Versions\n\n{_table('Package', 'Version', facts.versions)}" if facts.versions else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_LIBRARIES: Mapping[Target, str] = {"merged": "transformers", "adapter": "peft", "gguf": "gguf"}
_WHAT: Mapping[Target, str] = {
    "merged": "The merged model: it needs no adapter.",
    "adapter": "The adapter only: it needs its base model.",
    "gguf": "The merged model in one GGUF file, for llama.cpp, Ollama, LM Studio and others.",
}


_RELATIONS: Mapping[Target, str] = {"merged": "finetune", "adapter": "adapter", "gguf": "quantized"}


def _front(run: TunedRun, config: ExportConfig, facts: RunFacts, licence: Licence) -> dict[str, Any]:
    """The header that a hub reads."""
    front: dict[str, Any] = {"library_name": _LIBRARIES[config.to], **licence.front()}
    if is_hub_id(run):
        front |= {"base_model": run.config.model.id, "base_model_relation": _RELATIONS[config.to]}
    if facts.dataset:
        front["datasets"] = [facts.dataset]
    return {
        **front,
        "pipeline_tag": "text-generation",
        "tags": ["fine-tuned", run.config.train.method, "sft"],
    }


def _summary(run: TunedRun, config: ExportConfig) -> str:
    method = {"qlora": "QLoRA", "lora": "LoRA", "full": "full fine-tuning"}[run.config.train.method]
    stopped = (
        " The run was stopped before its end; this is its latest checkpoint."
        if run.kind == "checkpoint"
        else ""
    )
    return (
        f"{base_name(run)}, tuned with {method}. {_WHAT[config.to]} Weights in {config.precision}.{stopped}"
    )


def _warning(verified: Verified) -> str:
    if verified.passed:
        return ""
    reasons = " ".join(str(failure) for failure in verified.failures)
    return f"> **This export FAILED its comparison with the live model. Do not rely on it.** {reasons}"


def _how(run: TunedRun, config: ExportConfig) -> str:
    if config.to == "gguf":
        file, tag = file_name(config.quantization), model_tag(run.name)
        return f"```sh\n{_GGUF.format(file=file, tag=tag)}\n```"
    return f"```python\n{_MERGED if config.to == 'merged' else _adapter_code(run)}{_ASK}\n```"


_GGUF = """\
cd .  # where this file lies
ollama create {tag} -f Modelfile && ollama run {tag}
llama-cli -m {file}     # the same with llama.cpp alone; --jinja takes the chat template in the file
llama-server -m {file}  # an OpenAI-compatible endpoint at http://127.0.0.1:8080/v1"""


_MERGED = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # where this file lies
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
"""
_ASK = """
messages = [{"role": "user", "content": "..."}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
answer = model.generate(**prompt.to(model.device), max_new_tokens=256)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True))"""


def _adapter_code(run: TunedRun) -> str:
    base = run.config.model.id if is_hub_id(run) else f"path/to/{run.model_path.name}"
    revision = (
        f', revision="{run.config.model.revision}"' if is_hub_id(run) and run.config.model.revision else ""
    )
    dtype = run.config.train.dtype
    if not run.four_bit:
        quantisation, extra, imports = "", "", ""
    else:
        imports = ", BitsAndBytesConfig"
        quantisation = (
            'four_bit = BitsAndBytesConfig(\n    load_in_4bit=True, bnb_4bit_quant_type="nf4", '
            f'bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype="{dtype}"\n)\n'
        )
        extra = ", quantization_config=four_bit"
    return (
        "from peft import PeftModel\n"
        f"from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig{imports}\n\n"
        'folder = "."  # where this file lies\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        f"{quantisation}"
        f'base = AutoModelForCausalLM.from_pretrained("{base}"{revision}, dtype="{dtype}"{extra})\n'
        "model = PeftModel.from_pretrained(base, folder).eval()\n"
        "model.generation_config = GenerationConfig.from_pretrained(folder)\n"
    )


def _data(run: TunedRun, facts: RunFacts) -> str:
    data = run.config.data
    described: dict[str, object] = {
        "File": f"`{Path(data.path).name}`",
        "Hub dataset": facts.dataset,
        "Format": "recognised by itself" if data.format == "auto" else f"`{data.format}`",
        "Rows trained on": facts.rows,
        "Rows kept from training to measure on": facts.held_out_rows,
    }
    if len(facts.sources) > 1:
        counted = (f"{'the file' if name == 'data' else name} {rows}" for name, rows in facts.sources.items())
        described["Rows by source"] = ", ".join(counted)
    if facts.mixture:
        described["Share of general data"] = f"{facts.mixture['share']:.0%}"
        described["SHA-256 of the general data"] = f"`{facts.mixture['sha256']}`"
    if "train_rows" in facts.sha256:
        described["SHA-256 of the rows trained on"] = f"`{facts.sha256['train_rows']}`"
    return _table("", "", {name: value for name, value in described.items() if value not in ("", None)})


def _settings(run: TunedRun) -> str:
    train = run.config.train.model_dump(mode="json")
    if not train["target_modules"]:
        train["target_modules"] = "every linear layer but the output layer"
    for setting in settings("train"):
        if not applies(setting, run.config):
            del train[setting.name]
    values = {name: ", ".join(value) if isinstance(value, list) else value for name, value in train.items()}
    return _table("Setting", "Value", {name: value for name, value in values.items() if value is not None})


_METRICS = {
    "steps": "Optimizer steps",
    "trained_tokens": "Trained tokens",
    "loss": "Training loss, last step",
    "eval_loss_before": "Held-out loss before training",
    "eval_loss": "Held-out loss",
    "forgetting": "Forgetting: rise of the loss on general rows",
    "result_step": "Step of the result",
    "seconds": "Seconds of training",
}


def _metrics(facts: RunFacts) -> str:
    known = {label: facts.metrics[name] for name, label in _METRICS.items() if name in facts.metrics}
    text = _table("Metric", "Value", {label: _figure(value) for label, value in known.items()})
    forgetting = "" if "forgetting" in facts.metrics else " Forgetting was not measured in this run."
    return f"{text}\n\nLosses are nats a trained token.{forgetting}"


def _evaluation(facts: RunFacts) -> str:
    """What the newest evaluation measured of both models."""
    found = facts.evaluation
    base, tuned = found["metrics"]["base"], found["metrics"]["tuned"]
    lines = [f"| {name} | {_figure(base[name])} | {_figure(tuned[name])} |" for name in base if name in tuned]
    table = "\n".join(["| Metric | Base | Tuned |", "|---|---|---|", *lines])
    text = f"Both models on {found['rows']} rows.\n\n{table}"
    if found.get("forgetting") is None:
        return text
    general = found["general"]["rows"]
    return f"{text}\n\nForgetting: {found['forgetting']:+.4f} nats a token on {general} general rows."


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


_WEIGHTS: Mapping[Way, str] = {"original": "original", "dequantised": "de-quantised"}
_LOADED: Mapping[Target, str] = {
    "merged": "Loaded again with plain transformers",
    "adapter": "Loaded again with plain transformers and PEFT",
    "gguf": "Loaded again by transformers' GGUF reader, in float32, with the tokenizer and template in the file,",
}


def _verification(verified: Verified, config: ExportConfig) -> str:
    found = verified.to_json()
    figures = {
        "Result": "passed" if verified.passed else "FAILED",
        "Prompts, tokens compared": f"{verified.prompts}, {verified.tokens}",
        "Mean KL divergence, nats a token": f"{found['mean_kl']:.3g} (the untuned model: {verified.untuned_kl:.3g})",
        "Largest logit difference": f"{found['max_logit_difference']:.3g}",
        "Equal greedy answers": f"{found['greedy_match']:.0%}",
        "Same prompt ids": "yes" if verified.same_prompt_ids else "NO",
        "Same end tokens": "yes" if verified.same_end_tokens else "NO",
        "Tolerance, nats a token": f"{verified.tolerance_kl:g}",
    }
    if verified.original:
        figures["Mean KL to the adapter on the original weights"] = f"{verified.original.mean_kl:.3g}"
    for way, distance in verified.merges.items():
        kept = ", this one" if way == verified.way else ""
        figures[f"Merged into the {_WEIGHTS[way]} weights{kept}: mean KL"] = f"{distance.mean_kl:.3g}"
    text = f"{_LOADED[config.to]} and held against the tuned model as it ran in the studio's chat.\n\n"
    text += _table("", "", figures)
    return f"{text}\n\n{verified.note}" if verified.note else text


def _base(run: TunedRun, licence: Licence) -> str:
    revision = f", revision `{run.config.model.revision}`" if run.config.model.revision else ""
    held = "with its linear layers in 4 bits (NF4), computing in" if run.four_bit else "read in"
    return (
        f"{base_name(run)}{revision}, {held} {run.config.train.dtype}. {licence.sentence} "
        "The base model's licence holds for this model too."
    )


def _hashes(facts: RunFacts) -> str:
    flat: dict[str, str] = {}
    for name, value in facts.sha256.items():
        entries = (
            {f"{name} {file}": digest for file, digest in value.items()}
            if isinstance(value, Mapping)
            else {name: value}
        )
        flat.update({key.replace("_", " "): f"`{digest}`" for key, digest in entries.items()})
    return _table("Of", "SHA-256", flat)


def _table(left: str, right: str, rows: Mapping[str, object]) -> str:
    lines = [f"| {left} | {right} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(lines)
