"""Trains a run of Fine-Tuning Studio again, with transformers, PEFT and PyTorch alone.

    pip install -r requirements.txt
    python train.py               writes result/ and compares it with expected/
    python train.py --steps 2     only the first two steps, to see whether it works
    python train.py --base DIR    another place of the base model

recipe.json holds the settings, which rows make up which step, and each step's learning rate. data/encoded.jsonl holds
the rows as token ids with labels (-100: read, not learnt), data/rows.jsonl the same rows to read. transformers' Trainer
is used rather than TRL's SFTTrainer because the rows are encoded already, and its loss is the model's own.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Trainer, TrainingArguments

HERE = Path(__file__).resolve().parent
RECIPE = json.loads((HERE / "recipe.json").read_text(encoding="utf-8"))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def load_model(base):
    """The base model with what is trained of it."""
    dtype = getattr(torch, RECIPE["dtype"])
    full, four_bit = RECIPE["method"] == "full", None
    if RECIPE["method"] == "qlora":
        four_bit = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    torch.manual_seed(RECIPE["seed"])  # the adapter begins at random
    model = AutoModelForCausalLM.from_pretrained(
        base,
        revision=RECIPE["revision"],
        dtype=torch.float32 if full else dtype,
        device_map={"": DEVICE},
        quantization_config=four_bit,
    )
    if not full:
        model = get_peft_model(model, LoraConfig(**RECIPE["adapter"]))
    if RECIPE["gradient_checkpointing"]:
        inner = model if full else model.get_base_model()
        inner.activation_checkpointing_enable({"use_reentrant": False})
        inner.enable_input_require_grads()
    return model


def optimizer_and_schedule(model):
    """AdamW at the run's rates: matrices decay, vectors do not; with LoRA+, B and magnitudes learn faster."""
    groups = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = RECIPE["weight_decay"] if parameter.ndim > 1 else 0.0
            ratio = RECIPE["lora_plus_ratio"] if ".lora_B." in name or parameter.ndim == 1 else 1.0
            groups.setdefault((decay, ratio), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": group, "weight_decay": decay, "lr": ratio} for (decay, ratio), group in groups.items()],
        fused=True,
    )
    rates = [*RECIPE["learning_rates"], 0.0]  # the scheduler asks for one more than there are steps
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rates[min(step, len(rates) - 1)]
    )


def padded(rows):
    """Rows as tensors (rows, longest), filled up at their ends."""
    width = max(len(row["input_ids"]) for row in rows)

    def filled(lists, value):
        return torch.tensor([[*values, *[value] * (width - len(values))] for values in lists])

    return {
        "input_ids": filled([row["input_ids"] for row in rows], RECIPE["pad_token_id"]),
        "attention_mask": filled([[1] * len(row["input_ids"]) for row in rows], 0),
        "labels": filled([row["labels"] for row in rows], -100),
    }


class Epochs:
    """The micro-batches of one epoch after the other, as row numbers."""

    def __init__(self):
        size, steps, an_epoch = RECIPE["micro_batch_size"], RECIPE["steps"], RECIPE["steps_an_epoch"]
        parts = [[step[i : i + size] for i in range(0, len(step), size)] for step in steps]
        self.epochs = [parts[i : i + an_epoch] for i in range(0, len(parts), an_epoch)]
        self.begun = 0

    def __len__(self):
        return sum(len(step) for step in self.epochs[0])

    def __iter__(self):
        epoch = self.epochs[self.begun]
        self.begun += 1
        return (rows for step in epoch for rows in step)


class InOrder(Trainer):
    """Trainer that is fed the run's batches in the run's order."""

    def get_train_dataloader(self):
        return torch.utils.data.DataLoader(self.train_dataset, batch_sampler=Epochs(), collate_fn=padded)


def train(base, steps, out):
    lines = (HERE / "data" / "encoded.jsonl").read_text(encoding="utf-8").splitlines()
    model = load_model(base)
    trainer = InOrder(
        model=model,
        args=TrainingArguments(
            output_dir=str(out),
            max_steps=steps,
            gradient_accumulation_steps=-(-RECIPE["batch_size"] // RECIPE["micro_batch_size"]),
            max_grad_norm=RECIPE["max_grad_norm"],
            bf16=RECIPE["dtype"] == "bfloat16",
            use_cpu=DEVICE == "cpu",
            seed=RECIPE["seed"],
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            remove_unused_columns=False,
            disable_tqdm=True,
        ),
        train_dataset=[json.loads(line) for line in lines],
        optimizers=optimizer_and_schedule(model),
    )
    trainer.train()
    model.save_pretrained(out)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def check_base(base):
    """The weights that the run began with, by their SHA-256."""
    for name, expected in RECIPE["base_sha256"].items():
        file = Path(base) / name
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            sys.exit(f"{file} is not the file that the run was trained on.")


def difference(out):
    """The largest one between the numbers of the run's result and this one's."""
    found, expected = {}, {}
    for folder, tensors in ((out, found), (HERE / "expected", expected)):
        for file in sorted(folder.glob("*.safetensors")):
            tensors.update(load_file(file))
    assert found.keys() == expected.keys(), "other weights were trained than those of the run"
    return max(float((found[name].float() - expected[name].float()).abs().max()) for name in expected)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default=RECIPE["base"], help="folder or hub id of the base model")
    parser.add_argument("--steps", type=int, default=len(RECIPE["steps"]))
    parser.add_argument("--out", type=Path, default=HERE / "result")
    options = parser.parse_args()
    torch.set_num_threads(RECIPE["threads"])  # sums depend on how they are shared out
    check_base(options.base)
    losses = train(options.base, options.steps, options.out)
    print("losses of the run: ", [round(loss, 4) for loss in RECIPE["losses"][: options.steps]])
    print("losses now:        ", [round(loss, 4) for loss in losses])
    if options.steps == len(RECIPE["steps"]) and (HERE / "expected").is_dir():
        apart = difference(options.out)
        print("the same to the last bit" if apart == 0 else f"largest difference of a weight: {apart:.3g}")


if __name__ == "__main__":
    main()
