from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from studio.domain.config import RunConfig, TemplateConfig, parse_config
from studio.domain.encoded import IGNORED
from studio.domain.finding import finding
from studio.engine.tokenizer import load_tokenizer
from studio.services import preview
from studio.services.plan import encoded, plan, todays_encoder
from studio.services.preview import Bar, Fates, Measured, hazard_rows, length_bars
from studio.services.run_files import RunFiles
from studio.services.store import Store
from tests.runs import ROWS, finished_run
from tests.tiny import tiny_model, tiny_tokenizer

LONG = 5
"""The number of the row that is longer than the others."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    return store


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """Twenty rows, eighteen of them to train on; one has three exchanges."""
    file = tmp_path / "rows.jsonl"
    rows = [[("user", f"Question {n:02}?"), ("assistant", f"Answer {n:02}.")] for n in range(1, 21)]
    rows[LONG - 1] *= 3
    told = [{"messages": [{"role": role, "content": text} for role, text in row]} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")
    return parse_config(
        {
            "model": {"id": "tiny"},
            "data": {"path": str(file), "held_out_share": 0.1},
            "train": {"max_length": 128},
        }
    )


DATED = (
    "{{ strftime_now('%d %b %Y') }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_the_overview_is_of_today_on_a_server_that_stays_up(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tomorrow(date):
        @classmethod
        def today(cls) -> date:
            return date.today() + timedelta(days=1)

    dated = config.with_values({"template.name": "custom", "template.source": DATED})
    before = preview.overview(store, dated).sha256
    monkeypatch.setattr("studio.services.plan.date", Tomorrow)
    assert preview.overview(store, dated).sha256 == plan(store, dated).sha256 != before


def test_the_overview_is_that_of_the_template_that_the_model_has_now(
    tmp_path: Path, config: RunConfig
) -> None:
    store = Store(tmp_path / "home")
    model = tiny_model(store.models_dir / "tiny")
    before = preview.overview(store, config).sha256
    (model / "chat_template.jinja").write_text(DATED, encoding="utf-8")
    assert preview.overview(store, config).sha256 == plan(store, config).sha256 != before


def test_rows_are_not_arranged_anew_by_what_they_do_not_depend_on(store: Store, config: RunConfig) -> None:
    one = preview.shown(store, config).conversations
    assert preview.shown(store, config.with_values({"template.name": "alpaca"})).conversations is one


def test_every_usable_row_can_be_looked_at_and_those_held_out_are_known(
    store: Store, config: RunConfig
) -> None:
    shown = preview.shown(store, config)
    assert [conversation.row for conversation in shown.conversations] == list(range(1, 21))
    assert len(shown.held_out) == 2
    assert shown.context == 512


def test_general_rows_that_are_mixed_in_come_last(store: Store, config: RunConfig) -> None:
    mixed = config.with_values({"data.general_share": 0.2})
    shown = preview.shown(store, mixed)
    sources = [conversation.source for conversation in shown.conversations]
    assert sources == [""] * 20 + ["general"] * (len(sources) - 20)
    assert len(sources) > 20
    found = preview.overview(store, mixed)
    assert found.rows + found.left_out == len(sources) - len(shown.held_out)


def test_the_overview_is_that_of_the_run(store: Store, config: RunConfig) -> None:
    found, planned = preview.overview(store, config), plan(store, config)
    assert found.sha256 == planned.sha256
    assert (found.rows, found.fed, found.max_length) == (18, 18, 128)
    assert found.trained == planned.estimate.trained_tokens / planned.config.train.epochs  # type: ignore[operator]
    assert sum(bar.rows for bar in found.bars) == 18
    assert (found.over, found.fates) == (1, Fates(cut=1, cut_tokens=found.longest - 128))
    assert found.median < 128 < found.longest


def of_sizes(file: Path, sizes: list[int], **data: object) -> RunConfig:
    """A set of answers with so many words, none of them for 0, under a maximum of 128 tokens."""
    rows = [{"prompt": f"Question {n:02}?", "completion": "so on " * size} for n, size in enumerate(sizes)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return parse_config(
        {"model": {"id": "tiny"}, "data": {"path": str(file), **data}, "train": {"max_length": 128}}
    )


@pytest.mark.parametrize("overlong", ["cut", "drop", "split", "keep"])
def test_hazards_of_held_out_rows_are_found_and_every_row_is_counted_once(
    store: Store, tmp_path: Path, overlong: str
) -> None:
    """Two rows without an answer; of the others every second is too long, and some are held out."""
    config = of_sizes(tmp_path / "rows.jsonl", [0, 0, *[1, 50] * 19], held_out_share=0.2, overlong=overlong)
    shown, found = preview.shown(store, config), preview.overview(store, config)
    long = set(range(4, 41, 2))
    held_out_long, trained_long = long & shown.held_out, long - shown.held_out
    assert held_out_long
    named = "kept_long" if overlong == "keep" else "too_long"
    assert next(item.rows for item in found.findings if item.check == named) == tuple(sorted(long))
    measured = found.held_out
    assert measured
    assert (measured.rows, measured.over) == (len(shown.held_out), len(held_out_long))
    assert measured.longest > 128
    assert (measured.fates.cut > 0) == (overlong in {"cut", "split"})
    assert (measured.fates.left_out > 0) == (overlong == "drop")
    assert found.left_out == 2 + (len(trained_long) if overlong == "drop" else 0)
    assert found.rows + measured.rows + found.left_out == len(shown.conversations) == 40


def test_rows_of_a_held_out_file_are_named_apart(store: Store, tmp_path: Path) -> None:
    of_sizes(tmp_path / "measured.jsonl", [1, 50])
    config = of_sizes(tmp_path / "rows.jsonl", [1] * 5, held_out_path=str(tmp_path / "measured.jsonl"))
    found = preview.overview(store, config)
    assert [(item.check, item.rows) for item in found.findings] == [("held_out_tokens", (2,))]
    assert isinstance(found.held_out, Measured)
    assert (found.held_out.rows, found.held_out.over, found.held_out.elsewhere) == (2, 1, True)
    assert (found.rows, found.left_out) == (5, 0)
    assert hazard_rows(found.findings, 5) == []


@pytest.mark.parametrize(
    ("overlong", "parts", "cut"),
    [("cut", 1, True), ("drop", 1, True), ("keep", 1, False), ("split", 3, False)],
)
def test_a_long_row_is_shown_as_the_run_is_fed_it(
    store: Store, config: RunConfig, overlong: str, parts: int, cut: bool
) -> None:
    shown = preview.shown(store, config)
    encoder = todays_encoder(config.template, shown.tokenizer)
    rows = preview.fed(encoder, shown.conversations[LONG - 1], 80, overlong, shown.context)  # type: ignore[arg-type]
    assert (len(rows), rows[0].truncated) == (parts, cut)
    assert all(len(row.spans) == row.total + len(row.cut_ids) for row in rows)
    whole = preview.fed(encoder, shown.conversations[LONG - 1], None, overlong, shown.context)  # type: ignore[arg-type]
    assert (len(whole), whole[0].truncated) == (1, False)


def test_the_template_tab_looks_at_the_rows_that_training_is_fed(store: Store, config: RunConfig) -> None:
    from studio.services.plan import encoded

    shown, run = preview.shown(store, config), encoded(store, config)
    encoder = todays_encoder(config.template, shown.tokenizer)
    by_number = {conversation.row: conversation for conversation in shown.conversations}
    for row in run.data.rows:
        (looked_at,) = preview.fed(encoder, by_number[row.row], run.max_length, "cut", shown.context)
        assert (looked_at.input_ids, looked_at.labels) == (row.input_ids, row.labels)
        assert any(label != IGNORED for label in row.labels)


def test_bars_count_every_row_once_and_end_at_the_maximum_where_rows_go_beyond_it() -> None:
    assert length_bars([3], 8192) == (Bar(1, 1, 0), Bar(2, 2, 0), Bar(3, 3, 1))
    beyond = length_bars([10] * 7 + [90, 100, 5000], 96)
    assert sum(bar.rows for bar in beyond) == 10
    assert 96 in {bar.last for bar in beyond}
    assert (beyond[-1].last, beyond[-1].rows) == (5000, 1)
    assert sum(bar.rows for bar in beyond if bar.first > 96) == 2


def test_what_is_so_in_every_row_by_the_way_is_no_hazard_to_jump_to() -> None:
    everywhere = finding("system_merged", "tokens", "info", [1, 2, 3], "m {count}", "r")
    wrong = finding("no_end_token", "tokens", "error", [1, 2, 3], "m {count}", "r")
    once = finding("merged_border", "tokens", "info", [2], "m {count}", "r")
    other = finding("general_tokens", "tokens", "warning", [9], "m {count}", "r")
    assert hazard_rows([everywhere, once, other], 3) == [2]
    assert hazard_rows([wrong], 3) == [1, 2, 3]


@pytest.mark.parametrize("overlong", ["cut", "drop", "keep", "split"])
def test_what_becomes_of_long_rows_is_what_the_run_is_fed(
    store: Store, tmp_path: Path, overlong: str
) -> None:
    """Short rows, one of three exchanges, long answers within and beyond the context, and a long question."""
    short, exchange = (
        ("Question?", "Answer."),
        ("A question of some length?", "An answer of some length too."),
    )
    told = [[short]] * 3 + [[exchange] * 3, [("Go on.", "so on " * 40)], [("Go on.", "and on " * 600)]]
    told += [[("why " * 900, "Because.")]]
    file = tmp_path / "rows.jsonl"
    rows = [
        {
            "messages": [
                m
                for q, a in row
                for m in ({"role": "user", "content": q}, {"role": "assistant", "content": a})
            ]
        }
        for row in told
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = parse_config(
        {
            "model": {"id": "tiny"},
            "data": {"path": str(file), "held_out_share": 0.0, "overlong": overlong},
            "train": {"max_length": 128},
        }
    )
    found, fates = encoded(store, config), preview.overview(store, config).fates
    fed, by_row = found.data.rows, {row.row for row in found.data.rows}
    over = [row.row for row in found.rows if row.total > 128]
    split = [row for row in fed if "split" in row.hazards]
    assert fates.cut == sum(row.truncated for row in fed)
    assert fates.cut_tokens == sum(len(row.cut_ids) for row in fed)
    assert fates.left_out == sum(row not in by_row for row in over) >= 1
    assert (fates.split, fates.parts) == (len({row.row for row in split}), len(split))
    assert fates.kept == sum(row.total > 128 for row in fed if not row.truncated)
    assert bool(fates.split) == (overlong == "split")
    assert bool(fates.kept) == (overlong == "keep")


def test_a_run_is_trained_alike_whichever_day_its_template_was_dated(tmp_path: Path) -> None:
    text = "{{ strftime_now('%Y') }} {{ messages[0].content }} {{ strftime_now('%d %b') }}"
    (tiny_tokenizer(tmp_path / "tiny") / "chat_template.jinja").write_text(text, encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path / "tiny")
    run = RunFiles(tmp_path)
    run.template.write_text("{{ '2024' }} {{ messages[0].content }} {{ '26 Jul' }}", encoding="utf-8")

    def alike(name: str, source: str | None = None) -> bool:
        return preview.is_trained_alike(run, TemplateConfig(name=name, source=source), tokenizer)

    assert alike("auto")
    assert alike("model")
    assert alike("custom", text)
    assert not alike("chatml")
    assert not alike("custom", f"{text}!")
    assert not alike("custom", text.replace("0", "1"))


def test_a_row_that_is_left_out_is_counted_where_a_general_one_has_its_number(
    store: Store, tmp_path: Path
) -> None:
    """The last of four rows is too long, and of the general rows the fourth alone can be drawn."""
    own = [("Question?", "Answer.")] * 3 + [("Go on.", "so on " * 40)]
    general = [("Question?", " ")] * 3 + [("What else?", "Nothing.")]
    files = {"own": own, "general": general}
    for name, rows in files.items():
        lines = [json.dumps({"prompt": prompt, "completion": text}) + "\n" for prompt, text in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    data = {"path": str(tmp_path / "own.jsonl"), "held_out_share": 0.0, "overlong": "drop"}
    config = parse_config(
        {
            "model": {"id": "tiny"},
            "data": {**data, "general_path": str(tmp_path / "general.jsonl"), "general_share": 0.2},
            "train": {"max_length": 128},
        }
    )
    found = encoded(store, config)
    assert [row.row for row in found.rows] == [1, 2, 3, 4, 4]
    assert [row.row for row in found.data.rows] == [1, 2, 3, 4]
    assert preview.fates(found) == Fates(left_out=1)


def test_a_row_of_a_run_is_told_by_its_number_and_its_content(tmp_path: Path) -> None:
    run = finished_run(Store(tmp_path))
    first, last = ROWS[0], ROWS[-1]
    assert [preview.in_run(run, row).part for row in (first, last)] == ["trained", "held_out"]
    assert preview.in_run(run, last).held_out == (9, 10)
    assert preview.in_run(run, replace(last, row=1)).part == "absent"
    assert preview.in_run(run, replace(first, messages=last.messages)).part == "absent"
