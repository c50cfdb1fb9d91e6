"""A large file checked beside a page that is in use: python -m tests.bench.survey --rows 100000 [--from FILE]

Rows of about 1 KB are mixed at random from the sentences of a data file, the project's own unless another is named; one
in fifty repeats an earlier row but for a word. Told are rows a second, the processor time a row, the peak of memory of
all processes that check (RSS, and PSS, which counts shared pages once), and how long the page takes meanwhile to turn a
page of its table, in Chromium where there is one. The machine's load before the start is told too: the figures are
those of a quiet machine only where it is near 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from studio.engine.assets import ASSETS
from studio.engine.dataset import read
from studio.services import surveys, tasks
from studio.services.store import Store, default_home

SIZE = 900
"""Characters of a row at least."""
EVERY = 2.0
"""Seconds from one click to the next."""
LOOK = 5.0
"""Seconds from one look at the memory to the next: to count shared pages takes a while."""


def write_rows(file: Path, rows: int, source: Path) -> None:
    """The mixture; the same for the same source."""
    conversations = read(source).conversations
    asked = [part for row in conversations for part in _sentences(row.prompt)]
    said = [parts for row in conversations if (parts := _sentences(row.response))]
    choice, earlier = random.Random(5), []
    with file.open("w", encoding="utf-8") as out:
        for _ in range(rows):
            if earlier and choice.random() < 0.02:
                row = dict(choice.choice(earlier))
                words = row["output"].split(" ")
                words[choice.randrange(len(words))] = "perhaps"
                row["output"] = " ".join(words)
            else:
                row = _mixed(choice, asked, said)
                if len(earlier) < 2_000:
                    earlier.append(row)
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?。！？])\s+|\n+", text) if part]


def _mixed(choice: random.Random, asked: list[str], said: list[list[str]]) -> dict[str, str]:
    prompt = " ".join(choice.choice(asked) for _ in range(choice.randint(1, 3)))
    response: list[str] = []
    while len(prompt) + sum(map(len, response)) < SIZE:
        parts = choice.choice(said)
        start = choice.randrange(len(parts))
        response += parts[start : start + choice.randint(1, 3)]
    return {"instruction": prompt, "input": "", "output": choice.choice(("\n", " ")).join(response)}


class Used:
    """The most memory that a process and its children held together, in bytes, and the time that they computed."""

    def __init__(self) -> None:
        self.rss = self.pss = 0
        self.seconds = 0.0

    def look(self, pid: int) -> None:
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            held = [member.memory_full_info() for member in family]
            times = [member.cpu_times() for member in family]
        except psutil.Error:
            return
        self.rss = max(self.rss, sum(one.rss for one in held))
        self.pss = max(self.pss, sum(getattr(one, "pss", one.rss) for one in held))
        ended = times[0].children_user + times[0].children_system
        self.seconds = max(self.seconds, ended + sum(one.user + one.system for one in times))


@contextmanager
def served(home: Path) -> Iterator[tuple[str, int]]:
    """The page in a process of its own: its address and its pid."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "studio", "--home", str(home), "serve", "--port", str(port)]
    with (home / "serve.log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (home / "serve.log").read_text(encoding="utf-8")
                time.sleep(0.2)
        yield url, server.pid
    finally:
        server.terminate()
        server.wait()


def clicks(url: str, over: threading.Event) -> list[float]:
    """Seconds from a click on the table's pager to the other page, again and again until it is over."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        return []
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
        page.goto(url)
        page.locator("#samples [data-sample]").last.click()
        place = page.locator("#rows .pager .num")
        place.wait_for(timeout=120_000)
        for number in range(10**6):
            before, start = place.inner_text(), time.monotonic()
            page.locator("#rows .pager [data-page]").nth(int(number % 2 == 0)).click()
            page.wait_for_function(
                "before => document.querySelector('#rows .pager .num').innerText !== before", arg=before
            )
            taken.append(time.monotonic() - start)
            if over.wait(EVERY):
                break
        browser.close()
    return taken


def measured(home: Path, file: Path) -> dict[str, Any]:
    store = Store(home)
    entry = store.save_dataset(file)
    used, over, answered = Used(), threading.Event(), []
    load = os.getloadavg()[0]
    with served(home) as (url, server):
        user = threading.Thread(target=lambda: answered.extend(clicks(url, over)))
        user.start()
        begun, looked = time.monotonic(), 0.0
        phases: dict[str, float] = {}
        task = surveys.start(store, entry.path, "auto", None)
        pid = json.loads((home / "tasks" / task / "process.json").read_text(encoding="utf-8"))["pid"]
        while (found := tasks.status(store, task)).state == "running":
            phases.setdefault(found.phase, time.monotonic() - begun)
            if time.monotonic() > looked + LOOK:
                used.look(pid)
                looked = time.monotonic()
            time.sleep(0.2)
        seconds = time.monotonic() - begun
        page_rss = psutil.Process(server).memory_info().rss
        over.set()
        user.join()
    assert found.result, found.error
    rows = int(found.result["rows"])
    return {
        "rows": rows,
        "megabytes": round(file.stat().st_size / 1e6),
        "load_before": round(load, 2),
        "seconds": round(seconds, 1),
        "rows_a_second": round(rows / seconds),
        "processor_microseconds_a_row": round(used.seconds / rows * 1e6),
        "comparing_from_second": round(phases.get("compare", seconds), 1),
        "peak_rss_gb": round(used.rss / 1e9, 2),
        "peak_pss_gb": round(used.pss / 1e9, 2),
        "page_rss_gb": round(page_rss / 1e9, 2),
        "clicks": len(answered),
        "click_median": round(statistics.median(answered), 2) if answered else None,
        "click_longest": round(max(answered), 2) if answered else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--from", dest="source", type=Path, default=ASSETS / "general" / "general.jsonl")
    parser.add_argument("--file", type=Path, help="keep the rows here, and use them if they are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        (home / "models").mkdir(parents=True)
        if (default_home() / "models" / "starter").is_dir():
            (home / "models" / "starter").symlink_to(default_home() / "models" / "starter")
        file = options.file or Path(scratch) / "rows.jsonl"
        if not file.is_file():
            write_rows(file, options.rows, options.source)
        print(json.dumps(measured(home, file)))


if __name__ == "__main__":
    main()
