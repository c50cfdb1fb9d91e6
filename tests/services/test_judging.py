"""A judge over a real HTTP endpoint: both orders, what is kept, what is refused, and a key that is written nowhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from studio import cli
from studio.domain.errors import StudioError
from studio.services import evaluations, judging, ratings
from studio.services.judging import Endpoint
from studio.services.ratings import Compared, Desk
from studio.services.store import Store
from tests.runs import ROWS, finished_run

KEY = "sk-very-secret-key"
Answer = Callable[[str], tuple[int, dict[str, Any]]]


class Served:
    """An OpenAI-compatible endpoint on this machine, whose opinion a test sets."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.answer: Answer = prefers("tuned")
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                served.asked.append(body)
                served.keys.add(self.headers.get("Authorization"))
                status, data = served.answer(body["messages"][-1]["content"])
                sent = json.dumps(data).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def reply(text: str) -> tuple[int, dict[str, Any]]:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return 200, {"choices": [{"message": {"content": text}}], "usage": usage}


def prefers(word: str) -> Answer:
    """The answer with a word in it, wherever it stands."""

    def answer(asked: str) -> tuple[int, dict[str, Any]]:
        first = asked.partition("# Answer A\n")[2].partition("# Answer B\n")[0]
        return reply(
            f'Well:\n```json\n{{"better": "{"A" if word in first else "B"}", "reason": "It says so."}}\n```'
        )

    return answer


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    finished_run(store)
    return store


@pytest.fixture
def desk(store: Store) -> Desk:
    (run,) = store.run_ids()
    pairs = [
        Compared([{"role": "user", "content": f"Question {n}?"}], "", f"base {n}", f"tuned {n}")
        for n in range(6)
    ]
    from studio.services.run_files import RunFiles

    return ratings._make(RunFiles(store.run_dir(run)), ratings._fresh(store, run), "prompts", pairs)


def endpoint(served: Served, model: str = "judge-1") -> Endpoint:
    return Endpoint(served.url, model, KEY)


def test_a_preference_that_stays_with_the_answer_is_a_win(desk: Desk, served: Served) -> None:
    told: list[tuple[int, int]] = []
    found = judging.judge(desk, endpoint(served), lambda done, total: told.append((done, total)))
    assert found.summary["votes"] == {"base": 0, "tie": 0, "tuned": 6}
    assert (found.read, found.written, found.unclear) == (1200, 120, 0)
    assert told == [(n, 6) for n in range(1, 7)]
    assert len(served.asked) == 12
    assert all(request["temperature"] == 0 for request in served.asked)
    assert not desk.closed  # the judge's figures tell no rater which model is which


def test_a_preference_for_a_place_is_a_tie(desk: Desk, served: Served) -> None:
    served.answer = lambda asked: reply('{"better": "A", "reason": "First come, first served."}')
    assert judging.judge(desk, endpoint(served)).summary["votes"] == {"base": 0, "tie": 6, "tuned": 0}


def test_what_was_judged_is_not_asked_again(desk: Desk, served: Served) -> None:
    judging.judge(desk, endpoint(served))
    asked = len(served.asked)
    again = judging.judge(desk, endpoint(served))
    assert len(served.asked) == asked
    assert again.summary["ratings"] == 6
    judging.judge(desk, endpoint(served, "judge-2"))
    assert len(served.asked) == 2 * asked


def test_a_busy_endpoint_is_asked_again_and_one_that_refuses_is_named(desk: Desk, served: Served) -> None:
    busy = iter([429, 503])

    def answer(asked: str) -> tuple[int, dict[str, Any]]:
        status = next(busy, 200)
        return (status, {}) if status != 200 else prefers("base")(asked)

    served.answer = answer
    assert judging.judge(desk, endpoint(served)).summary["votes"]["base"] == 6
    served.answer = lambda asked: (401, {"error": {"message": f"Wrong key {KEY}."}})
    with pytest.raises(StudioError, match=r"answers with status 401: Wrong key …\.") as refused:
        judging.judge(desk, endpoint(served, "judge-2"))
    assert KEY not in str(refused.value)
    served.server.shutdown()
    served.server.server_close()
    with pytest.raises(StudioError, match="cannot be reached"):
        judging.judge(desk, endpoint(served, "judge-3"))


def test_what_was_read_before_a_stop_is_counted(desk: Desk, served: Served) -> None:
    found = judging.judge(desk, endpoint(served), should_stop=lambda: len(served.asked) > 0)
    assert found.summary["ratings"] == 0  # no pair was asked in both orders
    assert found.read == 100 * len(served.asked) > 0


def test_a_reply_that_cannot_be_read_counts_nowhere(desk: Desk, served: Served) -> None:
    served.answer = lambda asked: reply("I would rather not say.")
    found = judging.judge(desk, endpoint(served))
    assert (found.unclear, found.summary["ratings"]) == (6, 0)


def test_the_key_is_written_nowhere(desk: Desk, store: Store, served: Served) -> None:
    work = judging.Judging()
    work.start(desk, endpoint(served))
    assert work._thread
    work._thread.join(60)
    assert work.result
    assert served.keys == {f"Bearer {KEY}"}
    assert KEY not in repr(endpoint(served))
    written = [file.read_bytes() for file in store.home.rglob("*") if file.is_file()]
    assert not any(KEY.encode() in data for data in written)


def test_the_cost_is_known_before_anything_is_sent(desk: Desk, store: Store, served: Served) -> None:
    found = judging.cost(store, desk, endpoint(served), (2.0, 10.0))
    assert (found.pairs, found.requests, found.written) == (6, 12, 12 * judging.REPLY_TOKENS)
    assert found.price == pytest.approx((found.read * 2 + found.written * 10) / 1e6)
    assert served.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "example.com",
        "http://",
        "http://a:b@c/v1",
        "http://c/v1?k=v",
        "http://:p@c/v1",
        "http://[::1/v1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(StudioError, match="no address of an OpenAI-compatible endpoint"):
        Endpoint(url, "m")


def test_the_terminal_says_what_it_costs_and_asks_only_when_told_to(
    desk: Desk,
    store: Store,
    served: Served,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verb = [
        "judge",
        desk.run,
        "--desk",
        desk.id,
        "--url",
        served.url,
        "--model",
        "m",
        "--home",
        str(store.home),
    ]
    assert cli.main([*verb, "--prices", "1", "2"]) == 0
    said = capsys.readouterr().out
    assert "12 requests" in said
    assert "--yes" in said
    assert served.asked == []
    monkeypatch.setenv("STUDIO_JUDGE_KEY", KEY)
    assert cli.main([*verb, "--yes", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["summary"] == {}  # of a desk that is blind nothing is told
    assert ratings.judged(desk)["m"]["votes"]["tuned"] == 6
    assert KEY not in out + err


def test_without_a_desk_the_cost_makes_none_and_the_judge_s_own_is_ended(
    tmp_path: Path, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    run = finished_run(store)
    run.write_data(ROWS[:4], ROWS[4:])
    evaluations.evaluate(store, evaluations.Asked(run.id, tokens=8))
    verb = ["judge", run.id, "--url", served.url, "--model", "m", "--home", str(tmp_path)]
    assert cli.main(verb) == 0
    assert "6 pairs" in capsys.readouterr().out
    assert ratings.desks(store, run.id) == []
    assert not ratings.is_blind(store, run.id)
    served.answer = lambda asked: (401, {"error": {"message": "No."}})
    assert cli.main([*verb, "--yes"]) == 1
    assert ratings.desks(store, run.id) == []  # a judge that fails leaves none that waits for people
    assert "status 401" in capsys.readouterr().err
    served.answer = lambda asked: reply('{"better": "tie"}')
    assert cli.main([*verb, "--yes"]) == 0
    assert "the tuned model wins 50%" in capsys.readouterr().out
    (desk,) = ratings.desks(store, run.id)
    assert desk.closed


def test_a_judge_rates_an_ended_desk_too_and_changes_no_figure_of_people_s(
    desk: Desk, served: Served
) -> None:
    ratings.rate(desk, "Ann", 1, ratings.Given("tie", {}))
    ended = ratings.close(desk)
    before = ratings.summary(ended)
    assert judging.judge(ended, endpoint(served)).summary["votes"]["tuned"] == 6
    assert ratings.summary(ended) == before


def test_what_was_answered_before_a_refusal_is_kept(desk: Desk, served: Served) -> None:
    """Those under way at the same time are paid for, too."""
    count = iter(range(1000))
    served.answer = lambda asked: (
        prefers("tuned")(asked) if next(count) < 6 else (401, {"error": {"message": "No."}})
    )
    with pytest.raises(StudioError, match="answers with status 401"):
        judging.judge(desk, endpoint(served))
    assert ratings.judged(desk)["judge-1"]["ratings"] >= 1
    with pytest.raises(StudioError, match="still blind"):
        ratings.judges(desk)


@pytest.mark.parametrize("key", ["sk-é", "sk\nsecret", "sk secret"])
def test_a_key_that_can_be_none_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(StudioError, match="characters that no key has") as refused:
        Endpoint("http://127.0.0.1/v1", "m", key)
    assert key not in str(refused.value)
    assert Endpoint("http://127.0.0.1/v1", "m", " sk-1\r\n").key == "sk-1"
