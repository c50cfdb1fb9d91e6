"""A run handed to a Ray cluster of two nodes from the page, followed there, stopped and resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from studio.services.jobs import Jobs
from studio.services.ray_cluster import token_header
from studio.services.store import Store
from tests.browser.test_whole_way import LONG, Server, home, page, server  # noqa: F401
from tests.clusters import Cluster, cluster

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip(
    "ray", reason="Ray is not installed: pip install -c constraints.txt -e '.[ray,ray-tests]'"
)
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    with cluster(1) as made:
        made.add(1)
        yield made


def fill(page: Page, field: str, value: str) -> None:  # noqa: F811
    box = page.locator(f"#set-{field} input, #set-{field} textarea").first
    box.fill(value)
    box.blur()


def test_a_run_on_a_cluster_is_started_followed_stopped_and_resumed_in_the_page(
    page: Page,  # noqa: F811
    server: Server,  # noqa: F811
    two_nodes: Cluster,
    tmp_path: Path,
) -> None:
    rows = [{"prompt": f"What is thing {n}?", "completion": f"It is number {n}."} for n in range(40)]
    file = tmp_path / "things.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    page.goto(server.url)
    page.locator("#samples .act").first.wait_for()
    page.locator("#upload input[type=file]").set_input_files(str(file))
    page.locator("#data-summary").get_by_text("things.jsonl").first.wait_for()
    page.locator("#mode-choice").get_by_text("Domain").click()

    page.get_by_role("tab", name="Hyperparameters").click()
    page.locator("#estimate").get_by_text("steps", exact=False).first.wait_for()
    page.locator("#advanced > button").click()
    fill(page, "train-max_steps", "8")
    fill(page, "train-save_steps", "2")
    page.locator("#set-launch-where label").get_by_text("A Ray cluster", exact=True).click()
    fill(page, "launch-address", "http://127.0.0.1:1")
    fill(page, "launch-processes", "2")

    # An address at which there is none is said before a run is written
    page.get_by_role("tab", name="Training").click()
    page.locator("#start").click()
    page.get_by_text("cannot be reached", exact=False).first.wait_for()
    jobs = Jobs(Store(server.home))
    assert jobs.list() == []

    page.get_by_role("tab", name="Hyperparameters").click()
    fill(page, "launch-address", two_nodes.address)
    page.get_by_role("tab", name="Training").click()
    page.locator("#start").click()
    page.locator("#run-status").get_by_text("Running").wait_for(timeout=LONG)
    page.locator("#loss-plot svg path").first.wait_for(timeout=LONG)
    page.locator("#stop").click()
    page.locator("#run-status").get_by_text("Stopped").wait_for(timeout=LONG)
    page.locator("#resume").click()
    page.locator("#run-status").get_by_text("Finished").wait_for(timeout=LONG)

    (run,) = jobs.list()
    launch = jobs.config(run.id).launch
    assert (launch.where, launch.processes, launch.address) == ("ray", 2, two_nodes.address)
    told = httpx.get(f"{two_nodes.address}/api/jobs/", headers=token_header(), timeout=10).json()
    assert sorted(job["status"] for job in told)[-1:] == ["SUCCEEDED"], told
    assert jobs.files(run.id).adapter.is_dir()
