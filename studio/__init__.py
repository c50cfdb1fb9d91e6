"""A studio that takes a data file to a tuned, exported model; this package's public Python API.

>>> import studio
>>> store = studio.Store("home")                                                     # doctest: +SKIP
>>> run = studio.Jobs(store).submit(studio.load_config("run.yaml"))                  # doctest: +SKIP

Each name is imported when it is first used, so that `import studio` is quick and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.domain.config import RunConfig as RunConfig
    from studio.domain.config import parse_config as parse_config
    from studio.domain.errors import StudioError as StudioError
    from studio.engine.checks import clean as clean
    from studio.engine.checks import run_checks as run_checks
    from studio.engine.config_file import load_config as load_config
    from studio.engine.dataset import read as read
    from studio.engine.dataset import write_messages as write_messages
    from studio.engine.encode import encode as encode
    from studio.services.chat import ChatProcess as ChatProcess
    from studio.services.exports import run_export as run_export
    from studio.services.jobs import Jobs as Jobs
    from studio.services.plan import plan as plan
    from studio.services.plan import preview_row as preview_row
    from studio.services.store import Store as Store

__version__ = "0.1.0"

_HOMES = {
    "RunConfig": "studio.domain.config",
    "parse_config": "studio.domain.config",
    "StudioError": "studio.domain.errors",
    "load_config": "studio.engine.config_file",
    "read": "studio.engine.dataset",
    "write_messages": "studio.engine.dataset",
    "run_checks": "studio.engine.checks",
    "clean": "studio.engine.checks",
    "encode": "studio.engine.encode",
    "preview_row": "studio.services.plan",
    "plan": "studio.services.plan",
    "Store": "studio.services.store",
    "Jobs": "studio.services.jobs",
    "ChatProcess": "studio.services.chat",
    "run_export": "studio.services.exports",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'studio' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
