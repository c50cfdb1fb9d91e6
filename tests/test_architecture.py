"""The shape of the house: imports run one way, and the page comes up without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("domain", "engine", "services", "ui")
MODULES = sorted((ROOT / "studio").rglob("*.py"))
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "bitsandbytes", "accelerate")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_from_the_page_to_the_domain_and_never_back(path: Path) -> None:
    layer = path.relative_to(ROOT / "studio").parts[0]
    if layer not in LAYERS:
        return
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "studio" and len(parts) > 1 and parts[1] in LAYERS:
            assert parts[1] in allowed, f"{path} imports {name}"
        if layer != "ui":
            assert parts[0] != "gradio", f"{path} imports gradio"


def test_the_domain_needs_the_standard_library_and_pydantic_only() -> None:
    for path in (ROOT / "studio" / "domain").glob("*.py"):
        for name in imported(path):
            head = name.split(".")[0]
            assert head in {"studio", "pydantic"} or head in sys.stdlib_module_names, f"{path} imports {name}"


@pytest.mark.parametrize("module", ["studio", "studio.ui.app", "studio.cli", "studio.services.plan"])
def test_torch_stays_out_until_a_model_is_wanted(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_module_opens_with_one_sentence_of_purpose() -> None:
    for path in MODULES:
        purpose = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert purpose, path
