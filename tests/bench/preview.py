"""From a click on 'Next row' to painted tokens, in a real Chromium: python -m tests.bench.preview [--clicks 40]

Starts `studio serve` with an empty home and the prepared starter model, uploads short rows and rows of 8,000 tokens,
and clicks through the Template tab. A row is `painted` when the frame with its first screenful is done (`whole`: with
its last token), counted from the time stamp of the click. `ahead` are rows that the page fetched before they were asked
for, as it does for the neighbours of each row; `jumped to` are rows that it had to ask for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from studio.services.store import default_home
from tests.bench.startup import free_port

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
WORDS = ("a", "model", "learns", "what", "it", "is", "shown", "and", "every", "token", "of", "rows", "counts")
SHORT, LONG = 60, 7930
"""Words, each a token: of a short row, and of one that comes to 8,000 tokens with its template."""
WATCH = """() => {
  const after = (done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  });
  const tokens = document.querySelector('#tokens');
  let begun = 0, painted = 0;
  document.addEventListener('click', (event) => {
    if (event.target.closest('#next-row')) { begun = event.timeStamp; painted = 0; }
  }, true);
  document.querySelector('#row-number').addEventListener('keydown', (event) => {
    if (event.key === 'Enter') { begun = event.timeStamp; painted = 0; }
  }, true);
  new MutationObserver(() => {
    const click = begun;
    if (!click) return;
    const first = !painted;
    if (first) painted = -1;
    after(() => {
      if (click !== begun) return;
      if (first) painted = performance.now() - click;
      window.last = {painted, whole: performance.now() - click, tokens: tokens.querySelectorAll('b').length};
    });
  }).observe(tokens, {childList: true, subtree: true});
}"""


def write_rows(file: Path, words: int, count: int, *, lines: bool) -> None:
    """Rows whose answer has so many words, on lines of eighteen or in one paragraph."""
    chance = random.Random(0)
    with file.open("w", encoding="utf-8") as out:
        for number in range(count):
            said = [chance.choice(WORDS) for _ in range(words)]
            breaks = "\n" if lines else " "
            answer = breaks.join(" ".join(said[at : at + 18]) for at in range(0, words, 18))
            turns = [
                {"role": "user", "content": f"Question {number}"},
                {"role": "assistant", "content": answer},
            ]
            out.write(json.dumps({"messages": turns}) + "\n")


def open_rows(page: Page, url: str, file: Path) -> None:
    """Upload the file and wait until its first row, and the statistics of all of them, are there."""
    page.goto(url)
    page.locator("#upload input[type=file]").set_input_files(str(file))
    page.locator("#data-summary").get_by_text(file.name).first.wait_for()
    page.get_by_role("tab", name="Template", exact=True).click()
    page.locator("#tokens .tok").first.wait_for()
    page.locator("#set-view .length-bars").wait_for()
    page.wait_for_timeout(1000)
    page.evaluate(WATCH)


def clicked(page: Page, clicks: int, pause: float) -> list[dict[str, float]]:
    """Times of so many steps to the next row, with a look of `pause` seconds at each."""
    found = []
    for _ in range(clicks):
        page.evaluate("window.last = null")
        page.locator("#next-row").click()
        found.append(_settled(page, pause))
    return found


def jumped(page: Page, rows: list[int], pause: float) -> list[dict[str, float]]:
    """Times of jumps to rows by their number."""
    found = []
    for row in rows:
        page.evaluate("window.last = null")
        page.locator("#row-number").fill(str(row))
        page.locator("#row-number").press("Enter")
        found.append(_settled(page, pause))
    return found


def _settled(page: Page, pause: float) -> dict[str, float]:
    page.wait_for_function("window.last !== null")
    page.wait_for_timeout(1000 * pause)
    return page.evaluate("window.last")  # type: ignore[no-any-return]


def report(name: str, times: list[dict[str, float]]) -> None:
    tokens = statistics.median(time["tokens"] for time in times)
    parts = [f"{name:34} {tokens:6.0f} tokens"]
    for what in ("painted", "whole"):
        values = sorted(time[what] for time in times)
        p95 = values[min(len(values) - 1, round(0.95 * (len(values) - 1)))]
        parts.append(f"{what} median {statistics.median(values):5.0f} ms, p95 {p95:5.0f} ms")
    print("   ".join(parts), flush=True)


def main() -> None:
    """Print the medians and 95th percentiles."""
    options = argparse.ArgumentParser()
    options.add_argument("--clicks", type=int, default=40)
    options.add_argument("--pause", type=float, default=0.7, help="seconds that each row is looked at")
    given = options.parse_args()
    executable = next(path for name in CHROMIUM if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        home = Path(scratch)
        (home / "models").mkdir()
        (home / "models" / "starter").symlink_to(default_home() / "models" / "starter")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "studio", "--home", scratch, "serve", "--port", str(port)]
        server = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
        )
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            while not _answers(url):
                assert server.poll() is None, "the server ended"
                time.sleep(0.2)
            for name, words, lines in (
                ("short rows", SHORT, True),
                ("8,000 tokens, lines", LONG, True),
                ("8,000 tokens, one paragraph", LONG, False),
            ):
                file = home / f"{words}-{lines}.jsonl"
                write_rows(file, words, given.clicks + 30, lines=lines)
                context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
                page = context.new_page()
                page.set_default_timeout(120_000)
                open_rows(page, url, file)
                clicked(page, 3, given.pause)  # warms the browser up
                report(f"{name}, ahead", clicked(page, given.clicks, given.pause))
                rows = random.Random(1).sample(range(1, given.clicks + 30), given.clicks // 2)
                report(f"{name}, jumped to", jumped(page, rows, given.pause))
                context.close()
        finally:
            browser.close()
            server.terminate()
            server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    main()
