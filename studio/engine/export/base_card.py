"""What an export's card says of the base model: its name, its licence, and what a hub calls both."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from studio.engine.export.merge import is_hub_id
from studio.engine.tuned import TunedRun

_HUB_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
"""Of a licence in a hub's header."""


@dataclass(frozen=True)
class Licence:
    """As the base's own files name it; all is empty where they name none."""

    id: str = ""
    name: str = ""
    """Where the id is only `other`."""
    link: str = ""

    @property
    def known(self) -> bool:
        return bool(self.id)

    @property
    def sentence(self) -> str:
        if not self.known:
            return "It names no licence in its files, so its licence is unknown here: see where it was published."
        return f"Its licence is {self.name or self.id}{f' ({self.link})' if self.link else ''}."

    def front(self) -> dict[str, str]:
        """The lines of a hub's header; `unknown` is a hub's word for it too."""
        found = {"license": self.id or "unknown", "license_name": self.name, "license_link": self.link}
        return {name: value for name, value in found.items() if value}


def licence_of(model_path: Path) -> Licence:
    """The base's licence: by its own card, its config, or the starter's mark."""
    front = _front(model_path / "README.md")
    named = front.get("license") or _json(model_path / "config.json").get("license")
    if isinstance(named, list):
        named = named[0] if named else None
    named = named or starter_mark(model_path).get("licence")
    if not isinstance(named, str):
        return Licence()
    link = front.get("license_link")
    link = link if isinstance(link, str) else ""
    if _HUB_NAME.fullmatch(named.lower()) and named.lower() != "other":
        return Licence(named.lower(), link=link)
    name = front.get("license_name")
    return Licence("other", name if isinstance(name, str) else named, link)


def base_name(run: TunedRun) -> str:
    """What a person calls the base."""
    return str(
        starter_mark(run.model_path).get("name")
        or (run.config.model.id if is_hub_id(run) else run.model_path.name)
    )


def starter_mark(model_path: Path) -> dict[str, Any]:
    return _json(model_path / "studio-model.json")


def _front(readme: Path) -> dict[str, Any]:
    """The YAML that a model's card begins with; {} where there is none that can be read."""
    if not readme.is_file():
        return {}
    text = readme.read_text(encoding="utf-8", errors="replace")
    try:
        front = yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---") else None
    except (yaml.YAMLError, IndexError):
        front = None
    return front if isinstance(front, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return data
