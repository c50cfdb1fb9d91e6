from __future__ import annotations

import pytest

from studio.domain.errors import StudioError
from studio.ui.job_panel import _whole


def test_numbers_of_a_job_are_whole_and_only_gpus_may_be_none() -> None:
    assert (_whole("gpus", "0"), _whole("cores", " 8 ")) == (0, 8)
    for name, text in (("gpus", "-1"), ("cores", "0"), ("hours", "two"), ("hours", "")):
        with pytest.raises(StudioError, match=f"is no number of {name}"):
            _whole(name, text)
