from __future__ import annotations

import json
from pathlib import Path

from studio.domain.chat import Conversation, Message
from studio.domain.config import parse_config
from studio.engine.templates import resolve
from studio.services.jobs import Jobs
from studio.services.store import Store
from studio.services.trained import read_trained, result_sums
from studio.services.worker import Worker
from tests.tiny import tiny_model


def test_a_run_keeps_the_template_of_its_plain_texts_and_writes_them_by_it_ever_after(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tiny_model(store.models_dir / "tiny")
    rows = tmp_path / "texts.jsonl"
    rows.write_text("".join(json.dumps({"text": f"Text {n}."}) + "\n" for n in range(4)), encoding="utf-8")
    config = parse_config(
        {
            "model": {"id": "tiny"},
            "data": {"path": str(rows), "held_out_share": 0.0},
            "train": {"method": "lora", "epochs": 1, "batch_size": 4, "max_length": 64},
        }
    )
    files = Jobs(store).write(config)
    assert Worker(files.folder).run() == 0, files.state().reason
    trained = read_trained(files)
    assert files.env()["sha256"]["result"] == result_sums(files)
    assert files.text_template.read_text(encoding="utf-8") == resolve("plain", trained.tokenizer).source

    files.text_template.write_text("{{ messages[0].content }} And so on.<|im_end|>", encoding="utf-8")
    text = Conversation((Message("assistant", "Once."),), 1, plain=True)
    assert read_trained(files).encoder.encode(text).text == "Once. And so on.<|im_end|>"
