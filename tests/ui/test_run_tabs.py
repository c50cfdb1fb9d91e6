from collections.abc import Callable
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.config import RunConfig
from studio.domain.run import Run
from studio.services.plan import load_data
from studio.services.run_files import RunFiles
from studio.services.store import Store
from studio.ui import chat_acts, runs_tab, training_tab
from studio.ui.chat_views import Example
from studio.ui.run_views import Look

RUN = Run("r1", "one", "finished")
ROWS = [f'{{"prompt": "Question {number}?", "response": "Answer {number}."}}' for number in range(1, 11)]
Configured = Callable[..., RunConfig]


@pytest.fixture
def config(tmp_path: Path) -> Configured:
    """Of runs on the same ten rows."""
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(ROWS), encoding="utf-8")
    return lambda **train: RunConfig.model_validate({"data": {"path": str(file)}, "train": train})


def run_with(config: RunConfig, folder: Path) -> RunFiles:
    """A run that was started with this, and whose worker has filled in the open settings."""
    files = RunFiles(folder / "run")
    files.folder.mkdir()
    data = load_data(Store(folder / "home"), config)
    files.write_data(data.train, data.held_out)
    files.write_run(config, "rows")
    done = config.train.model_copy(update={"method": "lora", "learning_rate": 1e-3, "max_length": 128})
    files.write_resolved(config.model_copy(update={"train": done}))
    return files


def test_a_run_did_what_is_asked_for_though_it_filled_in_open_settings(config: Configured, tmp_path: Path):
    assert training_tab.is_same(Store(tmp_path / "home"), config(), run_with(config(), tmp_path))


def test_another_setting_is_another_run(config: Configured, tmp_path: Path):
    assert not training_tab.is_same(
        Store(tmp_path / "home"), config(rank=8), run_with(config(rank=16), tmp_path)
    )


def test_a_rate_given_back_to_the_recommendation_is_another_run(config: Configured, tmp_path: Path):
    assert not training_tab.is_same(
        Store(tmp_path / "home"), config(), run_with(config(learning_rate=1e-5), tmp_path)
    )


def test_rows_that_were_repaired_under_the_same_name_are_another_run(config: Configured, tmp_path: Path):
    run = run_with(config(), tmp_path)
    repaired = [row.replace("Answer 3.", "Answer three.") for row in ROWS]
    (tmp_path / "rows.jsonl").write_text("\n".join(repaired), encoding="utf-8")
    assert not training_tab.is_same(Store(tmp_path / "home"), config(), run)


def test_the_last_lines_of_a_log(tmp_path):
    log = tmp_path / "worker.log"
    log.write_text("\n".join(f"line {number}" for number in range(5000)), encoding="utf-8")
    lines = training_tab.log_end(log)
    assert len(lines) == 60
    assert lines[-1] == "line 4999"


def test_no_log_is_no_lines(tmp_path):
    assert training_tab.log_end(tmp_path / "none.log") == []


def test_details_fold_and_unfold():
    assert runs_tab.moved(Look(), RUN, "details").opened == "r1"
    assert runs_tab.moved(Look(opened="r1"), RUN, "details").opened == ""


def test_at_most_six_runs_are_compared():
    at = Look(compared=tuple("abcdef"))
    assert runs_tab.moved(at, RUN, "compare").compared == (*"bcdef", "r1")
    assert runs_tab.moved(Look(compared=("a", "r1")), RUN, "compare").compared == ("a",)


def test_a_deleted_run_is_no_longer_compared():
    assert runs_tab.moved(Look(deleting="r1", compared=("r1",)), RUN, "delete-yes") == Look()


def test_keeping_a_run_keeps_it_compared():
    assert runs_tab.moved(Look(deleting="r1", compared=("r1",)), RUN, "delete-no") == Look(compared=("r1",))


def spoken(system: str, row: int) -> Conversation:
    return Conversation((Message("system", system), Message("user", "q"), Message("assistant", "a")), row)


def test_a_system_message_that_was_taken_out_of_the_field_stays_out():
    rows = [spoken("Be brief.", 1), spoken("Be brief.", 2)]
    asked = Example(1, "Be brief.", "q", "a")
    assert chat_acts._system(rows, asked, "") == ""
    assert chat_acts._system(rows, asked, "Be long.") == "Be long."


def test_an_example_brings_the_system_message_of_its_row_where_rows_differ():
    rows = [spoken("Be brief.", 1), spoken("Be long.", 2)]
    assert chat_acts._system(rows, Example(2, "Be long.", "q", "a"), "Be brief.") == "Be long."
