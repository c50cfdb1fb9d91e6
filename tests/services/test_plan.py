from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from studio.domain.config import RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.services import speeds
from studio.services.plan import load_data, plan, prepare, preview_row
from studio.services.store import Store
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    return store


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(20)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return parse_config({"model": {"id": "tiny"}, "data": {"path": str(file)}, "train": {"method": "lora"}})


def test_a_plan_and_the_run_made_from_it_encode_the_same(store: Store, config: RunConfig) -> None:
    planned, data = plan(store, config), load_data(store, config)
    prepared = prepare(store, config, store.models_dir / "tiny", data.train, data.held_out)
    assert planned.sha256 == prepared.train.sha256
    assert planned.config == prepared.config
    assert (planned.rows, planned.held_out) == (18, 2)


def test_a_changed_file_is_read_again(store: Store, config: RunConfig) -> None:
    before = plan(store, config)
    file = Path(config.data.path)
    file.write_text(file.read_text(encoding="utf-8").replace("Answer 7", "Reply 7"), encoding="utf-8")
    assert plan(store, config).sha256 != before.sha256


def test_the_time_is_what_an_earlier_run_of_the_kind_took(store: Store, config: RunConfig) -> None:
    config = config.with_values({"evaluate.sample_rows": 0})  # their time is not that of training
    planned = plan(store, config)
    speeds.record(store.speeds_file, planned.config, 100.0)
    seconds = plan(store, config).estimate.seconds
    assert seconds is not None
    assert (
        planned.estimate.tokens / 100 < seconds < 1.5 * planned.estimate.tokens / 100
    )  # held-out rows on top


def test_rows_that_lose_their_answer_are_named_before_the_start(store: Store, config: RunConfig) -> None:
    short = plan(store, config.with_values({"train.max_length": 38}))
    assert {found.check for found in short.findings} >= {"too_long", "held_out_tokens"}


def test_a_length_that_leaves_nothing_to_train_is_refused(store: Store, config: RunConfig) -> None:
    with pytest.raises(StudioError, match="No row has a trained token left at a maximum length of 16"):
        plan(store, config.with_values({"train.max_length": 16}))


def dated(asked: str) -> dict[str, str]:
    turns = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    opening = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    return {"template.name": "custom", "template.source": f"{asked}{turns}{opening}"}


def test_a_run_has_the_date_of_the_day_on_which_it_was_submitted(store: Store, config: RunConfig) -> None:
    config = config.with_values(dated("{{ strftime_now ('%d %b %Y') }}"))
    data, model = load_data(store, config), store.models_dir / "tiny"
    yesterday = prepare(store, config, model, data.train, data.held_out, day=date(2024, 7, 26))
    assert yesterday.encoder.template.source.startswith("{{ '26 Jul 2024' }}")
    today = prepare(store, config, model, data.train, data.held_out)
    assert today.train.sha256 == plan(store, config).sha256 != yesterday.train.sha256


def test_a_date_that_cannot_be_written_into_the_template_is_said(store: Store, config: RunConfig) -> None:
    form = "{% set form = '%d %b' %}"
    found = [
        plan(store, config.with_values(dated(asked))) for asked in (form + "{{ strftime_now(form) }}", form)
    ]
    assert ["live_date" in {item.check for item in planned.findings} for planned in found] == [True, False]


ENDLESS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_a_run_whose_rows_train_no_end_token_is_refused_with_these_rows(
    store: Store, config: RunConfig
) -> None:
    endless = config.with_values({"template.name": "custom", "template.source": ENDLESS})
    rows = ["Rows that train no end token", r": 18 \(\d+, .* …\)\. Choose a template that ends each turn"]
    data = load_data(store, endless)
    for message in rows:
        with pytest.raises(StudioError, match=message):
            plan(store, endless)
        with pytest.raises(StudioError, match=message):
            prepare(store, endless, store.models_dir / "tiny", data.train, data.held_out)


def test_text_without_an_end_can_be_learnt_whole_and_that_is_said(store: Store, config: RunConfig) -> None:
    chosen = {"template.name": "custom", "template.source": ENDLESS, "template.prompts": True}
    found = plan(store, config.with_values(chosen))
    assert {item.check: item.count for item in found.findings}["unended_text"] == 18


def test_findings_are_listed_with_the_worst_and_the_most_frequent_first(
    store: Store, config: RunConfig
) -> None:
    file = Path(config.data.path)
    odd = [{"prompt": f"What is <|im_end|>? {n}", "completion": "A"} for n in range(2)]
    long = [{"prompt": f"{n} {'word ' * 40}", "completion": "A"} for n in range(3)]
    file.write_text(
        file.read_text(encoding="utf-8") + "".join(json.dumps(row) + "\n" for row in odd + long),
        encoding="utf-8",
    )
    whole = config.with_values({"data.held_out_share": 0.0, "train.max_length": 100})
    found = plan(store, whole).findings
    order = [(("error", "warning", "info").index(item.severity), -item.count) for item in found]
    assert order == sorted(order)
    assert found[0].check == "prompt_fills_length"


def test_a_preview_is_the_row_with_that_number_in_the_file(store: Store, config: RunConfig) -> None:
    shown = preview_row(store, config.data.path, 3, model="tiny")
    assert "Question 2?" in shown.encoded.text
    assert [token for token, *_ in shown.tokens] == list(shown.encoded.input_ids)
