from __future__ import annotations

from pathlib import Path

from studio.domain.events import Metric, Phase
from studio.services.log import EventLog, tail


def test_events_are_numbered_and_read_back_from_any_offset(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append(Phase(name="loading"))
    first, offset = tail(log.path)
    log.append(Metric(step=1, epoch=0.5, loss=2.0))
    second, end = tail(log.path, offset)
    assert [event.seq for event in (*first, *second)] == [1, 2]
    assert tail(log.path, end) == ([], end)


def test_a_torn_last_line_is_ignored_and_written_over(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append(Phase(name="loading"))
    with log.path.open("ab") as file:
        file.write(b'{"seq":2,"type":"pha')
    assert [event.seq for event in tail(log.path)[0]] == [1]
    EventLog(log.path).append(Phase(name="training"))
    assert [event.seq for event in tail(log.path)[0]] == [1, 2]


def test_no_file_is_no_events(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.jsonl") == ([], 0)
