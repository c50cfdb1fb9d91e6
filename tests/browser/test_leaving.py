"""What leaves the studio and what comes to it, clicked in a real Chromium: an export, its push, a run of elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studio.services import receipts
from studio.services.store import Store
from tests.browser.test_whole_way import Server, page, server, tab  # noqa: F401
from tests.hub import TOKEN, Hub, hub
from tests.services.test_receipts import run_of_elsewhere, second_machine

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from studio.services.run_files import RunFiles

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Hub]:
    with pytest.MonkeyPatch.context() as patch, hub() as found:
        patch.setenv("HF_ENDPOINT", found.url)
        patch.delenv("HF_HUB_OFFLINE", raising=False)
        patch.delenv("HF_TOKEN", raising=False)
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    return run_of_elsewhere(tmp_path_factory.mktemp("there"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, run: RunFiles, elsewhere: Hub) -> Path:
    """Another machine's, which has the base model; it knows the hub on loopback."""
    return second_machine(tmp_path_factory.mktemp("here"), run).home


def test_a_run_comes_in_is_exported_and_goes_out(
    page: Page,  # noqa: F811
    server: Server,  # noqa: F811
    tmp_path: Path,
    elsewhere: Hub,
    run: RunFiles,
) -> None:
    # A run of another machine
    archive = tmp_path / "run.zip"
    archive.write_bytes(b"".join(receipts.packed(Store(run.folder.parent.parent), run.id).chunks()))
    page.goto(f"{server.url}/#runs")
    page.locator("#runs").get_by_text("No runs yet").wait_for()  # the page listens
    page.locator("#import button").first.click()
    page.locator("#import-upload input[type=file]").set_input_files(str(archive))
    page.locator("#import-upload .file-preview").wait_for()
    page.locator("#import-start").click()
    page.locator("#import-told").get_by_text(f"{run.id} is in the list").wait_for()
    page.locator("#runs").get_by_text("tuned").first.wait_for()

    # Exported: only then is there something to push
    tab(page, "Export")
    page.locator("#set-export-to").get_by_text("Adapter only").click()
    assert not page.locator("#push").is_visible()
    page.locator("#export-start").click()
    page.locator("#exports").get_by_text("Passed").wait_for()
    page.locator("#push button").first.click()

    # What cannot be is said, and the token is asked for anew
    page.locator("#push-repo input, #push-repo textarea").fill("no name")
    page.locator("#push-token input").fill(TOKEN)
    page.locator("#push-start").click()
    page.get_by_text("is no name of a repository").wait_for()
    page.locator("#push-repo input, #push-repo textarea").fill("ann/support")
    page.locator("#push-token input").fill(TOKEN)
    page.locator("#push-start").click()
    page.locator("#push-told").get_by_text("Pushed:").wait_for()
    assert page.locator("#push-told a").get_attribute("href") == f"{elsewhere.url}/ann/support"
    assert page.locator("#push-token input").input_value() == ""
    kept = elsewhere.repositories["ann/support"]
    assert kept.private
    assert {"adapter_model.safetensors", "README.md", "receipt.json"} <= set(kept.files)
    assert not any(TOKEN.encode() in file.read_bytes() for file in server.home.rglob("*") if file.is_file())

    # Served from the button, and ended
    page.locator("#serve-start").click()
    page.locator("#serve-told").get_by_text("Only programs on this machine reach it").wait_for()
    page.locator("#serve-stop").click()
    page.locator("#serve-start").wait_for()
