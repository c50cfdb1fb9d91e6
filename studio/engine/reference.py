"""docs/settings.md, made from the config classes: python -m studio.engine.reference > docs/settings.md"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from studio.domain.config import SECTIONS, Setting, settings

_INTRODUCTION = """# Settings

Every setting of a run, as `section.name` in a config file, after `--set` on the command line and in the page's form.
This page is made from the classes in `studio/domain/config.py` (`python -m studio.engine.reference >
docs/settings.md`); a test keeps it true. A default of *fitting* means that the studio chooses what fits the data, model
and machine, and says why.
"""


def reference() -> str:
    """The whole page as Markdown."""
    parts = [_INTRODUCTION]
    for section in SECTIONS:
        parts.append(f"\n## {section}\n")
        for setting in settings(section):
            parts.extend(_entry(setting))
    return "\n".join(parts).rstrip() + "\n"


def _entry(setting: Setting) -> Iterator[str]:
    yield f"### `{setting.key}`: {setting.label}\n"
    yield f"{setting.help}\n"
    facts = [f"default: {_default(setting)}"]
    if setting.choices:
        facts.append("one of " + ", ".join(f"`{choice}`" for choice in setting.choices))
    if setting.minimum is not None or setting.maximum is not None:
        facts.append(f"from {_number(setting.minimum)} to {_number(setting.maximum)}")
    if setting.unit:
        facts.append(f"in {setting.unit}")
    if setting.only_with:
        other, values = setting.only_with
        facts.append(f"only with `{other}` " + " or ".join(f"`{value}`" for value in values))
    if setting.by_method:
        facts.append(
            "usually "
            + ", ".join(
                f"{low:g} to {high:g} for `{method}`" for method, (low, high) in setting.by_method.items()
            )
        )
    if setting.recommended:
        facts.append(f"usually {setting.recommended[0]:g} to {setting.recommended[1]:g}")
    yield "- " + "; ".join(facts)
    if setting.source:
        yield f"- Source: {setting.source}."
    yield ""


def _default(setting: Setting) -> str:
    if setting.default == "auto" or (
        setting.default is None and setting.kind in ("number", "integer", "boolean")
    ):
        return "*fitting*" if setting.empty == "fitting" else "none"
    return "none" if setting.default in (None, []) else f"`{setting.default}`"


def _number(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


if __name__ == "__main__":
    sys.stdout.write(reference())
