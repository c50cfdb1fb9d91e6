"""LLaMA-Factory's training speed: run by `tests.bench.training --llama-factory PYTHON` with the Python it lies in.

The last line of output is that of `tests.bench.training.Outcome` as JSON: its own data path on the same file, LoRA on
all linear layers, two of four rows a step, bfloat16, and whatever else is named as `name=value`.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path


def main(file: str, model: str, rows: int, steps: int, rank: int, settings: "dict[str, object]") -> None:
    import transformers
    from llamafactory.train.tuner import run_exp

    tokens, marks = [0], []

    class Counting(transformers.TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            marks.append((time.perf_counter(), tokens[0]))

    step_of_theirs = transformers.Trainer.training_step

    def counted(self, model, inputs, *rest, **named):  # type: ignore[no-untyped-def]
        mask = inputs["attention_mask"]
        if mask.ndim == 2:
            tokens[0] += int((mask != 0).sum())
        else:  # packed rows have a mask of positions by positions; what fills up the last of them is counted, too
            tokens[0] += inputs["input_ids"].numel()
        return step_of_theirs(self, model, inputs, *rest, **named)

    transformers.Trainer.training_step = counted
    with tempfile.TemporaryDirectory() as folder:
        described = {"rows": {"file_name": str(Path(file).resolve())}}
        (Path(folder) / "dataset_info.json").write_text(json.dumps(described))
        arguments = {
            "model_name_or_path": model,
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "lora_rank": rank,
            "lora_alpha": 2 * rank,
            "lora_target": "all",
            "dataset": "rows",
            "dataset_dir": folder,
            "max_samples": rows,
            "template": "chatml",
            "cutoff_len": 512,
            "output_dir": f"{folder}/out",
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
            "learning_rate": 1e-4,
            "max_steps": steps + 1,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "bf16": True,
            "use_cpu": True,
        }
        run_exp({**arguments, **settings}, [Counting()])
        log = json.loads((Path(folder) / "out" / "trainer_state.json").read_text())["log_history"]
    speed = (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    losses = [entry["loss"] for entry in log if "loss" in entry]
    print(json.dumps({"tokens_per_second": speed, "memory_bytes": memory, "losses": losses}))


if __name__ == "__main__":
    named = dict(one.split("=", 1) for one in sys.argv[6:])
    main(
        sys.argv[1],
        sys.argv[2],
        *(int(one) for one in sys.argv[3:6]),
        {name: json.loads(value) for name, value in named.items()},
    )
