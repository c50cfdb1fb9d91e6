"""Many people at one page: python -m tests.bench.load [--minutes 10] [--watch 30] [--preview 15] [--chat 5]

Each is a client that speaks the page's own protocol, with a session of its own. Some watch a run that trains, at the
pace of the page; some go from row to row under Template; some ask a small tuned model under Chat, which answers one
after the other. The run tunes the starter (`studio models get starter`) with all cores there are. Told are, for each
kind of client, how many calls were answered, the median, the 95th and the 99th percentile of the time to the whole
answer, and what went wrong; and the memory of the page's process, a look a quarter.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from studio.domain.config import RunConfig
from studio.domain.run import ALIVE
from studio.engine.assets import ASSETS
from studio.services.jobs import Jobs
from studio.services.store import Store, default_home
from tests.attack.client import Caller, served, succeeded
from tests.runs import finished_run

TICK = 0.8
"""Seconds from one look at a run to the next, as the page has it."""
ROWS_EVERY = 2.0
ASK_EVERY = 15.0


@dataclass
class Heard:
    """What came of one kind's calls."""

    seconds: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def timed(self, call: Callable[[], str]) -> str:
        begun = time.monotonic()
        try:
            wrong = call()
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        with self.lock:
            self.seconds.append(time.monotonic() - begun)
            if wrong:
                self.wrong[wrong[:160]] += 1
        return wrong

    def told(self) -> dict[str, Any]:
        taken = sorted(self.seconds)
        if not taken:
            return {"calls": 0}
        at = {share: taken[min(len(taken) - 1, int(share * len(taken)))] for share in (0.95, 0.99)}
        return {
            "calls": len(taken),
            "median": round(statistics.median(taken), 3),
            "p95": round(at[0.95], 3),
            "p99": round(at[0.99], 3),
            "longest": round(taken[-1], 3),
            "wrong": dict(self.wrong),
        }


class Person:
    """A client with its draft."""

    def __init__(self, url: str, draft: Mapping[str, Any]) -> None:
        self.caller = Caller(url)
        self.draft = dict(draft)
        self.sent = 0

    def event(self, element: str, kind: str) -> Mapping[str, Any]:
        """The event that an element of this name starts, of those with most outputs."""
        parts = {id for id, part in self.caller.components.items() if part["props"].get("elem_id") == element}
        found = [
            e for e in self.caller.events if any(part in parts and k == kind for part, k in e["targets"])
        ]
        return max(found, key=lambda event: len(event["outputs"]))

    def call(self, event: Mapping[str, Any], *data: Any) -> tuple[str, str]:
        """(what is wrong or '', all that was heard)."""
        self.sent += 1
        draft = json.dumps({**self.draft, "sent": self.sent})
        heard = self.caller.call(event, [draft, *data])
        if not succeeded(heard):
            return f"not answered: {heard[-200:]}", heard
        return "", heard


def watch(url: str, home: Mapping[str, str], heard: Heard, over: threading.Event) -> None:
    person = Person(url, {"dataset": home["dataset"], "run": home["run"]})
    entered = person.event("tab-training", "select")
    person.call(entered, None, 5, False)
    ticks = [
        event
        for event in person.caller.events
        if event["outputs"] == entered["outputs"] and any(kind == "tick" for _, kind in event["targets"])
    ]
    assert len(ticks) == 1, ticks
    while not over.wait(TICK):
        heard.timed(lambda: person.call(ticks[0], None, {"tab": True, "window": True}, 5, False)[0])


def preview(url: str, home: Mapping[str, str], heard: Heard, over: threading.Event) -> None:
    person = Person(url, {"dataset": home["dataset"]})
    viewer = next(id for id, name in person.caller.server_functions() if name == "rows")
    place = random.Random(person.caller.session)

    def turned() -> str:
        first = place.randrange(1, 300)
        asked = {"draft": person.draft, "other": "", "limit": None, "places": [first, first + 1]}
        answer = person.caller.ask(viewer, "rows", asked)
        return "" if answer.status_code == 200 and len(answer.json()) == 2 else answer.text

    while not over.wait(ROWS_EVERY):
        heard.timed(turned)


def chat(url: str, home: Mapping[str, str], heard: Heard, over: threading.Event) -> None:
    person = Person(url, {"dataset": home["dataset"], "run": home["tuned"]})
    person.call(person.event("tab-chat", "select"), None, [])
    send = person.event("chat-send", "click")

    def asked() -> str:
        wrong, answered = person.call(send, None, [], "What is bread made of?", "", 0, 0.0, 1.0, 12)
        return wrong or ("" if "bread" in answered else "no answer")

    while not over.wait(ASK_EVERY):
        heard.timed(asked)


def ground(folder: Path) -> dict[str, str]:
    """A home with a dataset, a tuned run to talk to, and a run at work."""
    store = Store(folder / "home")
    tuned = finished_run(store)
    (store.models_dir / "starter").symlink_to(default_home() / "models" / "starter")
    dataset = store.save_dataset(ASSETS / "general" / "general.jsonl")
    config = RunConfig.model_validate(
        {
            "name": "long",
            "model": {"id": "starter"},
            "data": {"path": str(dataset.path)},
            "train": {"method": "lora", "epochs": 100},
            "evaluate": {"rows": 4},
        }
    )
    run = Jobs(store).submit(config)
    return {"dataset": dataset.id, "run": run, "tuned": tuned.id}


def _step(jobs: Jobs, run: str) -> int:
    latest = jobs.progress(run).latest
    return latest.step if latest else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--watch", type=int, default=30)
    parser.add_argument("--preview", type=int, default=15)
    parser.add_argument("--chat", type=int, default=5)
    options = parser.parse_args()
    kinds = {
        "watch": (watch, options.watch),
        "preview": (preview, options.preview),
        "chat": (chat, options.chat),
    }
    told: dict[str, Any] = {"minutes": options.minutes, "load_before": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        home = ground(folder)
        jobs, over = Jobs(Store(folder / "home")), threading.Event()
        try:
            with served(folder / "home", folder / "serve.log") as (url, pid):
                heard = {name: Heard() for name in kinds}
                people = [
                    threading.Thread(target=act, args=(url, home, heard[name], over))
                    for name, (act, count) in kinds.items()
                    for _ in range(count)
                ]
                for person in people:
                    person.start()
                held = []
                for _ in range(4):
                    time.sleep(options.minutes * 15)
                    held.append(round(psutil.Process(pid).memory_info().rss / 1e6))
                over.set()
                for person in people:
                    person.join()
            told |= {name: {"clients": kinds[name][1], **heard[name].told()} for name in kinds}
            told["page_rss_mb"] = held
            told["run"] = {"state": jobs.get(home["run"]).state, "steps": _step(jobs, home["run"])}
        finally:
            if jobs.get(home["run"]).state in ALIVE:
                jobs.stop(home["run"])
            while jobs.get(home["run"]).state in ALIVE:
                time.sleep(0.2)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
