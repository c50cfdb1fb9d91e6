"""A proven export on its way to a hub: what arrives is what was proven, and the token is nowhere else."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.domain.config import ExportConfig
from studio.domain.errors import StudioError
from studio.services import exports, pushing, tasks
from studio.services.store import Store
from tests.hub import TOKEN, Hub, Repository, hub
from tests.runs import finished_run

REPO = "ann/support"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """A home, and a proven export of its run."""
    store = Store(tmp_path_factory.mktemp("home"))
    run = finished_run(store)
    folder = tmp_path_factory.mktemp("out") / "adapter"
    result = exports.run_export(store, run.id, ExportConfig(to="adapter"), folder, lambda *_: None)
    assert result.verified is not None
    assert result.verified.passed
    return store, folder


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield found


def pushed(made: tuple[Store, Path], **options: bool) -> dict[str, object]:
    store, folder = made
    return tasks.wait(store, pushing.start(store, folder, REPO, TOKEN, **options), lambda *_: None)


def refused(made: tuple[Store, Path], **options: bool) -> str:
    with pytest.raises(StudioError) as refusal:
        pushed(made, **options)
    return str(refusal.value)


def test_what_arrives_is_what_was_proven_to_the_byte_and_no_file_holds_the_token(
    made: tuple[Store, Path], there: Hub
) -> None:
    store, folder = made
    found = pushed(made)
    kept = there.repositories[REPO]
    sent = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert {name: data for name, data in kept.files.items() if name != ".gitattributes"} == sent
    assert "adapter_model.safetensors" in kept.large
    assert (found["url"], found["files"], found["bytes"]) == (
        f"{there.url}/{REPO}",
        len(sent),
        sum(map(len, sent.values())),
    )
    assert (kept.private, found["private"], len(kept.commits)) == (True, True, 1)
    for path in [*store.home.rglob("*"), *folder.rglob("*")]:
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_the_same_export_is_pushed_again_without_sending_its_weights_twice(
    made: tuple[Store, Path], there: Hub
) -> None:
    pushed(made)
    there.asked.clear()
    pushed(made)
    assert not [asked for asked in there.asked if asked.startswith("PUT")]


def test_a_repository_with_something_else_is_left_alone_until_it_is_said(
    made: tuple[Store, Path], there: Hub
) -> None:
    there.repositories[REPO] = Repository(True, {"notes.txt": b"mine"})
    assert "holds something else already: notes.txt" in refused(made)
    assert there.repositories[REPO].files == {"notes.txt": b"mine"}
    pushed(made, over=True)
    assert "notes.txt" not in there.repositories[REPO].files


def test_a_public_repository_is_not_taken_for_a_private_one(made: tuple[Store, Path], there: Hub) -> None:
    there.repositories[REPO] = Repository(False)
    assert refused(made).startswith("The repository ann/support is public.")
    assert pushed(made, private=False)["private"] is False


def test_tokens_that_are_wrong_or_may_only_read_are_told_apart(made: tuple[Store, Path], there: Hub) -> None:
    store, folder = made
    wrong = "hf_" + "w" * 30
    with pytest.raises(StudioError, match=r"The hub does not accept the access token\.") as refusal:
        tasks.wait(store, pushing.start(store, folder, REPO, wrong), lambda *_: None)
    assert wrong not in str(refusal.value)
    there.role = "read"
    assert refused(made).startswith("The access token may only read")
    there.role, there.refuses = "write", 403
    assert refused(made).startswith("The access token has no right to write to ann/support.")
    assert there.repositories == {}


def test_a_hub_that_cannot_be_reached_is_said_and_named(
    made: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert refused(made).startswith(f"The hub cannot be reached at {address}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert refused(made) == "HF_HUB_OFFLINE forbids pushing to the hub. Unset it."


@pytest.mark.parametrize(
    "repo", ["support", "ann/", "ann/a b", "../x", "ann/sup--port", "a/b/c", "ann/x.git"]
)
def test_what_is_no_name_of_a_repository_is_refused_at_once(made: tuple[Store, Path], repo: str) -> None:
    with pytest.raises(StudioError, match="is no name of a repository"):
        pushing.start(*made, repo, TOKEN)


@pytest.mark.parametrize("token", ["", "  ", "hf_a b", "hf_\nx", "hf_é"])
def test_what_cannot_be_a_token_is_refused_without_being_quoted(made: tuple[Store, Path], token: str) -> None:
    with pytest.raises(StudioError) as refusal:
        pushing.start(*made, REPO, token)
    assert not token.strip() or token not in str(refusal.value)


def test_an_export_that_failed_its_proof_or_was_changed_since_is_not_pushed(
    made: tuple[Store, Path], there: Hub, tmp_path: Path
) -> None:
    store, folder = made
    copy = shutil.copytree(folder, tmp_path / "copy")
    card = copy / "README.md"
    card.write_text(card.read_text("utf-8") + "More.\n", encoding="utf-8")
    assert "The file README.md is not the one that was proven." in refused((store, copy))
    proof = json.loads((copy / "verification.json").read_text("utf-8"))
    (copy / "verification.json").write_text(json.dumps({**proof, "passed": False}), encoding="utf-8")
    with pytest.raises(StudioError, match="failed its comparison"):
        pushing.start(store, copy, REPO, TOKEN)
    assert there.repositories == {}


def test_a_push_can_be_cancelled(made: tuple[Store, Path], there: Hub) -> None:
    store, folder = made
    task = pushing.start(store, folder, REPO, TOKEN)
    tasks.cancel(store, task)
    time.sleep(1)
    assert tasks.status(store, task).state == "stopped"
    assert there.repositories == {}
