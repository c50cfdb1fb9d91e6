"""The command line as its users meet it: what is printed, and one sentence for each mistake."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from studio import cli
from studio.domain.history import RowChange
from studio.domain.text import Text
from studio.engine.assets import ASSETS
from studio.engine.dataset import read
from studio.services import history, surveys
from studio.services.store import Store
from tests.runs import ROWS, finished_run
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    return store.home


@pytest.fixture
def studio(home: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def studio(*arguments: str) -> tuple[int, str, str]:
        status = cli.main([*arguments, "--home", str(home)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return studio


def write(folder: Path, name: str, content: str | bytes) -> str:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


GOOD = '{"prompt": "Hi", "completion": "Hello."}\n{"prompt": "Bye", "completion": "So long."}\n'


def test_uploads_are_listed_and_deleted(studio, home: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store = Store(home)
    dataset, damaged = (store.save_dataset(Path(write(tmp_path, "My rows.jsonl", GOOD))).id for _ in range(2))
    (store.datasets_dir / damaged / "dataset.json").write_text("{")
    _, out, _ = studio("data", "list", "--json")
    good, bad = json.loads(out)
    assert (good["id"], good["name"], good["cleaned"], bad) == (
        "my-rows",
        "My rows.jsonl",
        False,
        {"id": "my-rows-2", "damaged": True},
    )
    assert "my-rows-2" in studio("data", "list")[1]
    for name in (dataset, damaged):
        assert studio("data", "delete", name, "--json")[:2] == (0, f'{{\n  "deleted": "{name}"\n}}\n')
    assert json.loads(studio("data", "list", "--json")[1]) == []
    assert studio("data", "delete", dataset)[0] == 1


def test_checking_gives_scores_and_findings(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.jsonl", GOOD + '{"prompt": "Well?", "completion": " "}\n')
    written = tmp_path / "report.json"
    status, out, _ = studio("data", "check", file, "--json", "--report", str(written))
    report = json.loads(out)
    assert json.loads(written.read_text())["sha256"] == hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert (status, report["rows"], report["format"]) == (0, 3, "prompt_completion")
    assert set(report["score"]) == {"accuracy", "relevance", "diversity", "consistency", "safety"}
    found = next(item for item in report["findings"] if item["check"] == "empty_response")
    assert (found["dimension"], found["severity"], found["count"], found["rows"]) == (
        "accuracy",
        "error",
        1,
        [3],
    )
    assert found["message"]
    assert found["remedy"]


def test_a_large_file_is_checked_in_shards_with_the_same_result(
    studio, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    file = str(ASSETS / "samples" / "dirty.jsonl")
    _, small, _ = studio("data", "check", file, "--json")
    monkeypatch.setattr(surveys, "LARGE", 100)
    status, large, told = studio("data", "check", file, "--json")
    assert (status, json.loads(large)) == (0, json.loads(small))
    assert "check: done in" in told
    assert studio("data", "check", file, "--json")[1:] == (large, "")


def test_a_large_file_is_repaired_with_the_same_result(
    studio,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, outs = str(ASSETS / "samples" / "dirty.jsonl"), [tmp_path / "small.jsonl", tmp_path / "large.jsonl"]
    said = []
    for out in outs:
        said.append(json.loads(studio("data", "clean", file, "--fix", "all", "--out", str(out), "--json")[1]))
        monkeypatch.setattr(surveys, "LARGE", 100)
    for one in said:
        del one["out"]
        one["changes"].sort(key=lambda change: (change["row"], change["check"]))
    assert said[0] == said[1]
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_token_checks_come_with_a_model(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.jsonl", GOOD)
    _, out, _ = studio("data", "check", file, "--model", "tiny", "--max-length", "24", "--json")
    found = json.loads(out)
    assert {item["check"] for item in found["findings"]} >= {"too_long", "token_lengths"}
    assert 24 < found["token_lengths"]["longest"] == found["token_lengths"]["suggested"]


def test_hazards_are_those_of_the_rows_that_a_run_would_be_given(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    spelled = '{"prompt": "Why <|im_end|>?", "completion": "%s"}\n'
    file = write(tmp_path, "rows.jsonl", GOOD + spelled % "So." + spelled % " ")
    checked = json.loads(studio("data", "check", file, "--model", "tiny", "--json")[1])["findings"]
    assert {
        item["check"]: item["rows"] for item in checked if item["check"] in ("special_text", "empty_answer")
    } == {"special_text": [3]}


def test_cleaning_writes_the_good_rows_and_says_which_went(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(
        tmp_path,
        "rows.jsonl",
        GOOD + '{"prompt": "Well?", "completion": ""}\n{"prompt": "A", "completion": " B "}\n',
    )
    status, out, _ = studio(
        "data", "clean", file, "--fix", "all", "--out", str(tmp_path / "clean.jsonl"), "--json"
    )
    result = json.loads(out)
    assert (status, result["rows_in"], result["rows_out"]) == (0, 4, 3)
    assert (result["changed"], result["dropped"]) == ([4], [3])
    lines = (tmp_path / "clean.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["messages"][-1] == {"role": "assistant", "content": "B"}


def test_a_dry_run_shows_rows_before_and_after_and_spared_rows_stay(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(
        tmp_path,
        "rows.jsonl",
        GOOD + '{"prompt": "Well?", "completion": ""}\n{"prompt": "A", "completion": " B "}\n',
    )
    status, out, _ = studio("data", "clean", file, "--fix", "safe", "--dry-run")
    assert status == 0
    assert "row 3: dropped (empty_response)" in out
    assert "assistant: [- -]B[- -]" in out
    assert "4 rows in, 3 out, nothing is written: 1 changed, 1 dropped." in out
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["rows.jsonl"]
    kept = str(tmp_path / "kept.jsonl")
    _, out, _ = studio("data", "clean", file, "--fix", "safe", "--spare", "3,4", "--out", kept, "--json")
    result = json.loads(out)
    assert (result["rows_out"], result["changed"], result["dropped"], result["changes"]) == (4, [], [], [])
    status, _, said = studio("data", "clean", file, "--fix", "safe", "--spare", "3-4", "--out", kept)
    assert (status, "3-4 are no row numbers" in said) == (1, True)


def test_the_steps_of_an_upload_are_listed_and_undone(studio, home: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store = Store(home)
    entry = store.save_dataset(Path(write(tmp_path, "rows.jsonl", GOOD)))
    rows = read(entry.path).conversations
    change = RowChange(1, rows[0], None, (Text("Left out by hand."),))
    history.take(store, entry, "drop", [change], rows, row=1)
    _, out, _ = studio("data", "steps", entry.id)
    assert "Row 1 was left out. 0 changed, 1 dropped\nrow 1: dropped (Left out by hand.)" in out
    _, out, _ = studio("data", "steps", entry.id, "--json")
    (step,) = json.loads(out)["steps"]
    assert (step["kind"], step["rows"][0]["reasons"]) == ("drop", ["Left out by hand."])
    _, out, _ = studio("data", "undo", entry.id, "1", "--json")
    assert json.loads(out) == {"undone": 1, "steps": []}
    assert store.dataset(entry.id).path == entry.original
    status, _, said = studio("data", "undo", entry.id, "1")
    assert (status, "There is no step 1" in said) == (1, True)


def test_selecting_writes_the_best_rows_and_says_why_the_others_are_left(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.jsonl", GOOD + GOOD + '{"prompt": "Well?", "completion": ""}\n')
    best = tmp_path / "best.jsonl"
    status, out, _ = studio("data", "select", file, "--rows", "2", "--out", str(best), "--json")
    result = json.loads(out)
    assert (status, result["rows_in"], result["rows_out"]) == (0, 5, 2)
    assert [item["row"] for item in result["kept"]] == [1, 2]
    assert [(item["row"], item["reason"]) for item in result["left"]] == [
        (3, "It is alike to row 1, which comes before it."),
        (4, "It is alike to row 2, which comes before it."),
        (5, "The checklist found too much in it: Empty response."),
    ]
    assert [json.loads(line)["messages"][0]["content"] for line in best.read_text().splitlines()] == [
        "Hi",
        "Bye",
    ]
    status, _, said = studio("data", "select", file, "--rows", "0", "--out", str(best))
    assert (status, "Ask for one row at least" in said) == (1, True)


def test_converting_writes_messages(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.csv", "instruction;input;output\nAdd.;1 and 2;3\n")
    status, out, _ = studio("data", "convert", file, "--out", str(tmp_path / "out.jsonl"), "--json")
    assert (status, json.loads(out)["rows"], json.loads(out)["format"]) == (0, 1, "alpaca")
    first = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert first["messages"][1] == {"role": "assistant", "content": "3"}


def test_a_preview_shows_each_token_and_whether_it_is_trained(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.jsonl", GOOD)
    status, out, _ = studio("preview", file, "--row", "2", "--model", "tiny", "--json")
    shown = json.loads(out)
    trained = "".join(token["text"] for token in shown["tokens"] if token["trained"])
    assert (status, trained, shown["truncated"]) == (0, "So long.<|im_end|>", False)
    assert (shown["trained"], shown["total"]) == (9, len(shown["tokens"]))
    assert shown["rendered"].startswith("<|im_start|>user\nBye")


def trained_text(shown: dict) -> str:  # type: ignore[type-arg]
    return "".join(token["text"] for token in shown["tokens"] if token["trained"])


TURNS = (
    json.dumps(
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello."},
                {"role": "user", "content": "Bye"},
                {"role": "assistant", "content": "So long."},
            ]
        }
    )
    + "\n"
)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ([], "Hello.<|im_end|>So long.<|im_end|>"),
        (["--turns", "last"], "So long.<|im_end|>"),
        (["--turns", "all"], "Hello.<|im_end|>So long.<|im_end|>"),
    ],
)
def test_flags_choose_what_is_learnt(studio, tmp_path: Path, flags: list[str], wanted: str) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.jsonl", TURNS)
    _, out, _ = studio("preview", file, "--row", "1", "--model", "tiny", *flags, "--json")
    assert trained_text(json.loads(out)) == wanted


def test_prompts_are_learnt_only_when_asked_for(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.jsonl", TURNS)
    shown = json.loads(studio("preview", file, "--row", "1", "--model", "tiny", "--prompts", "--json")[1])
    assert shown["trained"] == shown["total"] - 1  # the first token is predicted from nothing
    assert "user\nHi" in trained_text(shown)


REASONED = (
    json.dumps(
        {
            "messages": [
                {"role": "user", "content": "Sum?"},
                {
                    "role": "assistant",
                    "reasoning_content": "One and one.",
                    "content": "Two.",
                    "tool_calls": [
                        {"type": "function", "function": {"name": "add", "arguments": "{}"}, "id": "c1"}
                    ],
                },
            ]
        }
    )
    + "\n"
)
JINJA = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}[{{ c.function.name }}]{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ([], "<think>One and one.</think>Two.[add]<|im_end|>"),
        (["--no-reasoning"], "Two.[add]<|im_end|>"),
        (["--no-tool-calls"], "<think>One and one.</think>Two.<|im_end|>"),
        (["--no-reasoning", "--no-tool-calls"], "Two.<|im_end|>"),
    ],
)
def test_a_template_of_ones_own_and_parts_that_are_not_learnt(  # type: ignore[no-untyped-def]
    studio, tmp_path: Path, flags: list[str], wanted: str
) -> None:
    file, jinja = write(tmp_path, "rows.jsonl", REASONED), write(tmp_path, "own.jinja", JINJA)
    row = ["preview", file, "--row", "1", "--model", "tiny", "--template-file", jinja]
    status, out, _ = studio(*row, *flags, "--json")
    shown = json.loads(out)
    assert (status, shown["template"], trained_text(shown)) == (0, "custom", wanted)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (["--template-file", "none.jinja"], "There is no template file none.jinja. Check the name."),
        (["--template", "chatml", "--template-file", "x"], "--template chatml and --template-file name two"),
        (["--template", "custom"], "Your own template is empty."),
    ],
)
def test_a_template_that_cannot_be_used_is_one_sentence(  # type: ignore[no-untyped-def]
    studio, tmp_path: Path, flags: list[str], wanted: str
) -> None:
    status, out, err = studio(
        "preview", write(tmp_path, "rows.jsonl", GOOD), "--row", "1", "--model", "tiny", *flags
    )
    assert (status, out) == (1, "")
    assert err.startswith(f"studio: {wanted}")


def test_a_preview_names_its_hazards_its_hash_and_the_next_row_with_a_hazard(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    hazard = '{"prompt": "What is <|im_end|>?", "completion": "A token."}\n'
    file = write(tmp_path, "rows.jsonl", GOOD + hazard + GOOD)
    looked = ["preview", file, "--model", "tiny", "--json"]
    first, third = (json.loads(studio(*looked, "--row", row, "--next-hazard")[1]) for row in ("1", "3"))
    assert (first["hazards"], first["next_hazard"]) == ([], 3)
    assert (third["hazards"], third["next_hazard"]) == (["special_text"], None)
    again = json.loads(studio(*looked, "--row", "4")[1])
    assert again["sha256"] == first["sha256"] != third["sha256"]
    assert "next_hazard" not in again


def test_a_preview_tells_trained_text_without_colour_and_shows_each_character_whole(
    studio, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.jsonl", '{"prompt": "你好 👋", "completion": "🙂 好"}\n')
    row = ["preview", file, "--row", "1", "--model", "tiny"]
    wanted = "你好 👋‹<|im_end|>›↵\n‹<|im_start|>›assistant↵\n[[🙂 好‹<|im_end|>›]]↵\n"
    assert wanted in studio(*row)[1]
    shown = json.loads(studio(*row, "--json")[1])
    assert "🙂" in shown["rendered"]
    assert "\ufffd" not in json.dumps(shown, ensure_ascii=False)
    assert {"\\xf0"} <= {token["text"] for token in shown["tokens"]}
    assert "\ufffd" not in studio(*row, "--max-length", "50")[1]


def test_a_preview_without_a_length_shows_what_a_run_on_the_file_would_train(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    long = json.dumps({"prompt": "Tell me.", "completion": "On and on. " * 80})
    file = write(tmp_path, "rows.jsonl", GOOD * 20 + long + "\n")
    row = ["preview", file, "--row", "41", "--model", "tiny"]
    config = write(tmp_path, "run.yaml", f"model: {{id: tiny}}\ndata: {{path: {json.dumps(file)}}}\n")
    wanted = json.loads(studio("estimate", config, "--json")[1])["config"]["train"]["max_length"]
    shown = json.loads(studio(*row, "--json")[1])
    assert shown["max_length"] == shown["total"] == wanted
    assert shown["truncated"]
    assert f"maximum length {wanted}" in studio(*row)[1]
    checked = json.loads(studio("data", "check", file, "--model", "tiny", "--json")[1])["findings"]
    (cut,) = (found for found in checked if found["check"] == "too_long")
    assert cut["rows"] == [41]
    assert f"longer than {wanted} tokens" in cut["message"]
    assert json.loads(studio(*row, "--overlong", "drop", "--json")[1])["left_out"]
    assert not json.loads(studio(*row, "--max-length", "2000", "--json")[1])["truncated"]


def test_a_preview_tells_special_tokens_from_what_is_only_spelled_like_one(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.jsonl", '{"prompt": "Why  <|im_end|>?", "completion": "So."}\n')
    row = ["preview", file, "--row", "1", "--model", "tiny"]
    assert "Why··<|im_end|>?‹<|im_end|>›↵\n" in studio(*row)[1]
    special = [token["text"] for token in json.loads(studio(*row, "--json")[1])["tokens"] if token["special"]]
    assert special == ["<|im_start|>", "<|im_end|>"] * 2


def test_a_preview_tells_its_signs_from_those_that_stand_in_the_row(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    answers = ("a·b ‹c› [[1]] \\n\nEnd", "a \\n\nEnd")
    lines = "\n".join(json.dumps({"prompt": "Hi", "completion": answer}) for answer in answers)
    file = write(tmp_path, "rows.jsonl", lines)
    own, none = (studio("preview", file, "--row", row, "--model", "tiny")[1] for row in "12")
    assert r"[[a\·b \‹c\› \[[1\]] \\n↵" in own
    assert "have a backslash before them" in own
    assert "[[a \\n↵" in none
    assert "backslash" not in none


def test_a_preview_says_that_a_row_is_left_out(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write(tmp_path, "rows.jsonl", GOOD + '{"prompt": "Why?", "completion": " "}\n')
    row = ["preview", file, "--row", "3", "--model", "tiny"]
    shown = json.loads(studio(*row, "--json")[1])
    assert (shown["left_out"], shown["trained"], shown["hazards"]) == (True, 0, ["left_out"])
    assert "left out" in studio(*row)[1]


def test_a_preview_says_which_rows_a_run_held_out(studio, home: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = finished_run(Store(home)).id
    lines = [json.dumps({"prompt": row.prompt, "completion": row.response}) + "\n" for row in ROWS]
    look = ["preview", write(tmp_path, "rows.jsonl", "".join(lines)), "--run", run, "--row"]
    _, out, _ = studio(*look, "9")
    assert out.startswith("held out: the run measures on this row and does not train on it\n")
    assert "rows held out: 9, 10 (2 in all)\n" in out
    assert studio(*look, "1")[1].startswith("the run trains on this row\n")
    assert json.loads(studio(*look, "1", "--json")[1])["in_run"] == {
        "part": "trained",
        "held_out": [9, 10],
        "file": "",
    }
    assert "template auto, " in studio(*look, "1")[1]  # as the run was told, by the text that it kept


def test_a_preview_of_the_losses_has_one_for_each_trained_token(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    row = ["preview", write(tmp_path, "rows.jsonl", GOOD), "--row", "1", "--model", "tiny", "--losses"]
    shown = json.loads(studio(*row, "--json")[1])
    base = shown["losses"]["base"]
    assert [loss is not None for loss in base] == [token["trained"] for token in shown["tokens"]]
    assert shown["losses"]["tuned"] is None
    _, out, err = studio(*row)
    mean = sum(loss for loss in base if loss is not None) / shown["trained"]
    assert f"mean loss base {mean:.4f}\n" in out
    assert "measuring: done in 0:00" in err


@pytest.mark.parametrize(
    ("overlong", "check"),
    [("cut", "too_long"), ("drop", "too_long"), ("split", "split_turns"), ("keep", "kept_long")],
)
def test_rows_that_are_too_long_are_counted_by_what_will_happen_to_them(  # type: ignore[no-untyped-def]
    studio, tmp_path: Path, overlong: str, check: str
) -> None:
    long = json.dumps({"messages": [m for _ in range(4) for m in json.loads(TURNS)["messages"]]}) + "\n"
    file = write(tmp_path, "rows.jsonl", GOOD + long)
    _, out, _ = studio(
        "data", "check", file, "--model", "tiny", "--max-length", "120", "--overlong", overlong, "--json"
    )
    found = next(item for item in json.loads(out)["findings"] if item["check"] == check)
    assert found["rows"] == [3]
    assert ("left out" in found["message"]) == (overlong == "drop")


def test_an_estimate_adds_up(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rows = (f'{{"prompt": "Question {number}", "completion": "Answer."}}\n' for number in range(20))
    data = write(tmp_path, "rows.jsonl", "".join(rows))
    config = write(
        tmp_path,
        "run.yaml",
        f"model: {{id: tiny}}\ndata: {{path: {data}}}\ntrain: {{method: lora, epochs: 2}}\n",
    )
    status, out, _ = studio("estimate", config, "--json", "--set", "train.batch_size=4")
    cost = json.loads(out)
    parts = {name: size for name, size in cost["memory_bytes"].items() if name != "total"}
    assert (status, cost["fits"], cost["steps"]) == (0, True, 10)
    assert sum(parts.values()) == cost["total"]
    assert 0 < cost["trained_tokens"] < cost["tokens"]


WRONG = {
    "there is no such file": (None, r"none\.jsonl"),
    "the file is empty": ("", r"rows\.jsonl"),
    "malformed JSON": ('[{"prompt": "a",}]', r"rows\.jsonl.*(line 1|:1).*"),
    "unknown columns": ('{"x": 1, "y": 2}\n', r"x, y"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_cannot_be_used_is_one_sentence_with_its_place(studio, tmp_path: Path, case: str) -> None:  # type: ignore[no-untyped-def]
    import re

    content, wanted = WRONG[case]
    file = write(tmp_path, "rows.jsonl", content) if content is not None else str(tmp_path / "none.jsonl")
    status, out, err = studio("data", "check", file, "--json")
    assert (status, out) == (1, "")
    assert re.search(wanted, err), err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("set_", "wanted"),
    [
        ("train.learning_rate=abc", "train.learning_rate is 'abc', which is not a number."),
        ("train.learning_rate=-5", "train.learning_rate is -5, but it should be greater than 0"),
        ("train.learnin_rate=1", "Did you mean train.learning_rate?"),
        ("train.method=magic", "train.method is 'magic', but it should be 'auto', 'qlora', 'lora' or 'full'"),
        ("model.id=./nowhere", "There is no model folder ./nowhere"),
        ("model.id=nowhere", "There is no model called nowhere"),
        ('data.columns={"prompt": "question", "response": "completion"}', "question"),
        ("train.max_length=100000", "is more than the 512 tokens"),
        ("template.name=chatlm", "There is no chat template chatlm"),
    ],
)
def test_a_wrong_setting_is_one_sentence_before_anything_starts(  # type: ignore[no-untyped-def]
    studio, tmp_path: Path, home: Path, set_: str, wanted: str
) -> None:
    data = write(tmp_path, "rows.jsonl", GOOD)
    config = write(
        tmp_path, "run.yaml", f"model: {{id: tiny}}\ndata: {{path: {data}}}\ntrain: {{method: lora}}\n"
    )
    before = Store(home).run_ids()
    for verb in ("estimate", "train"):
        status, out, err = studio(verb, config, "--json", "--set", set_)
        assert (status, out) == (1, ""), verb
        assert wanted in err
        assert "Traceback" not in err
    assert Store(home).run_ids() == before


def test_a_config_that_is_not_yaml_names_line_and_column(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    status, _, err = studio("estimate", write(tmp_path, "run.yaml", "model: {id: a\ndata: ]"))
    assert status == 1
    assert "run.yaml, line 2, column" in err


def test_a_row_that_is_not_there_is_named_with_the_last_one(studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    status, _, err = studio("preview", write(tmp_path, "rows.jsonl", GOOD), "--row", "9", "--model", "tiny")
    assert (status, "has no row 9: its rows are 1 to 2" in err) == (1, True)


def test_an_unknown_run_is_one_sentence(studio) -> None:  # type: ignore[no-untyped-def]
    assert studio("runs", "show", "nothing")[::2] == (
        1,
        "studio: There is no run nothing. `studio runs` lists them.\n",
    )


def test_usage_mistakes_end_with_status_2(studio) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SystemExit) as caught:
        studio("fly")
    assert caught.value.code == 2


def test_home_may_stand_before_or_after_the_verb(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--home", str(home), "models", "--json"], ["models", "--json", "--home", str(home)]):
        assert cli.main(arguments) == 0
        assert [model["id"] for model in json.loads(capsys.readouterr().out)] == ["tiny"]


def test_runs_are_put_side_by_side(studio, home: Path) -> None:  # type: ignore[no-untyped-def]
    one, other = (finished_run(Store(home), name).id for name in ("one", "two"))
    status, out, _ = studio("runs", "compare", one, other, "--json")
    found = json.loads(out)
    assert (status, found["by"], found["differences"]) == (0, "held_out_loss", {})
    assert [(run["id"], run["held_out_loss"], run["rank"]) for run in found["runs"]] == [
        (one, 0.75, 4.0),
        (other, 0.75, 4.0),
    ]
    assert "learning_rate" in studio("runs", "compare", one, other)[1]
    assert studio("runs", "compare", one, "--by", "luck")[2].startswith(
        "studio: Runs cannot be ordered by luck. Choose one of held_out_loss, "
    )
