"""Archives made while they are sent: as long as they said, whole, and read by any program that unpacks."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from studio.services.packing import Packed


def folder(tmp_path: Path) -> Path:
    """Some files, one empty, one named in Chinese."""
    for name, size in (("a.bin", 3_000_000), ("empty", 0), ("sub/模型.json", 70), ("exports/x", 9)):
        file = tmp_path / "given" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(index % 251 for index in range(size)))
    return tmp_path / "given"


def test_an_archive_holds_the_files_and_is_as_long_as_it_said(tmp_path: Path) -> None:
    given = folder(tmp_path)
    packed = Packed.of(given, "model", leaving_out=("exports",))
    chunks = list(packed.chunks())
    assert max(map(len, chunks)) < 2**21  # however large the files are
    assert sum(map(len, chunks)) == packed.length
    with zipfile.ZipFile(io.BytesIO(b"".join(chunks))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["model/a.bin", "model/empty", "model/sub/模型.json"]
        assert archive.read("model/a.bin") == (given / "a.bin").read_bytes()


@pytest.mark.parametrize("limit", [0, 60, 71, 75, 100, 3_000_000, 3_000_100, 3_100_000, 3_200_000])
def test_its_length_is_known_beyond_the_old_format_s_limits_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)  # of 2 GiB
    packed = Packed.of(folder(tmp_path), "model")
    assert sum(map(len, packed.chunks())) == packed.length


def test_more_files_than_the_old_format_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)  # of 65,535
    packed = Packed.of(folder(tmp_path), "model")
    assert sum(map(len, packed.chunks())) == packed.length
