"""The set-up: what is pinned, what the Makefile does, and that container and CI take the same steps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements() -> list[Requirement]:
    extras = project()["optional-dependencies"].values()
    return [
        Requirement(line)
        for line in [*project()["dependencies"], *(line for extra in extras for line in extra)]
    ]


def pins(python: str) -> dict[str, list[Requirement]]:
    """The lines of constraints.txt that count for a version of Python, by canonical name."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if not pin.marker or pin.marker.evaluate({"python_version": python}):
                found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def make_targets() -> set[str]:
    """The targets a person calls, as the Makefile declares them."""
    return set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split())  # type: ignore[index]


# --- pins ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", PYTHONS)
def test_every_direct_dependency_is_pinned_once_for_each_python(python: str) -> None:
    pinned = pins(python)
    for requirement in requirements():
        lines = pinned.get(canonicalize_name(requirement.name), [])
        assert len(lines) == 1, f"{requirement.name} has {len(lines)} pins for Python {python}"
        (version,) = lines[0].specifier
        assert version.operator == "=="
        assert requirement.specifier.contains(version.version), f"{lines[0]} does not satisfy {requirement}"


def test_nothing_is_pinned_that_is_no_dependency() -> None:
    named = {canonicalize_name(requirement.name) for requirement in requirements()}
    assert set(pins("3.10")) | set(pins("3.12")) == named


def test_the_installed_versions_are_the_pinned_ones() -> None:
    from importlib.metadata import PackageNotFoundError, version

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    # Ray, and what a benchmark compares with, are installed by who uses them: their tests are skipped without.
    may_be_missing = {
        canonicalize_name(Requirement(line).name)
        for extra in ("bench", "ray", "ray-tests")
        for line in project()["optional-dependencies"][extra]
    }
    wrong = []
    for name, (pin,) in pins(python).items():
        try:
            if not pin.specifier.contains(version(name)):
                wrong.append(f"{pin} but {version(name)}")
        except PackageNotFoundError:
            if name not in may_be_missing:
                wrong.append(f"{pin} but it is missing")
    assert wrong == []


def test_nobody_s_package_index_is_named() -> None:
    for name in ("Makefile", "Dockerfile", "constraints.txt", "pyproject.toml", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "index-url" not in text
        assert "find-links" not in text
        assert not re.search(r"https?://(?!127\.0\.0\.1)", text), name


# --- the wheel -------------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_package_the_assets_and_the_command(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        commands = archive.read("finetuning_studio-0.1.0.dist-info/entry_points.txt").decode()
    shipped = {
        f"studio/assets/{path.relative_to(ROOT / 'assets').as_posix()}" for path in files(ROOT / "assets")
    }
    assert shipped
    assert shipped <= names
    assert {path.relative_to(ROOT).as_posix() for path in files(ROOT / "studio")} <= names
    assert commands == "[console_scripts]\nstudio = studio.cli:main\n"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


# --- make ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which nothing is installed yet."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # a make that runs these tests hands its own variables down; this one is to start afresh
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_help_lists_every_target(checkout: Path) -> None:
    listed = [line.split()[1] for line in make(checkout, "help").stdout.splitlines()]
    assert set(listed) == make_targets()


@pytest.mark.parametrize("target", ["install", "studio", "test", "check"])
def test_a_python_that_is_too_old_gets_one_sentence(checkout: Path, target: str) -> None:
    old = executable(checkout / "python3.9", "exit 1")
    done = make(checkout, target, f"PYTHON={old}")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        f"The studio needs Python 3.10 or later, and {old} is missing or older: "
        f"install it, or name one with: make {target} PYTHON=/path/to/python3.11"
    )
    assert not (checkout / ".venv").exists()


def test_no_python_at_all_gets_the_same_sentence(checkout: Path) -> None:
    bare = checkout / "bin"
    bare.mkdir()
    for tool in ("sh", "make", "id"):
        (bare / tool).symlink_to(shutil.which(tool) or tool)
    done = make(checkout, "install", PATH=str(bare))
    assert "The studio needs Python 3.10 or later, and python3 is missing or older: install it" in done.stderr
    assert done.returncode != 0


def test_a_newer_python_is_found_beside_an_old_python3(checkout: Path) -> None:
    bin_folder = checkout / "bin"
    bin_folder.mkdir()
    executable(bin_folder / "python3", "exit 1")
    executable(bin_folder / "python3.13", "exit 1")
    executable(bin_folder / "python3.12", f'exec "{sys.executable}" "$@"')
    done = make(checkout, ".venv/bin/python", PATH=f"{bin_folder}:/usr/bin:/bin", PIP_NO_INDEX="1")
    assert done.stdout.startswith("==> Making .venv with Python 3.")
    assert (checkout / ".venv" / "bin" / "python").exists()


def test_a_python_for_intel_macs_gets_one_sentence(checkout: Path) -> None:
    intel = executable(checkout / "python3", 'case "$2" in *platform*) exit 1 ;; esac')
    done = make(checkout, "install", f"PYTHON={intel}")
    assert done.stderr.splitlines()[0] == (
        f"{intel} is built for Intel Macs, for which there is no current PyTorch: "
        "use a Python for Apple silicon (arm64), or the Dockerfile."
    )


def test_debian_s_missing_venv_package_is_installed_or_named(checkout: Path) -> None:
    bin_folder = checkout / "bin"
    bin_folder.mkdir()
    bare_python = executable(
        bin_folder / "python3",
        f'case "$2" in *ensurepip*) test -f "{checkout}/installed" ;; *-venv*) echo python3.11-venv ;; '
        f'*) if [ "$1" = -m ]; then echo "$@" >"{checkout}/made"; exit 1; fi; echo Python 3.11.2 ;; esac',
    )
    executable(
        bin_folder / "apt-get",
        f'echo "$@" >>"{checkout}/apt"; case "$1" in install) : >"{checkout}/installed" ;; esac',
    )
    executable(bin_folder / "sudo", "exit 1")
    path = f"{bin_folder}:/usr/bin:/bin"

    executable(bin_folder / "id", "echo 1000")
    refused = make(checkout, "install", f"PYTHON={bare_python}", PATH=path)
    assert refused.stderr.splitlines()[0] == (
        f"{bare_python} cannot make virtual environments yet. Run: sudo apt-get install python3.11-venv"
    )
    assert not (checkout / "apt").exists()

    executable(bin_folder / "id", "echo 0")
    make(checkout, "install", f"PYTHON={bare_python}", PATH=path)
    assert (checkout / "apt").read_text() == "update -qq\ninstall -y -qq python3.11-venv\n"
    assert (checkout / "made").read_text() == "-m venv .venv\n"


def test_install_uses_the_pins_and_a_second_run_installs_nothing(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    executable(python, f'echo "$@" >>"{checkout}/pip"')
    home = checkout / "home"
    marker = home / "models" / "starter" / "studio-model.json"
    executable(checkout / ".venv" / "bin" / "studio", f'echo "$@" >>"{checkout}/studio"')

    assert make(checkout, "install", STUDIO_HOME=str(home)).returncode == 0
    assert (
        checkout / "pip"
    ).read_text() == "-m pip install --disable-pip-version-check -c constraints.txt -e .[serve]\n"
    assert (checkout / "studio").read_text() == "models get starter\n"

    marker.parent.mkdir(parents=True)
    marker.write_text("{}")
    again = make(checkout, "studio", STUDIO_HOME=str(home))
    assert (again.returncode, again.stdout) == (0, "")
    assert (checkout / "pip").read_text().count("\n") == 1
    assert (checkout / "studio").read_text() == "models get starter\nserve --host 127.0.0.1 --port 7860\n"


def test_a_failed_install_is_tried_again(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    executable(python, "exit 1")
    assert make(checkout, "install").returncode != 0
    assert not (checkout / ".venv" / ".installed").exists()


# --- container and CI ------------------------------------------------------------------------------------------------


def docker_steps(instruction: str) -> list[str]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    return re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)


def test_the_image_is_set_up_by_make_and_not_by_root() -> None:
    system, user, *ours = docker_steps("RUN")
    assert system.startswith("apt-get update && apt-get install")
    assert user.startswith("useradd ")
    assert ours == ["make install"]
    assert "install" in make_targets()
    assert docker_steps("USER") == ["studio"]
    assert docker_steps("VOLUME") == ["/data"]
    assert docker_steps("EXPOSE") == ["7860"]
    assert "STUDIO_HOME=/data" in docker_steps("ENV")[0]


def test_the_image_holds_all_that_make_install_reads() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == {
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "studio",
        "assets",
    }
    assert all((ROOT / name).exists() for name in kept)


def test_the_image_serves_to_others_only_behind_a_login() -> None:
    (command,) = docker_steps("CMD")
    assert "studio serve --host 0.0.0.0 --port 7860 --user" in command


def test_continuous_integration_runs_the_same_targets() -> None:
    import yaml

    script = (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert re.findall(r"^make (\w+)$", script, re.MULTILINE) == ["browser", "test"]
    assert "set -euo pipefail" in script
    assert "export STUDIO_BROWSER_REQUIRED=1" in script

    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert jobs["check"]["strategy"]["matrix"]["python"] == ["3.10", "3.12"]
    steps = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    assert "make check PYTHON=python" in steps
    assert ".ci/run" in steps
