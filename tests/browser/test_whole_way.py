"""The whole way in a real Chromium on the starter model: file, checklist, preview, training, chat, export, proof."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.engine.assets import ASSETS
from studio.engine.starter import is_prepared
from studio.services.jobs import Jobs
from studio.services.store import Store, default_home

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ROWS = 40
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SOON, LONG = 180_000, 900_000
"""Milliseconds on a busy machine: for the page, and for training and exporting."""


def missing(reason: str) -> None:
    """Skip, except where the browser tests must run."""
    if os.environ.get("STUDIO_BROWSER_REQUIRED"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_starter(tmp_path_factory.mktemp("home"))


def with_starter(home: Path) -> Path:
    """A home that has the starter model."""
    if not is_prepared(default_home() / "models"):
        missing("the starter model is not prepared: run `make starter`")
    (home / "models").mkdir()
    (home / "models" / "starter").symlink_to(default_home() / "models" / "starter")
    return home


class Server:
    """`studio serve` in a process of its own, which can be ended and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "studio",
            "--home",
            str(self.home),
            "serve",
            "--port",
            str(self.port),
        ]
        with (self.home / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + SOON / 1000
        while not self.answers():
            assert self.process.poll() is None, (self.home / "serve.log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def answers(self, host: str = "") -> bool:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
                connection.request("GET", "/", headers={"Host": host} if host else {})
                return connection.getresponse().status == 200
        except OSError:
            return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    server = Server(home)
    yield server
    server.kill()
    jobs = Jobs(Store(home))
    for run in jobs.list():
        jobs.delete(run.id)


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if executable is None:
        missing("there is no Chromium: run `make browser`")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US").new_page()
        page.set_default_timeout(SOON)
        elsewhere: list[str] = []
        page.on(
            "request", lambda request: elsewhere.append(request.url) if outside(request.url, server) else None
        )
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        page.screenshot(path=server.home / "last.png", full_page=True)  # what a failure looked like
        browser.close()
    assert elsewhere == [], "the page asked other hosts"
    assert errors == [], "scripts failed on the page"


def outside(url: str, server: Server) -> bool:
    return not url.startswith((server.url, f"ws://127.0.0.1:{server.port}", "data:", "blob:"))


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def test_from_a_file_to_an_export_that_plain_transformers_loads(
    page: Page, server: Server, home: Path, tmp_path: Path
) -> None:
    upload = tmp_path / "tickets.jsonl"
    lines = (ASSETS / "samples" / "support-train.jsonl").read_text(encoding="utf-8").splitlines()[:ROWS]
    empty = json.dumps(
        {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": ""}]}
    )
    upload.write_text("\n".join([*lines, empty]) + "\n", encoding="utf-8")

    # Upload and check
    page.goto(server.url)
    page.locator("#samples .act").first.wait_for()  # the page listens
    page.locator("#upload input[type=file]").set_input_files(str(upload))
    page.locator("#data-summary").get_by_text("tickets.jsonl").first.wait_for()
    fix = page.locator("#findings [data-show=empty_response]")
    fix.click()
    page.locator("#repair-head").get_by_text("Would drop: 1 row.", exact=False).wait_for()
    page.locator("#repair-apply").click()
    fix.wait_for(state="detached")

    # Preview
    tab(page, "Template")
    page.locator("#tokens .tok").first.wait_for()
    assert "<|im_end|>" in page.locator("#tokens .tok.trained").last.inner_text()
    page.locator("#next-row").click()

    # Settings: a bad one is refused in place, the rest stays
    tab(page, "Hyperparameters")
    page.locator("#estimate").get_by_text("steps", exact=False).first.wait_for()
    rate = page.locator("#set-train-learning_rate input, #set-train-learning_rate textarea").first
    rate.fill("abc")
    rate.press("Tab")
    page.get_by_text("Learning rate is 'abc', which is not a number.", exact=False).first.wait_for()
    rate.fill("0.002")
    rate.press("Tab")

    # Train; reload in mid-run; kill the server in mid-run
    tab(page, "Training")
    page.locator("#start").click()
    page.locator("#run-status").get_by_text("Running").wait_for(timeout=LONG)
    page.locator("#loss-plot svg path").first.wait_for(timeout=LONG)
    page.reload()
    page.locator("#run-status").get_by_text("tickets", exact=False).first.wait_for()
    server.kill()
    page.locator("#unreachable").wait_for()
    assert not page.locator(".toast-body").first.is_visible()  # Gradio's own notice
    server.start()
    page.locator("#unreachable").wait_for(state="detached")
    page.locator("#run-status").get_by_text("Finished").wait_for(timeout=LONG)
    jobs = Jobs(Store(home))
    run = jobs.list()[0]
    assert (run.state, run.progress) == ("finished", 1.0)
    assert jobs.config(run.id).train.learning_rate == 0.002
    assert run.metrics["eval_loss"] < run.metrics["eval_loss_before"] / 2

    # Chat with both
    tab(page, "Chat")
    page.locator("#chat-examples .example").first.click()
    tuned = page.locator("#talk .answer-tuned").last
    tuned.get_by_text('"category"', exact=False).wait_for(timeout=LONG)
    assert '"category"' not in page.locator("#talk .answer-base").last.inner_text()

    # Export, and load it without the studio
    tab(page, "Export")
    page.locator("#export-start").click()
    page.locator("#exports").get_by_text("Passed", exact=False).first.wait_for(timeout=LONG)
    compare_with_adapter(next((home / "runs" / run.id / "exports").glob("*/files")), home, run.id)


def compare_with_adapter(exported: Path, home: Path, run_id: str) -> None:
    """The export, loaded by plain transformers, against PEFT's adapter on the base: logits on a held-out prompt."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(exported)
    row = Jobs(Store(home)).held_out(run_id)[0]
    ids = tokenizer.apply_chat_template(
        [message.to_json() for message in row.messages], return_tensors="pt", return_dict=True
    )["input_ids"]
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32)(ids).logits[0]
        base = AutoModelForCausalLM.from_pretrained(home / "models" / "starter", dtype=torch.float32)
        untuned = base(ids).logits[0].clone()
        adapted = PeftModel.from_pretrained(base, home / "runs" / run_id / "adapter")(ids).logits[0]
    kl = torch.nn.functional.kl_div(
        merged.log_softmax(-1), adapted.log_softmax(-1), log_target=True, reduction="none"
    )
    assert float(kl.sum(-1).mean()) < 0.02  # what rounding the merged weights to bfloat16 can explain
    assert float((merged - adapted).abs().mean()) < 0.1 * float((untuned - adapted).abs().mean())


def test_only_its_own_address_is_answered(server: Server) -> None:
    assert server.answers("localhost:80")
    assert not server.answers("studio.example.org")


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_tab_is_wider_than_the_screen(page: Page, server: Server, width: int, language: str) -> None:
    context = page.context.browser.new_context(viewport={"width": width, "height": 844}, locale=language)  # type: ignore[union-attr]
    narrow = context.new_page()
    narrow.set_default_timeout(SOON)
    for name in ("data", "template", "hyperparameters", "training", "chat", "runs", "export"):
        narrow.goto(f"{server.url}/?tab={name}#{name}")  # another address, so that the page is loaded anew
        narrow.locator(f"#tab-{name}").wait_for()
        narrow.wait_for_timeout(1500)
        assert narrow.evaluate("document.documentElement.scrollWidth") <= width, name
    context.close()
