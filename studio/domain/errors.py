"""The one exception a person may see: what is wrong, where, and what to do."""

from __future__ import annotations

from typing import Any

from studio.domain.text import Text


class StudioError(Exception):
    """A mistake of the user's or of the environment, said in one sentence with its remedy.

    `template` and `remedy` are English literals with `{named}` values, because the translation is looked up by
    the template.

    >>> error = StudioError("Row {row} of {file} has no response.", "Fill it in or drop the row.", row=3, file="a.csv")
    >>> error.message
    'Row 3 of a.csv has no response.'
    """

    def __init__(self, template: str, remedy: str = "", **values: Any) -> None:
        self.text = Text(template, values)
        self.remedy_text = Text(remedy, values)
        super().__init__(str(self.text))

    @property
    def message(self) -> str:
        return str(self.text)

    @property
    def remedy(self) -> str:
        return str(self.remedy_text)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.text.template, self.remedy_text.template, dict(self.text.values)))


def _rebuild(template: str, remedy: str, values: dict[str, Any]) -> StudioError:
    return StudioError(template, remedy, **values)


class Stopped(Exception):
    """Raised inside the engine when `should_stop` said so; not an error."""
