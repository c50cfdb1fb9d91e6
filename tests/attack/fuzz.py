"""Calls everything that the page's server answers to with values that nobody means well with, and counts what breaks.

    python -m tests.attack.fuzz --calls 20000 --seed 1

Every event of the page, every function of its components, uploads, downloads and bare requests, signed in as a user.
Nothing may show a traceback, hand out or change a file outside of the home, answer with a fault of the server's, or end
the server.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import string
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from studio.domain.chat import Conversation, Message
from studio.domain.config import RunConfig
from studio.services.accounts import Accounts
from studio.services.run_files import RunFiles, State
from studio.services.store import Store
from tests.attack.client import API, Caller, served, succeeded

_FAULT = re.compile(r"[A-Za-z_.]*(Error|Exception)\b")
"""How a line of the server's own log begins that says what went wrong."""
CANARY = "canary-7f3a91"
"""Stands in files outside of the user's home, and may come back from no call."""
_SHOWN = re.compile(
    rf"{CANARY}|root:x:0:0|scrypt\$|(?:studio/ui|gradio|starlette|uvicorn|fastapi)/[\w/]+\.py"
)
"""What no answer holds; the log of a run of one's own, which its process has written, may name that process's code."""
PASSWORD = "a secret of the fuzzer"


@dataclass(frozen=True)
class Ground:
    """What is attacked, and what it knows of itself."""

    folder: Path
    store: Store
    dataset: str
    run: str

    @property
    def outside(self) -> Path:
        return self.folder / "outside"


def ground(folder: Path) -> Ground:
    """A home with two users, a small dataset, a run that stopped before it had saved anything; canaries around it."""
    home = Store(folder / "home")
    accounts = Accounts(home)
    accounts.add("root", PASSWORD)
    accounts.add("mallory", PASSWORD)
    store = accounts.store_of(accounts.named("mallory"))
    outside = folder / "outside"
    for name in ("work", "person", "temporary"):
        (outside / name).mkdir(parents=True)
    (outside / "secret.jsonl").write_text(f'{{"prompt": "{CANARY}", "response": "{CANARY}"}}\n', "utf-8")
    (home.home / "secret.jsonl").write_text(f'{{"prompt": "{CANARY}", "response": "{CANARY}"}}\n', "utf-8")
    rows = folder / "rows.jsonl"
    rows.write_text("".join(f'{{"prompt": "q {n}", "response": "a {n}"}}\n' for n in range(30)), "utf-8")
    dataset = store.save_dataset(rows).id
    home.save_dataset(outside / "secret.jsonl", "canary")
    files = RunFiles(store.new_run_dir("stopped"))
    config = RunConfig.model_validate({"model": {"id": "none"}, "data": {"path": str(rows)}})
    said = [Conversation((Message("user", "q"), Message("assistant", "a")), number) for number in range(1, 9)]
    files.write_data(said[:6], said[6:])
    files.write_state(State("queued"))
    files.write_state(State("stopped"))
    files.write_run(config, "stopped")
    return Ground(folder, store, dataset, files.id)


class Malice:
    """Values, from a seed."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.ground = ground
        self.random = random.Random(seed)
        here = ground.outside / "secret.jsonl"
        self.texts = [
            "",
            " ",
            "\x00",
            "a\x00b",
            "..",
            "../" * 12 + "etc/passwd",
            "..\\..\\secret.jsonl",
            "%2e%2e%2fsecret.jsonl",
            "/etc/passwd",
            str(here),
            f"file://{here}",
            str(ground.store.shared / "secret.jsonl"),
            str(ground.store.shared / "users.json"),
            "~/.ssh/id_rsa",
            "http://169.254.169.254/latest/meta-data/",
            "http://127.0.0.1:1/",
            "\\\\host\\share",
            "data:text/html,<script>alert(1)</script>",
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            '"><svg onload=alert(1)>',
            "{{ 7*7 }}",
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{% for a in range(10**9) %}{{ a }}{% endfor %}",
            "{{ 'x' * 10**10 }}",
            "{0.__class__}",
            "%s%s%n",
            '=HYPERLINK("http://evil.example")',
            "; rm -rf / #",
            "$(touch /tmp/owned)",
            "`id`",
            "--help",
            "-1",
            "0",
            "NaN",
            "1e309",
            "9" * 400,
            "\u202eevil",
            "\ud83d\ude00",
            "é" * 300,
            "A" * 20_000,
            "[" * 5000,
            "null",
            "true",
            "starter",
            "__proto__",
            "constructor",
            "RUN@40",
            ground.dataset,
            ground.run,
            f"{ground.run}@40",
            "canary",
            "root",
            "mallory",
        ]

    def text(self) -> str:
        if self.random.random() < 0.1:
            return "".join(self.random.choices(string.printable, k=self.random.randrange(40)))
        return self.random.choice(self.texts)

    def number(self) -> Any:
        return self.random.choice([0, 1, -1, 2, 3.5, -0.0, 1e18, 10**30, -(10**30), 2**63, "7", None])

    def file(self) -> Any:
        path = self.random.choice([text for text in self.texts if "\x00" not in text])
        return {
            "path": path,
            "orig_name": self.text(),
            "meta": {"_type": "gradio.FileData"},
            "url": self.text(),
        }

    def any(self, depth: int = 0) -> Any:
        kinds = [self.text, self.text, self.number, lambda: None, lambda: True, self.file]
        if depth < 3:
            kinds += [
                lambda: [self.any(depth + 1) for _ in range(self.random.randrange(4))],
                lambda: {self.text(): self.any(depth + 1) for _ in range(self.random.randrange(4))},
            ]
        return self.random.choice(kinds)()

    def draft(self) -> Any:
        """What the browser keeps: mostly of the right form, as that comes furthest."""
        if self.random.random() < 0.1:
            return self.any()
        known = {"dataset": self.ground.dataset, "run": self.ground.run}
        made: dict[str, Any] = {"row": 1, "values": {}}
        for name in ("dataset", "run", "talk", "held_out", "general"):
            if self.random.random() < 0.6:
                made[name] = known.get(name) if self.random.random() < 0.6 else self.any()
        for _ in range(self.random.randrange(4)):
            made["values"][self.random.choice(_KEYS)] = self.any()
        if self.random.random() < 0.3:
            made[self.random.choice(["row", "version", "sent", "broad", "values"])] = self.any()
        return json.dumps(made)

    def said(self) -> Any:
        """What a click says."""
        if self.random.random() < 0.15:
            return self.any()
        said = {word: self.any() for word in self.random.sample(_WORDS, self.random.randrange(1, 7))}
        if self.random.random() < 0.7:
            said[self.random.choice(["do", "act"])] = self.random.choice(_ACTS)
        return said

    def value(self, kind: str) -> Any:
        """For an input of a kind, which it mostly fits."""
        if kind == "browserstate":
            return self.draft()
        if self.random.random() < 0.25:
            return self.any()
        if kind in ("number", "slider"):
            return self.number()
        if kind in ("file", "downloadbutton", "uploadbutton"):
            return self.random.choice([self.file, lambda: [self.file(), self.file()]])()
        if kind == "checkbox":
            return self.random.choice([True, False])
        if kind == "json":
            return {"tab": True, "window": True}
        if kind in ("checkboxgroup", "dropdown"):
            return self.random.choice([self.text, lambda: [self.text()]])()
        return self.text()


_KEYS = [
    "model.id", "model.revision", "model.adapter", "data.path", "data.held_out_path", "data.general_path",
    "data.format", "data.columns", "data.read_as", "template.name", "template.source", "template.turns",
    "train.max_length", "train.learning_rate", "train.report_to", "train.target_modules", "train.epochs",
    "evaluate.rows", "name", "__class__",
]  # fmt: skip
_WORDS = [
    "run", "dataset", "desk", "talk", "export", "name", "id", "open", "row", "page", "filter", "edit", "show",
    "sample", "undo", "by", "user", "turn", "side", "text", "title", "token", "step", "place", "check", "close",
    "value", "which", "at", "spare", "delete", "rename", "trouble",
]  # fmt: skip
_ACTS = [
    "open", "stop", "resume", "earlier", "later", "delete", "delete-yes", "delete-no", "details", "compare",
    "continue", "rate", "end", "csv", "results", "ask", "keep", "edit", "save", "drop", "undo", "rename", "branch",
    "again", "explain", "prompt", "learn", "markdown", "json", "serve", "remove", "apply", "verify", "\x00",
]  # fmt: skip


@dataclass
class Tally:
    """What came of the calls."""

    calls: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    refused: int = 0
    broken: list[str] = field(default_factory=list)
    hung_up: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def heard(self, kind: str, what: str, text: str, status: int = 200) -> None:
        with self.lock:
            self.calls += 1
            self.kinds[kind] += 1
            self.answered += status < 400 and ('"msg"' not in text or succeeded(text))
            self.refused += status >= 400
            for found in _SHOWN.findall(text):
                self.broken.append(f"{what}: shows {found!r}")
            if status >= 500:
                self.broken.append(f"{what}: {status} {text[:200]}")


def attack(address: str, ground: Ground, tally: Tally, calls: int, seed: int) -> None:
    """So many calls of one open page."""
    malice = Malice(ground, seed)
    caller = Caller(address, "mallory", PASSWORD)
    what = ""
    try:
        for number in range(calls):
            kind = malice.random.choices(("event", "function", "upload", "request"), (88, 4, 3, 5))[0]
            what = f"seed {seed}, call {number}, {kind}"
            act = {"event": _event, "function": _function, "upload": _upload, "request": _request}[kind]
            try:
                act(caller, malice, tally, what)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
                # Who sends what is no request is hung up on; whoever comes next is answered.
                tally.heard(f"hung up on: {kind}", what, "")
                tally.hung_up.append(f"{what}: {error!r}")
                caller.close()
                caller = Caller(address, "mallory", PASSWORD)
    except Exception as error:  # of the server, or of this program: either way the calls are not all made
        tally.broken.append(f"{what}: {error!r}")
    finally:
        caller.close()


def _event(caller: Caller, malice: Malice, tally: Tally, what: str) -> None:
    event = malice.random.choice(caller.events)
    data = [malice.value(kind) for kind in caller.kinds(event)]
    if malice.random.random() < 0.05:
        data = data[:-1] or [malice.any()]
    said = malice.said() if event["collects_event_data"] else None
    heard = caller.call(event, data, said)
    status = int(heard[:3]) if heard[:3].isdigit() else 200
    tally.heard("event", f"{what}, {event['api_name']}", heard, status)


def _function(caller: Caller, malice: Malice, tally: Tally, what: str) -> None:
    component, name = malice.random.choice(
        [*caller.server_functions(), (malice.random.randrange(99), "postprocess")]
    )
    asked: Any = malice.any()
    if malice.random.random() < 0.7:
        asked = {
            word: malice.any()
            for word in ("rater", "run", "desk", "place", "vote", "scores", "token", "other")
        }
        asked |= {"draft": malice.draft() if malice.random.random() < 0.5 else malice.any()}
        asked |= {"places": [malice.number() for _ in range(3)], "limit": malice.number()}
    answer = caller.ask(component, name, asked)
    # The script says that it failed; the details are in errors.log.
    bare = "in errors.log" in answer.text or name == "postprocess"  # a component that is not there
    status = min(answer.status_code, 499) if bare else answer.status_code
    tally.heard("function", f"{what}, {name}", answer.text, status)


def _upload(caller: Caller, malice: Malice, tally: Tally, what: str) -> None:
    name = malice.text().replace("\x00", "").encode("utf-8", "ignore").decode() or "x"
    body = malice.random.choice(
        [b"", b"\x00" * 100, b"PK\x05\x06" + b"\x00" * 18, b'{"prompt": "a", "response": "b"}\n']
    )
    answer = caller.http.post(f"{API}/upload", files={"files": (name, body)})
    tally.heard("upload", f"{what}, {name!r}", answer.text, answer.status_code)
    if answer.status_code == 200:
        tally.heard("download", what, caller.http.get(f"{API}/file={answer.json()[0]}").text)


def _request(caller: Caller, malice: Malice, tally: Tally, what: str) -> None:
    text = malice.text()
    path = malice.random.choice(
        [
            f"{API}/file={text}",
            f"/runs/{text}.zip",
            f"/exports/{text}/{text}.zip",
            f"/static/{text}",
            f"/assets/{text}",
            f"/svelte/{text}",
            f"{API}/custom_component/{text}",
            f"{API}/heartbeat/",
            f"{API}/run/{text}",
            f"/{text}",
        ]
    )
    headers = {malice.random.choice(["x-forwarded-host", "accept-language", "cookie", "range"]): "x" * 10}
    try:
        if malice.random.random() < 0.5:
            answer = caller.http.get(httpx.URL(path.replace("\x00", "%00")[:3000]), headers=headers)
        else:
            body = malice.random.choice([b"", b"{", b"[" * 2000, json.dumps(malice.any()).encode()])
            answer = caller.http.post(
                f"{API}/{malice.random.choice(['queue/join', 'cancel', 'reset', 'component_server', 'run/x'])}",
                content=body,
                headers={"content-type": malice.random.choice(["application/json", "text/plain", "x"])},
            )
    except (httpx.InvalidURL, httpx.LocalProtocolError, ValueError):  # no program could send it
        return
    # A body that is no event at all is Gradio's to refuse: what it says is bare, and no fault of the page's.
    tally.heard("request", f"{what}, {path[:80]!r}", answer.text, min(answer.status_code, 499))


def files_in(folder: Path) -> Mapping[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def campaign(folder: Path, calls: int, seed: int, pages: int = 4) -> dict[str, Any]:
    """Attack a fresh home; what came of it, with all that broke."""
    there = ground(folder)
    before, accounts = files_in(there.outside), there.store.users_file.read_bytes()
    environment = {
        "HOME": str(there.outside / "person"),
        "TMPDIR": str(there.outside / "temporary"),
    }
    tally, begun = Tally(), time.monotonic()
    kept, place = {name: os.environ.get(name) for name in environment}, Path.cwd()
    os.environ.update(environment)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(place), os.environ.get("PYTHONPATH", ""))))
    os.chdir(there.outside / "work")
    try:
        with served(there.store.shared, folder / "server.log") as (address, _):
            threads = [
                threading.Thread(target=attack, args=(address, there, tally, calls // pages, seed + page))
                for page in range(pages)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            alive = Caller(address, "mallory", PASSWORD)
            assert len(alive.events) > 100
            alive.close()
    finally:
        os.chdir(place)
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    after = files_in(there.outside)
    tally.broken += [
        f"outside of the home: {name}" for name in {*before, *after} if before.get(name) != after.get(name)
    ]
    if there.store.users_file.read_bytes() != accounts:
        tally.broken.append("the accounts were changed")
    errors = there.store.errors_file.read_text("utf-8") if there.store.errors_file.is_file() else ""
    last = Counter(_in_short(part) for part in errors.split("\n\n") if part.strip())
    return {
        "calls": tally.calls,
        "kinds": dict(tally.kinds),
        "answered": tally.answered,
        "refused": tally.refused,
        "unforeseen": sum(last.values()),
        "most_frequent": last.most_common(12),
        "hung_up": tally.hung_up,
        "broken": tally.broken,
        "seconds": round(time.monotonic() - begun),
    }


def _in_short(trace: str) -> str:
    """Where it came from, and what it was."""
    places = re.findall(r'studio/([\w/]+\.py)", line (\d+)', trace)
    return f"{':'.join(places[-1]) if places else ''} {trace.strip().splitlines()[-1][:100]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), options.calls, options.seed)
        log = (Path(folder) / "server.log").read_text("utf-8", "replace")
    print(json.dumps(found, indent=2, ensure_ascii=False))
    for line, count in Counter(line for line in log.splitlines() if _FAULT.match(line)).most_common(12):
        print(f"{count:6}  {line[:200]}", file=sys.stderr)
    return 1 if found["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
