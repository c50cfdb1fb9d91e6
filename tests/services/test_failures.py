"""What a person is told of a failure, also when it happened in another process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from studio.domain.errors import StudioError
from studio.services import failures

NO_MEMORY = StudioError("There is too little memory.", "End something.")


def failed(problem: str) -> StudioError:
    return StudioError("It failed: {problem}.", "Try again.", problem=problem)


def test_a_sentence_stays_as_it_is() -> None:
    error = StudioError("Row {row} is empty.", "Fill it.", row=3)
    assert failures.explained(error, NO_MEMORY, failed) is error


def test_memory_that_the_machine_does_not_have() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60, dtype=torch.uint8)
    for problem in (error.value, MemoryError(), torch.OutOfMemoryError()):
        assert failures.explained(problem, NO_MEMORY, failed) is NO_MEMORY


def test_what_nobody_foresaw_is_named() -> None:
    told = failures.explained(ValueError("no such axis."), NO_MEMORY, failed)
    assert told.message == "It failed: ValueError: no such axis."


def test_an_error_is_the_same_after_its_way_to_another_process() -> None:
    error = StudioError("{file} has {count} rows.", "Look at {file}.", file=Path("/a.csv"), count=2)
    line = json.dumps(failures.to_json(error), default=str)
    heard = failures.from_json(json.loads(line))
    assert (heard.message, heard.remedy) == ("/a.csv has 2 rows.", "Look at /a.csv.")
    assert heard.text.template == "{file} has {count} rows."
