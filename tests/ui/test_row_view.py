from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from studio.domain.encoded import Encoded
from studio.domain.text import Text
from studio.services import preview
from studio.services.chat import ChatProcess
from studio.services.jobs import Jobs
from studio.services.store import Store
from studio.ui import form, row_view, row_views, template_controls
from studio.ui.i18n import Words, words
from studio.ui.page import Draft, Page
from studio.ui.rooms import Rooms
from studio.ui.row_view import Beside
from tests.runs import finished_run
from tests.tiny import CHATML, tiny_model

EN, ZH = words("en"), words("zh")


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    return Page(Rooms(store, Jobs(store), ChatProcess(store)), None, None, None, store.home)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def draft(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """Ten rows, of which the third is no JSON."""
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    lines = [json.dumps({"prompt": f"Question {n}?", "completion": f"Answer {n}."}) for n in range(1, 11)]
    lines[2] = "{"
    file.write_text("\n".join(lines), encoding="utf-8")
    return Draft(page.store.save_dataset(file).id, {"model.id": "tiny", "data.general_share": 0.0})


def row(page: Page, draft: Draft, place: int, other: str = "", limit: int | None = None) -> row_views.Drawn:
    return row_view.drawn(EN, page, draft, other, limit, [place])[str(place)]


def state(page: Page, draft: Draft, *beside: Any, found: preview.Overview | None = None) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(row_view.state(EN, page, draft, Beside(*beside), found))
    return told


def test_the_browser_knows_the_rows_by_their_numbers_in_the_file(page: Page, draft: Draft) -> None:
    told = state(page, draft)
    assert (told["total"], told["numbers"], told["settled"]) == (9, [[1, 2], [4, 10]], False)
    assert row(page, draft, 3)["number"] == 4
    assert row(page, draft, 3)["position"] == "3 of 9 readable rows"


def test_a_template_that_takes_long_is_tried_with_one_row_of_those_asked_for(
    page: Page, draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_view, "_PATIENCE", 0.0)
    assert [*row_view.drawn(EN, page, draft, "", None, [0, 3, 4, 2])] == ["3"]
    monkeypatch.setattr(row_view, "_PATIENCE", 60.0)
    assert [*row_view.drawn(EN, page, draft, "", None, [0, 3, 4, 2])] == ["3", "4", "2"]


def test_the_maximum_length_and_the_hazards_come_with_the_statistics(page: Page, draft: Draft) -> None:
    assert (state(page, draft)["limit"], state(page, draft)["hazards"]) == (None, [])
    short = draft.with_value("train.max_length", 35)
    found = preview.overview(page.store, form.sound(short).config(page.store))
    told = state(page, short, found=found)
    assert (told["limit"], told["settled"]) == (35, True)
    assert told["hazards"]
    assert {row for ends in told["hazards"] for row in ends} <= {1, 2, *range(4, 11)}


def test_rows_that_are_left_out_for_lack_of_a_response_are_shown_and_can_be_jumped_to(
    page: Page, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": f"Question {n}?", "completion": "Yes." * (n != 2)}) for n in range(1, 13)]
    file.write_text("\n".join(lines), encoding="utf-8")
    draft = Draft(page.store.save_dataset(file).id, {"model.id": "tiny"})
    found = preview.overview(page.store, form.sound(draft).config(page.store))
    told = state(page, draft, found=found)
    assert (told["numbers"], told["hazards"]) == ([[1, 12]], [[2, 2]])
    (side,) = row(page, draft, 2)["sides"]
    assert "0 trained of" in plain(side["head"])
    assert "No prompt or response" in plain(side["head"])


def test_the_key_changes_with_what_a_row_depends_on(page: Page, draft: Draft) -> None:
    keys = {
        state(page, draft)["key"],
        state(page, draft, "alpaca")["key"],
        state(page, draft.with_value("template.turns", "last"))["key"],
        state(page, draft.with_value("data.overlong", "keep"))["key"],
        json.loads(row_view.state(ZH, page, draft, Beside()))["key"],
    }
    assert len(keys) == 5
    assert state(page, draft)["key"] == state(page, draft, "", True)["key"]


def test_a_row_is_drawn_with_its_ids_its_text_and_its_shares(page: Page, draft: Draft) -> None:
    (side,) = row(page, draft, 1)["sides"]
    assert (
        side["text"]
        == "<|im_start|>user\nQuestion 1?<|im_end|>\n<|im_start|>assistant\nAnswer 1.<|im_end|>\n"
    )
    assert len(side["ids"]) == "".join(side["pieces"]).count("</b>")
    assert "trained of" in plain(side["head"])
    assert "trained: Answer 1. special token &lt;|im_end|&gt;" in plain(side["runs"])


def test_a_row_stands_beside_itself_under_another_template(page: Page, draft: Draft) -> None:
    sides = row(page, draft, 1, "alpaca")["sides"]
    assert [plain(side["head"]).split(" ")[0] for side in sides] == ["Recommended", "Alpaca"]
    assert "### Response" in sides[1]["text"]


def test_the_cut_part_of_a_row_is_shown_as_cut(page: Page, draft: Draft) -> None:
    (side,) = row(page, draft, 1, limit=20)["sides"]
    assert 'class="tok cut"' in "".join(side["pieces"])
    assert "Prompt fills the length" in plain(side["head"])


def test_the_parts_of_a_split_row_are_named(page: Page, tmp_path: Path) -> None:
    turns = [{"role": role, "content": role * 5} for role in ("user", "assistant")] * 4
    file = tmp_path / "long.jsonl"
    lines = [{"messages": turns}, {"messages": turns[:2]}] * 5
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    split = Draft(page.store.save_dataset(file).id, {"model.id": "tiny", "data.overlong": "split"})
    (side,) = row(page, split, 1, limit=150)["sides"]
    parts = re.findall(r'<p class="part">(.*?)</p>', "".join(side["pieces"]))
    assert parts[0] == f"Part 1 of {len(parts)}"
    assert "Split by turns" in plain(side["head"])


def test_what_is_wrong_with_a_template_is_said_in_place_of_the_tokens(page: Page, draft: Draft) -> None:
    own = draft.with_value("template.name", "custom").with_value("template.source", "{% for %}")
    (side,) = row(page, own, 1)["sides"]
    assert (side["pieces"], side["kept"]) == ([], True)
    assert 'role="alert"' in side["problem"]
    written = own.with_value("template.source", CHATML + "END")
    assert row(page, written, 1)["sides"][0]["text"].endswith("END")


def test_a_row_that_its_template_refuses_says_why() -> None:
    refused = Encoded((), (), (), "", 1, hazards=("refused",), problem=Text("No <system>.", {}))
    side = row_views.side(EN, "", [refused], (), row_views.notes(EN, [refused], "cut"))
    assert side["pieces"] == []
    assert "No &lt;system&gt;." in side["problem"]
    assert "Refused by the template" in plain(side["head"])


def test_a_row_that_is_held_out_or_left_out_says_so() -> None:
    long = Encoded((1, 2), (-100, 2), ((0, 1), (1, 2), (2, 3)), "abc", cut_ids=(3,))
    said = plain(" ".join(row_views.notes(EN, [long], "drop", held_out=True)))
    assert "This row is measured on and never trained" in said
    assert "such rows are left out" in said


def test_only_places_that_are_there_are_answered(page: Page, draft: Draft) -> None:
    assert list(row_view.drawn(EN, page, draft, "", None, [0, 9, 10])) == ["9"]
    assert row_view.fed(page, draft, None, 99) == []


def test_every_word_of_the_shell_is_known_in_both_languages() -> None:
    wanted = set(re.findall(r'data-(?:word|label)="([^"]+)"', row_views.shell()))
    for say in (EN, ZH):
        assert wanted <= set(row_views.labels(say))


def test_a_run_that_was_trained_with_another_template_is_told(page: Page, draft: Draft) -> None:
    run = finished_run(page.store)
    said = "This run was trained with another template"
    assert state(page, draft, "", True, run.id)["run_note"] == ""
    beside = state(page, draft, "alpaca", True, run.id)["run_note"]
    assert beside == "While losses are shown, the row is not compared with the template Alpaca."
    other = draft.with_value("template.name", "alpaca")
    assert said in state(page, other, "", True, run.id)["run_note"]
    assert state(page, other, "", False, run.id)["run_note"] == ""
    unfinished = draft.with_value("template.name", "custom").with_value("template.source", "")
    assert state(page, unfinished, "", True, run.id)["run_note"] == ""


@pytest.mark.parametrize("text", ["{% for %}", CHATML])
def test_what_is_wrong_with_a_template_is_said_without_undoing_what_was_chosen_meanwhile(
    page: Page, draft: Draft, text: str
) -> None:
    def told(say: Words, draft: Draft) -> Draft:
        return draft

    own = draft.with_value("template.name", "custom")
    first, second = template_controls.written(page, told, EN, own, text)
    assert first[0] == first[2] == own.with_value("template.source", text)
    kept, wrong, viewer, _, implied = second
    assert (implied == gr.skip()) == (text == CHATML)
    assert kept == viewer == gr.skip()
    assert bool(wrong) == (text != CHATML)
