"""Secrets stay out of configurations, events, logs and reports: they are taken out as these are written."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.domain.chat import Conversation, Message
from studio.domain.events import Failed, Warned
from studio.engine.checks import run_checks
from studio.services import mishaps, redaction
from studio.services.files import read_json, write_json
from studio.services.log import EventLog
from studio.services.reports import Subject, write_report
from studio.services.store import Store

KEY = "a-key-of-nobodys-form"
HUB = "hf_" + "AbCdEfGhIjKlMnOpQrStUv"


@pytest.fixture(autouse=True)
def secrets_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", HUB)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("SSL_PRIVATE_KEY", "/etc/ssl/private/of-this-machine.pem")


def test_what_the_environment_calls_a_secret_is_known_by_its_value() -> None:
    assert {KEY, HUB} <= set(redaction.known())
    assert "false" not in redaction.known()
    assert not any("/" in value for value in redaction.known())


def test_a_configuration_and_a_state_hold_no_secret(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"config": {"name": f"run with {HUB}"}, "kept": "false", KEY: 1})
    assert read_json(tmp_path / "run.json") == {
        "config": {"name": "run with [secret]"},
        "kept": "false",
        "[secret]": 1,
    }


@pytest.mark.parametrize("ending", ["html", "json"])
def test_the_report_on_a_file_holds_none(ending: str, tmp_path: Path) -> None:
    rows = [Conversation((Message("user", "Which key?"), Message("assistant", f"Take {HUB}.")), row=1)]
    target = tmp_path / f"report.{ending}"
    write_report(target, Subject(f"rows of {KEY}.jsonl", "messages"), run_checks(rows))
    text = target.read_text(encoding="utf-8")
    assert "rows of [secret].jsonl" in text
    assert HUB not in text


def test_a_secret_with_signs_that_json_and_html_write_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    key = 'a"b\\c&d<e-of-nobody'
    monkeypatch.setenv("MY_TOKEN", key)
    for text in (key, json.dumps({"x": key}), html.escape(key)):
        assert "of-nobody" not in redaction.without_known(text)


def test_events_hold_none_and_those_of_failures_no_key_of_anybody(tmp_path: Path) -> None:
    log, others = EventLog(tmp_path / "events.jsonl"), "sk-" + "x1" * 20
    log.append(
        Failed(
            template="{problem}", remedy="", values={"problem": f"401 for {HUB}"}, traceback=f"{KEY} {others}"
        )
    )
    log.append(Warned(template="{url}", remedy="", values={"url": f"https://ana:{others}@host/x"}, rows=[]))
    text = (tmp_path / "events.jsonl").read_text()
    for secret in (KEY, HUB, others):
        assert secret not in text
    assert [json.loads(line)["seq"] for line in text.splitlines()] == [1, 2]


def test_what_failed_inside_is_kept_without_keys(tmp_path: Path) -> None:
    store = Store(tmp_path)
    mishaps.note(store, f"Authorization: Bearer {KEY}\nAKIAIOSFODNN7EXAMPLE\npassword=opensesame1")
    kept = store.errors_file.read_text()
    assert "Authorization: Bearer [secret]\n[secret]\npassword=[secret]\n" in kept


def test_what_a_worker_prints_is_without_keys_also_where_it_comes_in_pieces() -> None:
    code = (
        "import os, sys; from studio.services.redaction import guard_output; guard_output()\n"
        "print('whole', os.environ['HF_TOKEN']); sys.stderr.write('in pieces ' + os.environ['HF_TOKEN'][:9])\n"
        "sys.stderr.flush(); sys.stderr.write(os.environ['HF_TOKEN'][9:] + ' end'); raise SystemExit(2)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 2
    assert done.stdout == "whole [secret]\n"
    assert done.stderr == "in pieces [secret] end"


@pytest.mark.parametrize(
    "word", ["sk-learn", "hf_hub", "a token= b", "https://host:80/x", "task-oriented-" + "x" * 30]
)
def test_plain_words_stay(word: str) -> None:
    assert redaction.redacted(word) == word
