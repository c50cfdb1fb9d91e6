"""What the studio's own code never does, read from its sources: nothing is unpickled, no shell is asked, no code of a
model's repository is run, and only the modules named here speak to other hosts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "studio"
SOURCES = {
    str(file.relative_to(PACKAGE)): ast.parse(file.read_text("utf-8")) for file in PACKAGE.rglob("*.py")
}

SPEAK_TO_OTHERS = {
    "engine/hub.py": "the hub, at its fixed address",
    "engine/wheel.py": "the package index that pip is set to, for the starter model",
    "services/ray_cluster.py": "a cluster, at an address typed on the command line or on a page for this machine alone",
    "services/judging.py": "a judge, at an address typed on the command line or on a page for this machine alone",
}
START_PROCESSES = {
    "engine/wheel.py",
    "services/chat.py",
    "services/endpoint_worker.py",
    "services/launch.py",
    "services/probe.py",
    "services/process.py",
}
NETWORK = {"httpx", "requests", "urllib.request", "aiohttp", "socket", "http.client", "ftplib", "smtplib"}
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


def name_of(node: ast.expr) -> str:
    """A dotted name, as `torch.load`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts, node = [node.attr, *parts], node.value
    return ".".join([node.id, *parts]) if isinstance(node, ast.Name) else ""


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    for file, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield file, name_of(node.func), node


def imports() -> Iterator[tuple[str, str]]:
    for file, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield file, node.module


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((given.value for given in call.keywords if given.arg == name), None)


def test_nothing_is_unpickled() -> None:
    assert [found for found in imports() if found[1].split(".")[0] in UNSAFE] == []
    loads = ("torch.load", "pandas.read_pickle", "pd.read_pickle", "joblib.load")
    assert [(file, name) for file, name, _ in calls() if name in loads] == []
    for file, name, call in calls():
        if name in ("numpy.load", "np.load"):
            said = keyword(call, "allow_pickle")
            assert isinstance(said, ast.Constant), (file, call.lineno)
            assert said.value is False, (file, call.lineno)


def test_no_text_is_run_as_code_and_no_shell_is_asked() -> None:
    run = {"eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput", "commands.getoutput"}
    assert [(file, name) for file, name, _ in calls() if name in run] == []
    assert [(file, call.lineno) for file, _, call in calls() if keyword(call, "shell") is not None] == []
    assert {file for file, name in imports() if name == "subprocess"} == START_PROCESSES
    yaml = [(file, name) for file, name, _ in calls() if name.startswith("yaml.") and "load" in name]
    assert {name for _, name in yaml} <= {"yaml.safe_load"}


def test_code_of_a_models_repository_is_never_run() -> None:
    said = [(file, keyword(call, "trust_remote_code")) for file, _, call in calls()]
    given = [(file, value) for file, value in said if value is not None]
    assert given
    for file, value in given:
        assert isinstance(value, ast.Constant), file
        assert value.value is False, file


def test_only_the_modules_named_here_speak_to_other_hosts() -> None:
    found = {file for file, name in imports() if name in NETWORK}
    assert found - {"services/addresses.py", "services/endpoint_worker.py"} == set(SPEAK_TO_OTHERS)


@pytest.mark.parametrize("word", ["share=True", 'allowed_paths=["', '0.0.0.0"'])
def test_no_option_opens_more_than_is_asked_for(word: str) -> None:
    allowed = {"services/addresses.py"} if word.startswith("0.0.0.0") else set()
    found = {
        str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if word in file.read_text("utf-8")
    }
    assert found <= allowed
