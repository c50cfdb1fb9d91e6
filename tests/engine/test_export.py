"""Exports: merged exactly, whole or absent, loadable by plain transformers, and proven so."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from studio.domain.chat import Message
from studio.domain.config import ExportConfig
from studio.domain.errors import Stopped, StudioError
from studio.engine.export import RunFacts, export
from studio.engine.export import merge as merging
from studio.engine.export.base_card import licence_of
from studio.engine.export.merge import tuned_tensors, write_merged
from studio.engine.models import load_base
from studio.engine.templates import Template
from studio.engine.tuned import TunedRun, load_pair
from tests.runs import ROWS, lora, tuned_run
from tests.tiny import CHATML, tiny_model, tiny_tokenizer

FACTS = RunFacts(
    created="2026-01-02T03:04:05.678Z",
    rows=300,
    held_out_rows=60,
    versions={"torch": "2.13.0"},
    sources={"data": 270, "general": 30},
    dataset="owner/rows",
    mixture={"share": 0.1, "sha256": "ef56"},
    sha256={"encoded": "ab12", "train_rows": "9f01", "base_model": {"model.safetensors": "cd34"}},
    metrics={"steps": 38.0, "eval_loss": 0.1234567, "forgetting": 0.02, "tokens_per_second": 99.0},
    evaluation={
        "rows": 8,
        "metrics": {"base": {"token_f1": 0.25}, "tuned": {"token_f1": 0.75}},
        "forgetting": 0.01,
        "general": {"rows": 49},
    },
)
Dtype = Literal["bfloat16", "float16", "float32"]


def nothing(done: float, total: float) -> None:
    """No progress is shown."""


def exported(
    run: TunedRun, out: Path, to: Literal["merged", "adapter"] = "merged", dtype: Dtype = "float32"
) -> Any:
    return export(run, ExportConfig(to=to, dtype=dtype), out, rows=ROWS, facts=FACTS)


# --- merging -------------------------------------------------------------------------------------------------


def test_merging_is_what_peft_itself_does(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    write_merged(run, tmp_path, "float32", nothing)
    wanted = PeftModel.from_pretrained(
        load_base(run.model_path, dtype="float32", device="cpu", quantize=False), str(run.weights)
    )
    wanted = wanted.merge_and_unload().state_dict()
    found = load_file(tmp_path / "model.safetensors")
    assert set(found) == set(wanted) - {"lm_head.weight"}  # tied to the embedding, as in the base
    for name, tensor in found.items():
        assert torch.allclose(tensor, wanted[name], atol=1e-6), name


def test_the_sum_is_rounded_once(tmp_path: Path) -> None:
    run = tuned_run(tmp_path, dtype="bfloat16")
    name = "model.layers.0.self_attn.q_proj"
    base = load_file(run.model_path / "model.safetensors")[f"{name}.weight"]
    adapter = load_file(run.weights / "adapter_model.safetensors")
    a, b = (adapter[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    write_merged(run, tmp_path, "bfloat16", nothing)
    merged = load_file(tmp_path / "model.safetensors")[f"{name}.weight"]
    assert torch.equal(merged, (base.float() + (8 / 4) * (b.float() @ a.float())).to(torch.bfloat16))


def test_the_files_are_sharded_as_the_base_s(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    (tmp_path / "whole").mkdir()
    (tmp_path / "shards").mkdir()
    write_merged(run, tmp_path / "whole", "float32", nothing)
    (run.model_path / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(
        tuned_run(tmp_path / "again").model_path, dtype=torch.float32
    ).save_pretrained(run.model_path, max_shard_size="100KB")
    names = sorted(path.name for path in run.model_path.glob("*.safetensors"))
    assert len(names) > 2
    write_merged(run, tmp_path / "shards", "float32", nothing)
    assert sorted(path.name for path in (tmp_path / "shards").glob("*.safetensors")) == names
    shutil.copyfile(run.model_path / "config.json", tmp_path / "shards" / "config.json")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "shards").state_dict()
    for name, tensor in load_file(tmp_path / "whole" / "model.safetensors").items():
        assert torch.equal(model[name], tensor)


def test_numbers_of_several_widths_lie_in_one_file(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    weights = load_file(run.model_path / "model.safetensors")
    weights["model.steps"] = torch.tensor(7, dtype=torch.int64)
    weights["model.flags"] = torch.tensor([True, False, True])
    save_file(weights, run.model_path / "model.safetensors")
    write_merged(run, tmp_path, "bfloat16", nothing)
    found = load_file(tmp_path / "model.safetensors")
    assert (found["model.steps"].item(), found["model.flags"].tolist()) == (7, [True, False, True])
    assert found["model.norm.weight"].dtype == torch.bfloat16


def test_an_untied_output_layer_is_kept(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    untied = tiny_model(tmp_path / "untied", tied=False)
    result = exported(replace(run, model_path=untied), tmp_path / "out")
    assert result.verified.passed
    found = load_file(tmp_path / "out" / "model.safetensors")["lm_head.weight"]
    assert torch.equal(found, load_file(untied / "model.safetensors")["lm_head.weight"])


def gpt2_run(folder: Path) -> TunedRun:
    """GPT-2 stores its weights transposed, and in its files their names lack the first part."""
    base = tiny_tokenizer(folder / "base")
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=259, n_positions=256, initializer_range=0.2)
    )
    model.save_pretrained(base)
    weights = load_file(base / "model.safetensors")
    save_file(
        {name.removeprefix("transformer."): t for name, t in weights.items()}, base / "model.safetensors"
    )
    adapter = lora()
    adapter.target_modules, adapter.fan_in_fan_out = {"c_attn", "c_proj"}, True
    tuned = get_peft_model(model, adapter)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    tuned.save_pretrained(str(folder / "adapter"))
    return replace(tuned_run(folder / "other"), model_path=base, weights=folder / "adapter")


def test_a_model_whose_files_name_tensors_otherwise_is_merged_too(tmp_path: Path) -> None:
    result = exported(gpt2_run(tmp_path), tmp_path / "out")
    assert result.verified.passed
    assert result.verified.untuned_kl > 0.1
    assert result.verified.chat.mean_kl < 1e-6


def test_where_no_name_fits_the_model_is_loaded_and_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tuned_run(tmp_path)
    by_name, loaded = tmp_path / "by_name", tmp_path / "loaded"
    by_name.mkdir()
    write_merged(run, by_name, "float32", nothing)
    monkeypatch.setattr(merging, "_find", lambda name, names: None)
    write_merged(run, loaded, "float32", nothing)
    found = load_file(loaded / "model.safetensors")
    for name, tensor in load_file(by_name / "model.safetensors").items():
        assert torch.allclose(found[name], tensor, atol=1e-6)


def test_numbers_too_large_for_float16_are_refused_by_name(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    weights = load_file(run.model_path / "model.safetensors")
    weights["model.norm.weight"] = torch.full((64,), 1e5)
    save_file(weights, run.model_path / "model.safetensors")
    with pytest.raises(StudioError) as error:
        exported(run, tmp_path / "out", dtype="float16")
    assert error.value.message == "The weights model.norm.weight hold numbers that float16 cannot."
    assert not (tmp_path / "out").exists()


# --- the whole export ----------------------------------------------------------------------------------------


def test_a_merged_export_needs_nothing_but_transformers(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    result = exported(run, tmp_path / "out")
    assert sorted(result.files) == [
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "receipt.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "verification.json",
    ]
    assert result.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    messages = [Message("user", "Which way is north?")]
    ids = tokenizer.apply_chat_template(
        [messages[0].to_json()], add_generation_prompt=True, return_dict=False
    )
    assert ids == run.prompt(messages)
    with torch.no_grad():
        found = model(input_ids=torch.tensor([ids])).logits[0, -1:]
    wanted, _ = load_pair(run, device="cpu").logits("tuned", ids)
    assert torch.allclose(found, wanted, atol=1e-4)


def test_the_proof_compares_the_answers_to_the_run_s_own_prompts(tmp_path: Path) -> None:
    verified = exported(tuned_run(tmp_path), tmp_path / "out").verified
    assert verified.passed
    assert (verified.prompts, verified.same_prompt_ids, verified.same_end_tokens) == (8, True, True)
    assert verified.chat.greedy_match == 1.0
    assert verified.chat.mean_kl < 1e-8
    assert verified.chat.max_logit_difference < 1e-3
    assert verified.untuned_kl > 0.1  # so it would have shown, had the adapter been left out
    assert verified.tolerance_kl == 1e-4
    assert json.loads((tmp_path / "out" / "verification.json").read_text()) == verified.to_json()


def test_an_export_that_answers_otherwise_is_kept_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_updates", lambda run, names: {})  # the adapter is forgotten
    result = exported(tuned_run(tmp_path), tmp_path / "out")
    assert not result.verified.passed
    assert result.to_json()["verified"]["reason"] == (
        f"Its answers differ from the live model's by {result.verified.chat.mean_kl:.4f} nats a token; "
        "at most 0.0001 is accepted."
    )
    assert result.verified.chat.mean_kl == pytest.approx(result.verified.untuned_kl, rel=1e-3)
    assert "This export FAILED its comparison" in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "verification.json").read_text())["passed"] is False


def test_an_export_whose_template_gives_other_ids_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_template(run: TunedRun, folder: Path) -> None:
        shutil.copyfile(run.model_path / "tokenizer.json", folder / "tokenizer.json")
        shutil.copyfile(run.model_path / "tokenizer_config.json", folder / "tokenizer_config.json")
        (folder / "chat_template.jinja").write_text(CHATML.replace("user", "human").replace("\\n", " "))

    monkeypatch.setattr("studio.engine.export.write_tokenizer", other_template)
    verified = exported(tuned_run(tmp_path), tmp_path / "out").verified
    assert [str(failure) for failure in verified.failures] == [
        "Its chat template does not give the token ids that the run was trained with."
    ]


def test_bfloat16_is_judged_by_what_rounding_can_do(tmp_path: Path) -> None:
    verified = exported(tuned_run(tmp_path, dtype="bfloat16"), tmp_path / "out", dtype="bfloat16").verified
    assert verified.passed
    assert 0 < verified.chat.mean_kl < verified.tolerance_kl == 0.05
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_de_quantised_weights_are_those_of_the_4_bit_base_to_the_last_bit(
    tmp_path: Path, stored: Dtype
) -> None:
    run = tuned_run(tmp_path, "qlora", "bfloat16")
    base = tiny_model(tmp_path / "stored", dtype=stored, tied=False)
    tuned = tuned_tensors(replace(run, model_path=base), "dequantised")
    assert tuned is not None
    wanted = load_base(base, dtype="bfloat16", device="cpu", quantize=True).dequantize().state_dict()
    original = load_file(base / "model.safetensors")
    for name in original:
        found = replace(tuned, updates={}).read(name)
        assert torch.equal(found.to(torch.bfloat16), wanted[name]), name
        if "_proj" not in name:  # what stays in 16 bits there is not touched here
            assert torch.equal(found, original[name]), name


def test_a_qlora_run_is_merged_both_ways_and_the_closer_one_is_kept(tmp_path: Path) -> None:
    run = tuned_run(tmp_path, "qlora", "bfloat16")
    verified = exported(run, tmp_path / "out", dtype="bfloat16").verified
    assert verified.passed
    assert verified.way == "dequantised"
    assert verified.chat == verified.merges["dequantised"]
    assert verified.merges["dequantised"].mean_kl < 0.01 < verified.merges["original"].mean_kl
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    found = load_file(tmp_path / "out" / "model.safetensors")
    tuned = tuned_tensors(run, "dequantised")
    assert tuned is not None
    assert all(torch.equal(found[name], tuned.read(name).to(torch.bfloat16)) for name in found)
    figures = {way: f"{distance.mean_kl:.4f}" for way, distance in verified.merges.items()}
    assert str(verified.note) == (
        "The run learnt on a 4-bit base and was merged both ways. Into the original weights it differs from the chat "
        f"by {figures['original']} nats a token, into the de-quantised ones by {figures['dequantised']}. This is the "
        "merge into the de-quantised weights, the closer one."
    )
    written = json.loads((tmp_path / "out" / "verification.json").read_text())
    assert set(written["merges"]) == {"original", "dequantised"}
    assert (
        "Merged into the de-quantised weights, this one: mean KL"
        in (tmp_path / "out" / "README.md").read_text()
    )


def test_a_qlora_run_merged_into_the_original_weights_says_how_far_that_is_from_the_chat(
    tmp_path: Path,
) -> None:
    run = tuned_run(tmp_path, "qlora", "bfloat16")
    verified = export(run, ExportConfig(into="original"), tmp_path / "out", rows=ROWS, facts=FACTS).verified
    assert verified is not None
    assert verified.passed
    assert (verified.way, set(verified.merges)) == ("original", {"original"})
    assert verified.original is not None
    assert verified.original.mean_kl < 0.05
    assert verified.chat.mean_kl > verified.original.mean_kl
    assert str(verified.note).startswith(
        "The run learnt on a 4-bit base and is merged into the original weights"
    )


def test_only_a_run_on_a_4_bit_base_is_merged_into_de_quantised_weights(tmp_path: Path) -> None:
    with pytest.raises(StudioError) as error:
        export(
            tuned_run(tmp_path), ExportConfig(into="dequantised"), tmp_path / "out", rows=ROWS, facts=FACTS
        )
    assert error.value.message == (
        "The run run was not trained on a 4-bit base, so there are no de-quantised weights to merge into."
    )


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
def test_weights_that_are_stored_transposed_are_de_quantised_and_merged_as_the_chat_has_them(
    tmp_path: Path,
) -> None:
    run = gpt2_run(tmp_path)
    train = run.config.train.model_copy(update={"method": "qlora"})
    config = json.loads((run.weights / "adapter_config.json").read_text()) | {"fan_in_fan_out": False}
    (run.weights / "adapter_config.json").write_text(json.dumps(config))
    run = replace(run, config=run.config.model_copy(update={"train": train}))
    verified = exported(run, tmp_path / "out").verified
    assert verified.way == "dequantised"
    assert verified.original is None
    assert verified.chat.mean_kl < 1e-6


def test_full_tuning_exports_its_own_weights(tmp_path: Path) -> None:
    run = tuned_run(tmp_path, "full")
    result = exported(run, tmp_path / "out")
    assert result.verified.passed
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name, tensor in load_file(run.weights / "model.safetensors").items():
        assert torch.equal(found[name], tensor)
    with pytest.raises(StudioError) as error:
        exported(run, tmp_path / "adapter", "adapter")
    assert error.value.message == "The run run trained every weight, so it has no adapter."


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_latest_checkpoint_of_a_stopped_run_is_exported(tmp_path: Path, method: str) -> None:
    run = tuned_run(tmp_path, method)
    file = run.weights / ("model.safetensors" if method == "full" else "adapter_model.safetensors")
    weights = load_file(file)
    if method == "lora":
        weights = {name.replace(".weight", ".default.weight"): tensor for name, tensor in weights.items()}
    (tmp_path / "checkpoint").mkdir()
    save_file(weights, tmp_path / "checkpoint" / "weights.safetensors")
    exported(run, tmp_path / "finished")
    stopped = replace(run, kind="checkpoint", weights=tmp_path / "checkpoint")
    assert exported(stopped, tmp_path / "stopped").verified.passed
    whole, partial = (load_file(tmp_path / name / "model.safetensors") for name in ("finished", "stopped"))
    assert set(whole) == set(partial)
    assert all(torch.equal(whole[name], partial[name]) for name in whole)
    assert "The run was stopped before its end" in (tmp_path / "stopped" / "README.md").read_text()


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_adapter_is_exported_with_all_that_its_base_needs(tmp_path: Path, method: str) -> None:
    run = tuned_run(tmp_path, method, "bfloat16")
    result = exported(run, tmp_path / "out", "adapter", "float32")
    assert result.verified.passed
    # The chat multiplies every side's adapter in one batched product, which rounds elsewhere than PEFT's own, and
    # bitsandbytes may multiply 4-bit weights in evaluation by other kernels than those that can learn.
    assert result.verified.chat.mean_kl < (0.01 if method == "qlora" else 1e-4)
    assert set(result.files) >= {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"}
    assert "model.safetensors" not in result.files
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(run.model_path)


def test_the_end_tokens_of_the_template_are_written_beside_the_tokenizer_s(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    ends_otherwise = Template("run", "The run's own", CHATML.replace("<|im_end|>", "<|endoftext|>"))
    result = exported(replace(run, template=ends_otherwise), tmp_path / "out")
    assert result.verified.passed
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"] == [0, 2]
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == ends_otherwise.source


def test_only_one_template_lies_in_the_export(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    file = run.model_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": "{{ 'another' }}"}))
    assert exported(run, tmp_path / "out").verified.passed
    assert "chat_template" not in json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())


# --- the card ------------------------------------------------------------------------------------------------


def test_the_card_says_what_it_was_made_from_and_how_to_load_it(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    (run.model_path / "README.md").write_text("---\nlicense: MIT\n---\n# Tiny\n")
    (run.model_path / "LICENSE").write_text("Permission is hereby granted ...")
    exported(run, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(card.split("---", 2)[1]) == {
        "library_name": "transformers",
        "license": "mit",
        "datasets": ["owner/rows"],
        "pipeline_tag": "text-generation",
        "tags": ["fine-tuned", "lora", "sft"],
    }
    for part in (
        "| File | `rows.jsonl` |",
        "| Hub dataset | owner/rows |",
        "| Rows trained on | 300 |",
        "| Rows kept from training to measure on | 60 |",
        "| Rows by source | the file 270, general 30 |",
        "| Share of general data | 10% |",
        "| SHA-256 of the general data | `ef56` |",
        "| SHA-256 of the rows trained on | `9f01` |",
        "| Forgetting: rise of the loss on general rows | 0.02 |",
        "| token_f1 | 0.25 | 0.75 |",
        "Forgetting: +0.0100 nats a token on 49 general rows.",
        "| learning_rate | 0.001 |",
        "| Held-out loss | 0.1235 |",
        "| base model model.safetensors | `cd34` |",
        "Its licence is mit.",
        "| Result | passed |",
        'AutoModelForCausalLM.from_pretrained(folder, dtype="auto")',
    ):
        assert part in card, part
    assert "FAILED" not in card
    assert (tmp_path / "out" / "LICENSE").is_file()


@pytest.mark.parametrize(
    ("card", "front", "sentence"),
    [
        ("", {"license": "unknown"}, "so its licence is unknown here"),
        ("---\nlicense: [Apache-2.0]\n---\n", {"license": "apache-2.0"}, "Its licence is apache-2.0."),
        (
            "---\nlicense: My own!\n---\n",
            {"license": "other", "license_name": "My own!"},
            "Its licence is My own!.",
        ),
        (
            "---\nlicense: other\nlicense_name: small\nlicense_link: https://x.example/l\n---\n",
            {"license": "other", "license_name": "small", "license_link": "https://x.example/l"},
            "Its licence is small (https://x.example/l).",
        ),
        ("---\nlicense: [\n---\n", {"license": "unknown"}, "so its licence is unknown here"),
    ],
)
def test_the_base_s_licence_is_as_its_own_card_says(
    tmp_path: Path, card: str, front: dict[str, str], sentence: str
) -> None:
    (tmp_path / "README.md").write_text(card)
    found = licence_of(tmp_path)
    assert found.front() == front
    assert sentence in found.sentence


def test_a_hub_s_header_names_the_base_and_what_is_made_of_it(tmp_path: Path) -> None:
    run = tuned_run(tmp_path)
    model = run.config.model.model_copy(update={"id": "owner/base"})
    exported(replace(run, config=run.config.model_copy(update={"model": model})), tmp_path / "out", "adapter")
    header = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---", 2)[1])
    assert header["base_model"] == "owner/base"
    assert header["base_model_relation"] == "adapter"
    assert header["library_name"] == "peft"


@pytest.mark.parametrize(("to", "method"), [("merged", "lora"), ("adapter", "lora"), ("adapter", "qlora")])
def test_the_card_s_code_runs(
    tmp_path: Path, to: Literal["merged", "adapter"], method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tuned_run(tmp_path, method, "bfloat16")
    exported(run, tmp_path / "out", to)
    code = (tmp_path / "out" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    code = code.replace('folder = "."', f"folder = {str(tmp_path / 'out')!r}").replace(
        "max_new_tokens=256", "max_new_tokens=4"
    )
    exec(code.replace("path/to/base", str(run.model_path)), {})
    assert capsys.readouterr().out.endswith("\n")


# --- whole or absent -----------------------------------------------------------------------------------------


def test_a_folder_that_holds_something_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    with pytest.raises(StudioError) as error:
        exported(tuned_run(tmp_path), tmp_path / "out")
    assert error.value.message == f"The folder {tmp_path / 'out'} is not empty."
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert exported(tuned_run(tmp_path), tmp_path / "out").path == tmp_path / "out"


@pytest.mark.parametrize("phase", ["merging", "saving", "verifying"])
def test_a_stopped_export_leaves_nothing_behind(tmp_path: Path, phase: str) -> None:
    run, seen = tuned_run(tmp_path), []
    before = sorted(tmp_path.iterdir())

    def progress(name: str, done: float, total: float) -> None:
        seen.append(name)

    with pytest.raises(Stopped):
        export(
            run,
            ExportConfig(),
            tmp_path / "out",
            rows=ROWS,
            facts=FACTS,
            progress=progress,
            should_stop=lambda: phase in seen,
        )
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(StudioError) as error:
        exported(tuned_run(tmp_path), tmp_path / "out")
    assert error.value.message == f"The export needs 68 MB and 1 MB are free in {tmp_path}."
    assert not (tmp_path / "out").exists()


def test_progress_goes_through_the_phases_in_order(tmp_path: Path) -> None:
    seen: list[tuple[str, float, float]] = []
    export(
        tuned_run(tmp_path),
        ExportConfig(dtype="bfloat16"),
        tmp_path / "out",
        rows=ROWS,
        facts=FACTS,
        progress=lambda *step: seen.append(step),
    )
    names = list(dict.fromkeys(name for name, _, _ in seen))
    assert names == ["merging", "saving", "verifying"]
    merged = [done / total for name, done, total in seen if name == "merging"]
    assert merged == sorted(merged)
    assert (merged[0], merged[-1]) == (0.0, 1.0)
    assert [done for name, done, _ in seen if name == "verifying"] == list(range(17))
