"""A sentence for a person: an English template and its values, so that it can be said in another language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Text:
    """An English template with named values; the template is also the key of its translation.

    >>> str(Text("Row {row} has no response.", {"row": 3}))
    'Row 3 has no response.'
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format_map(self.values) if self.values else self.template

    def translated(self, translations: Mapping[str, str]) -> str:
        """The sentence in another language, or in English where `translations` lacks the template."""
        template = translations.get(self.template, self.template)
        return template.format_map(self.values) if self.values else template

    def to_json(self) -> dict[str, Any]:
        return {"template": self.template, "values": dict(self.values)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Text:
        return cls(data["template"], dict(data.get("values", {})))
