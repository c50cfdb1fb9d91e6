"""What can go wrong between us and the hub, and which of it did."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["gated", "unknown", "no_revision", "refused", "offline", "name", "unreached", "broken"]
_NUMBER = re.compile(r"^\[Errno -?\d+\] ")
UNREACHED = frozenset({"ConnectError", "ConnectTimeout", "ProxyError"})
"""Names of httpx's errors before a connection stands; its package is called otherwise in each version of the hub's."""


@dataclass(frozen=True)
class Failure:
    """`reason` is what the innermost error says, `status` the hub's answer where it refuses."""

    kind: Kind
    reason: str
    status: int = 0


def failures() -> tuple[type[Exception], ...]:
    """Errors to catch around calls of huggingface_hub."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        RevisionResolutionError,
        XetDownloadError,
    )

    # hub 1.x stands on httpx, 2.x on httpx2; their own errors come through where a connection breaks off
    transport = next(kind for kind in HfHubHTTPError.__mro__ if kind.__module__.startswith("httpx"))
    return (transport, HFValidationError, RevisionResolutionError, XetDownloadError, OSError)


def failure_of(error: Exception) -> Failure:
    """Which of it an error of `failures` is."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    kinds: tuple[tuple[type[BaseException], Kind], ...] = (
        (GatedRepoError, "gated"),  # is a RepositoryNotFoundError, too
        (RepositoryNotFoundError, "unknown"),
        (RevisionNotFoundError, "no_revision"),
        (OfflineModeIsEnabled, "offline"),
        (HFValidationError, "name"),
    )
    chain = list(causes(error))
    reason = reason_of(chain)
    for cause in chain:
        for sort, kind in kinds:
            if isinstance(cause, sort):
                return Failure(kind, reason)
        if isinstance(cause, HfHubHTTPError) and cause.response.status_code in (401, 403):
            return Failure("refused", reason, cause.response.status_code)
    unreached = UNREACHED & {kind.__name__ for cause in chain for kind in type(cause).__mro__}
    return Failure("unreached" if unreached else "broken", reason)


def reason_of(chain: Sequence[BaseException]) -> str:
    """What the innermost failure says, without its number."""
    said = _NUMBER.sub("", str(chain[-1]).strip().split("\n")[0]).rstrip(".")
    if said:
        return said
    late = any(kind.__name__ == "TimeoutException" for kind in type(chain[-1]).__mro__)
    return "no answer in time" if late else type(chain[-1]).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, the innermost last."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
