"""From `git clone` to a tuned answer with the sample, in a real Chromium: python -m tests.bench.walk

Clones this repository, runs `make studio` there with an empty home, and clicks: the sample, training with recommended
settings, the chat, an example. Nothing is typed. Needs Playwright and Chromium in the environment that runs it, about
a quarter of an hour, and a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
HOUR = 3_600_000


class Clock:
    """Seconds since the start, and what was reached when."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.marks: dict[str, float] = {}

    def mark(self, name: str) -> None:
        self.marks[name] = round(time.monotonic() - self.start, 1)
        print(f"{self.marks[name]:7.1f} s  {name}", flush=True)


def walk(page: Page, url: str, clock: Clock) -> int:
    """Click through the page; returns the number of clicks."""
    page.goto(url)
    page.set_default_timeout(120_000)
    clicks = [
        page.locator("#samples [data-sample]").first,
        page.locator("#train-recommended"),
        page.get_by_role("tab", name="Chat", exact=True),
        page.locator("#chat-examples .example").first,
    ]
    clicks[0].click()
    page.locator("#data-summary").get_by_text("360").first.wait_for()
    clock.mark("sample checked")
    clicks[1].click()
    page.locator("#run-status").get_by_text("Finished").wait_for(timeout=HOUR)
    clock.mark("trained")
    clicks[2].click()
    clicks[3].click()
    page.locator("#talk .answer-tuned").last.get_by_text('"order"', exact=False).wait_for(timeout=HOUR)
    clock.mark("tuned answer")
    return len(clicks)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=7899)
    options = parser.parse_args()
    executable = next(path for name in CHROMIUM if (path := shutil.which(name)))
    url = f"http://127.0.0.1:{options.port}"
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US").new_page()
        clock = Clock()
        clone = Path(scratch) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {**os.environ, "STUDIO_HOME": str(Path(scratch) / "home")}
        with (Path(scratch) / "log").open("wb") as log:
            server = subprocess.Popen(
                ["make", "studio", f"PORT={options.port}"],
                cwd=clone,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            while not answers(url):
                assert server.poll() is None, (Path(scratch) / "log").read_text(encoding="utf-8")
                time.sleep(0.2)
            clock.mark("page answers")
            clicks = walk(page, url, clock)
            print(json.dumps({"clicks": clicks, "seconds": clock.marks}))
        finally:
            page.screenshot(path=Path(tempfile.gettempdir()) / "walk.png", full_page=True)
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
            browser.close()


if __name__ == "__main__":
    main()
