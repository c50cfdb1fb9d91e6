"""Push a folder to a model repository of the hub in one commit, and say in one sentence why it could not be.

Files go the way of git's large file storage, not through hf_xet: that is plain HTTP, so that what is sent is counted as
it leaves, and what the tests prove is what is used. The token is held in memory alone.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from studio.domain.errors import StudioError
from studio.engine.hub_failures import UNREACHED, causes, failures, reason_of

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi, ModelInfo

Phase = Literal["asking", "hashing", "uploading", "committing"]
Progress = Callable[[Phase, float, float], None]

ANSWER = 8.0
"""Seconds that the hub has for a first answer; by itself its client waits without end."""
PATIENCE = 120.0
"""Seconds that it has for each answer while it is sent to: it may have to put the parts of a large file together."""
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
_ITS_OWN = (".gitattributes",)
"""Files that the hub makes in each repository."""
_BLOCK = 1 << 20


def check_repository(repo: str) -> str:
    """The id `owner/name` as the hub takes it. StudioError where it is none.

    >>> check_repository("owner/support-tickets")
    'owner/support-tickets'
    """
    parts = repo.split("/")
    fine = len(parts) == 2 and all(
        _NAME.fullmatch(part) and not re.search(r"--|\.\.", part) for part in parts
    )
    if not fine or len(repo) > 96 or repo.endswith(".git"):
        raise StudioError(
            "{repo} is no name of a repository.",
            "Write owner/name: letters, digits, and - _ . between them, at most 96 in all.",
            repo=repr(repo[:200]),
        )
    return repo


def check_token(token: str) -> str:
    """The token without white space around it. StudioError where it cannot be one; it is not quoted there."""
    token = token.strip()
    if not token:
        raise StudioError(
            "No access token is given.",
            "Make one that may write in the hub's settings, under access tokens.",
        )
    # What no header may hold would be quoted by the errors that it causes.
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise StudioError(
            "The access token has characters that no token has, such as white space or line ends.",
            "Copy it again.",
        )
    return token


@dataclass(frozen=True)
class Pushed:
    """What lies at the hub now."""

    url: str
    commit: str
    files: int
    bytes: int
    private: bool


def push(
    folder: Path,
    sums: Mapping[str, str],
    repo: str,
    token: str,
    *,
    private: bool,
    over: bool,
    message: str,
    progress: Progress = lambda phase, done, total: None,
) -> Pushed:
    """Commit the files of `folder` named in `sums` (with the SHA-256 they must have), and look at what arrived.

    The repository is made where there is none. One that holds anything else is left alone unless `over`: then its other
    files are removed by the same commit, and stay in its history. StudioError where it cannot be done; then nothing was
    committed, but an empty repository may have been made. It changes how this process asks the hub: run it in one of
    its own.
    """
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    from huggingface_hub import CommitOperationDelete, HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError

    # Read when the hub's package was imported, which may have been before.
    constants.HF_HUB_DISABLE_XET = True
    api = HfApi(token=token)
    progress("asking", 0, 0)
    with _explained(repo, api.endpoint, token):
        _wait(ANSWER)
        _check_may_write(api, repo)
        try:
            there: ModelInfo | None = api.model_info(repo, files_metadata=True, timeout=ANSWER)
        except RepositoryNotFoundError:
            there = None
        added = _hashed(folder, sums, progress)
        if there:
            _check_there(there, repo, added, private, over)
        left = _others(there, added) if there else []
        _wait(PATIENCE)
        if there is None:
            api.create_repo(repo, private=private)
        sent = _Sent(sum(file.size for file in added.values()), progress)
        operations = [_watched(name, file, sent) for name, file in added.items()]
        sent.said()
        api.preupload_lfs_files(repo, operations, num_threads=2)
        progress("committing", 0, 0)
        commit = api.create_commit(
            repo,
            [*operations, *(CommitOperationDelete(name, is_folder=False) for name in left)],
            commit_message=message,
            parent_commit=there.sha if there else None,
        )
        arrived = api.model_info(repo, files_metadata=True, timeout=PATIENCE)
    wrong = sorted({*_changed(arrived, added), *_missing(arrived, added), *_others(arrived, added)})
    if wrong:
        raise StudioError(
            "What arrived in {repo} is not what was sent: {names}.",
            "Look at the repository, and push again.",
            repo=repo,
            names=_few(wrong),
        )
    return Pushed(
        f"{api.endpoint}/{repo}",
        commit.oid,
        len(added),
        sum(file.size for file in added.values()),
        bool(arrived.private),
    )


@dataclass(frozen=True)
class _File:
    """A file to be sent, by both of the names that a repository knows its content by."""

    path: Path
    size: int
    sha256: str
    blob: str
    """Git's SHA-1, which small files are known by."""


def _hashed(folder: Path, sums: Mapping[str, str], progress: Progress) -> dict[str, _File]:
    """The files, in the order of `sums`. StudioError where one is no longer what it was."""
    sizes = {name: _size(folder / name) for name in sums}
    total, done = sum(sizes.values()), 0
    found = {}
    for name, expected in sums.items():
        sha, blob = hashlib.sha256(), hashlib.sha1(f"blob {sizes[name]}\0".encode(), usedforsecurity=False)
        if sizes[name] >= 0:
            with (folder / name).open("rb") as file:
                while block := file.read(_BLOCK):
                    sha.update(block)
                    blob.update(block)
                    done += len(block)
                    progress("hashing", float(done), float(total))
        if sha.hexdigest() != expected:
            raise StudioError(
                "The file {file} is not the one that was proven.",
                "Export again: only what was proven is pushed.",
                file=name,
            )
        found[name] = _File(folder / name, sizes[name], expected, blob.hexdigest())
    return found


def _size(path: Path) -> int:
    """-1 where there is no such file."""
    return path.stat().st_size if path.is_file() else -1


def _check_may_write(api: HfApi, repo: str) -> None:
    """StudioError where the token is one for reading; who it belongs to is the hub's to judge."""
    who = api.whoami()
    role = who.get("auth", {}).get("accessToken", {}).get("role", "")
    if role == "read":
        raise StudioError(
            "The access token may only read, so nothing can be pushed to {repo}.",
            "Make one that may write in the hub's settings, under access tokens.",
            repo=repo,
        )


def _check_there(there: ModelInfo, repo: str, added: Mapping[str, _File], private: bool, over: bool) -> None:
    if private and not there.private:
        raise StudioError(
            "The repository {repo} is public.",
            "Make it private at the hub, choose another name, or say that it may be public (`--no-private`).",
            repo=repo,
        )
    held = sorted({*_others(there, added), *_changed(there, added)})
    if held and not over:
        raise StudioError(
            "The repository {repo} holds something else already: {names}.",
            "Choose another name, or say that it may be replaced (`--over`): what is there stays in its history.",
            repo=repo,
            names=_few(held),
        )


def _others(there: ModelInfo, added: Mapping[str, _File]) -> list[str]:
    names = (file.rfilename for file in there.siblings or [])
    return [name for name in names if name not in added and name not in _ITS_OWN]


def _changed(there: ModelInfo, added: Mapping[str, _File]) -> list[str]:
    """Files of our names with another content."""
    return [
        file.rfilename
        for file in there.siblings or []
        if file.rfilename in added
        and (
            file.lfs.sha256 != added[file.rfilename].sha256
            if file.lfs
            else file.blob_id != added[file.rfilename].blob
        )
    ]


def _missing(there: ModelInfo, added: Mapping[str, _File]) -> list[str]:
    return [*set(added) - {file.rfilename for file in there.siblings or []}]


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" … ({len(names)})" if len(names) > 4 else "")


class _Sent:
    """How far all files together are; a file that is sent again counts from where it begins."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.progress = total, progress
        self.at: dict[str, int] = {}
        self.lock = threading.Lock()

    def said(self, name: str = "", at: int = 0) -> None:
        with self.lock:
            self.at[name] = at
            self.progress("uploading", float(min(sum(self.at.values()), self.total)), float(self.total))


class _Counted(io.BufferedReader):
    """A file that says how far it was read."""

    def __init__(self, path: str, told: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self._told = told

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self._told(self.tell())
        return found


def _watched(name: str, file: _File, sent: _Sent) -> CommitOperationAdd:
    """What adds a file, and says how much of it was sent."""
    from huggingface_hub import CommitOperationAdd

    class Watched(CommitOperationAdd):
        @contextmanager
        def as_file(self, with_tqdm: bool = False) -> Iterator[BinaryIO]:
            # With a bar is how it is sent; without, how it is looked at.
            if not with_tqdm:
                with super().as_file() as plain:
                    yield plain
                return
            with _Counted(str(file.path), lambda at: sent.said(name, at)) as counted:
                yield counted

    added = Watched(name, str(file.path))
    added.upload_info.sha256 = bytes.fromhex(file.sha256)
    return added


def _wait(seconds: float) -> None:
    """From now on the hub's client gives up on an answer after so long, and on a connection after `ANSWER`."""
    from huggingface_hub import get_session, set_client_factory

    usual = get_session()
    kind, hooks = type(usual), usual.event_hooks
    # To connect, read, write, and get a connection of those that are open.
    limits = (ANSWER, seconds, seconds, seconds)
    set_client_factory(lambda: kind(event_hooks=hooks, follow_redirects=True, timeout=limits))


@contextmanager
def _explained(repo: str, endpoint: str, token: str) -> Iterator[None]:
    expected: tuple[type[Exception], ...] = (*failures(), RuntimeError, ValueError)
    try:
        yield
    except expected as error:
        raise explain(error, repo, endpoint, token) from error


def explain(error: Exception, repo: str, endpoint: str, token: str) -> StudioError:
    """Say in one sentence what went wrong between us and the hub, without the token."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    chain = list(causes(error))
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in chain):
        return StudioError("HF_HUB_OFFLINE forbids pushing to the hub.", "Unset it.")
    refused = next((cause for cause in chain if isinstance(cause, HfHubHTTPError)), None)
    status = refused.response.status_code if refused is not None else 0
    if status == 401:
        return StudioError(
            "The hub does not accept the access token.",
            "Copy it again from the hub's settings, or make a new one that may write.",
        )
    if status == 403:
        return StudioError(
            "The access token has no right to write to {repo}.",
            "Use a repository of your own, or a token that may write to this one.",
            repo=repo,
        )
    if status in (409, 412):
        return StudioError(
            "The repository {repo} was changed at the same time.",
            "Look at what is there, and push again.",
            repo=repo,
        )
    kinds = {kind.__name__ for cause in chain for kind in type(cause).__mro__}
    if kinds & {*UNREACHED, "TimeoutException"}:
        return StudioError(
            "The hub cannot be reached at {address} ({reason}).",
            "Check the connection and push again: the export stays as it is.",
            address=endpoint,
            reason=_hidden(reason_of(chain), token),
        )
    reason = (refused.server_message if refused is not None else None) or reason_of(chain)
    return StudioError(
        "The push to {repo} failed: {reason}.",
        "Try again: the export stays as it is, and what the hub has of its files is not sent twice.",
        repo=repo,
        reason=_hidden(reason, token).rstrip("."),
    )


def _hidden(text: str, token: str) -> str:
    return text.replace(token, "…")
