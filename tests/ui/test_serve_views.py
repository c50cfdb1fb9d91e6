import ast
import json
import shlex
from pathlib import Path

from studio.domain.chat import Message
from studio.domain.errors import StudioError
from studio.services.endpoints import Asked, EndpointStatus
from studio.ui import serve_views
from studio.ui.i18n import words

EN = words("en")
ASKING = [Message("system", "Be brief."), Message("user", 'It\'s "late".\nWhy?')]


def status(state: str = "serving", host: str = "127.0.0.1", **values: object) -> EndpointStatus:
    asked = Asked("run-1", "tickets", host=host)
    given = {"export": "merged-bfloat16", "bytes": 2048, "command": ("serve", "a b")}
    return EndpointStatus(asked, state, "2026-01-01T00:00:00.000Z", **{**given, **values})  # type: ignore[arg-type]


def test_what_serves_says_where_and_by_which_name():
    drawn = serve_views.endpoint(EN, status(), ASKING)
    for text in (
        "http://127.0.0.1:8000/v1",
        "tickets",
        "merged-bfloat16",
        "2.0 KiB",
        "Only programs on this",
    ):
        assert text in drawn
    assert "note-warn" not in drawn


def test_an_open_address_is_warned_of():
    drawn = serve_views.endpoint(EN, status(host="0.0.0.0"), ASKING)
    assert "Whoever reaches 0.0.0.0 may use it" in drawn
    assert "note-warn" in drawn


def test_the_examples_ask_what_a_row_asks():
    assert ast.parse(serve_views.python(status(), ASKING))
    assert '{"role": "system", "content": "Be brief."}' in serve_views.python(status(), ASKING)
    body = json.loads(shlex.split(serve_views.curl(status(), ASKING).replace("\\\n", ""))[-1])
    assert body["model"] == "tickets"
    assert body["messages"] == [{"role": item.role, "content": item.content} for item in ASKING]


def test_a_row_that_is_too_long_for_an_example_is_left_out():
    assert "Hello!" in serve_views.curl(status(), [Message("user", "x" * 1000)])
    assert "Hello!" in serve_views.curl(status(), [])


def test_before_it_serves_it_says_how_far_it_is_and_why_it_does_not():
    assert serve_views.endpoint(EN, None, ()) == serve_views.endpoint(EN, status("stopped"), ()) == ""
    exporting = serve_views.endpoint(EN, status("exporting", phase="merging", done=1.0, total=4.0), ())
    assert 'aria-valuenow="25"' in exporting
    assert "The server starts" in serve_views.endpoint(EN, status("starting"), ())
    failed = status("failed", error=StudioError("It ended.", "Read {log}.", log=Path("/x/server.log")))
    assert "It ended." in serve_views.endpoint(EN, failed, ())
