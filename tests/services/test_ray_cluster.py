"""Runs on a Ray cluster: what is refused before it begins, and two real nodes of which one is killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from studio.domain.config import LaunchConfig, RunConfig, parse_config
from studio.domain.errors import StudioError
from studio.services.jobs import Jobs
from studio.services.ray_cluster import RayCluster
from studio.services.store import Store
from tests.clusters import Cluster, _free_port, cluster
from tests.services.test_jobs import losses
from tests.services.test_launch import said, wait
from tests.tiny import tiny_model

pytest.importorskip(
    "ray", reason="Ray is not installed: pip install -c constraints.txt -e '.[ray,ray-tests]'"
)


def refused(**launch: object) -> StudioError:
    with pytest.raises(StudioError) as caught:
        RayCluster(LaunchConfig.model_validate({"where": "ray", **launch})).prepare()
    return caught.value


def test_a_cluster_without_an_address_is_asked_for_one() -> None:
    assert refused().message == "A run on a Ray cluster needs its address."


def test_a_cluster_that_is_not_there_is_said_to_be_out_of_reach() -> None:
    address = f"http://127.0.0.1:{_free_port()}"
    assert refused(address=address).message.startswith(f"The Ray cluster at {address} cannot be reached")


def test_so_is_one_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert (
            refused(address=address).message == f"The Ray cluster at {address} cannot be reached: timed out."
        )


def test_an_address_that_is_none_and_a_storage_that_is_none_are_named() -> None:
    assert "cannot be reached" in refused(address="not an address").message
    message = refused(address="http://127.0.0.1:1", storage="/somewhere").message
    assert message == "/somewhere is no place that a run can be exchanged over."


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    with cluster(2) as made:
        made.add(2)
        yield made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    tiny_model(store.models_dir / "tiny")
    return store


@pytest.fixture(scope="module")
def config(store: Store, two_nodes: Cluster) -> RunConfig:
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(12)]
    file = store.home / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return parse_config(
        {
            "model": {"id": "tiny"},
            "data": {"path": str(file)},
            "train": {
                "method": "lora",
                "dtype": "float32",
                "epochs": 100,
                "batch_size": 4,
                "save_steps": 10,
                "eval_steps": 150,
            },
            "launch": {"where": "ray", "address": two_nodes.address, "processes": 2},
        }
    )


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that speaks S3, with one bucket."""
    pytest.importorskip("moto", reason="moto is not installed: it comes with the extra [ray-tests]")
    port = _free_port()
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    try:
        for _ in range(300):
            with suppress(httpx.HTTPError):
                if httpx.put(f"{address}/bucket").status_code == 200:
                    break
            time.sleep(0.2)
        yield f"s3://bucket/studio?endpoint={address}"
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_a_cluster_without_room_says_how_much_there_is(two_nodes: Cluster) -> None:
    message = refused(address=two_nodes.address, processes=9).message
    assert (
        message == f"The Ray cluster at {two_nodes.address} has no room: 4 of 4 CPUs are free, 9 are needed."
    )


@pytest.mark.slow
def test_a_run_goes_over_an_object_store_and_back(store: Store, config: RunConfig, storage: str) -> None:
    jobs = Jobs(store)
    run = jobs.submit(config.with_values({"launch.storage": storage, "train.max_steps": 30}))
    wait(jobs, run, until="finished")
    assert list(losses(jobs, run)) == list(range(1, 31))
    assert jobs.files(run).has_result()
    assert (jobs.files(run).checkpoints / "step-000030" / "progress.json").is_file()


@pytest.mark.slow
def test_a_storage_without_the_bucket_is_named(storage: str, two_nodes: Cluster) -> None:
    other = storage.replace("bucket", "nowhere")
    assert refused(address=two_nodes.address, storage=other).message == (
        f"The storage {other} has no bucket nowhere."
    )


@pytest.mark.slow
def test_a_node_that_is_killed_costs_the_steps_since_the_last_checkpoint(
    store: Store, config: RunConfig, two_nodes: Cluster
) -> None:
    """The last test: the node stays dead."""
    jobs = Jobs(store)
    run = jobs.submit(config)
    wait(jobs, run, step=25)
    two_nodes.kill(1)
    wait(jobs, run, until="finished")
    assert any("A process of the run was lost" in text for text in said(jobs, run))
    started = [event.step for event in jobs.events(run)[0] if event.type == "started"]
    assert started[0] == 0
    assert min(started[1:]) >= 10
    assert sorted(losses(jobs, run)) == list(range(1, jobs.get(run).steps + 1))
    assert os.path.isdir(jobs.files(run).adapter)
