"""A configuration class and its widgets: what is shown, what was typed, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.domain.config import (
    SECTIONS,
    RunConfig,
    Setting,
    applies,
    describe,
    merge,
    parse_config,
    settings,
)
from studio.domain.errors import StudioError
from studio.domain.machine import Machine
from studio.domain.text import Text
from studio.engine.optimizers import unavailable
from studio.services import apart
from studio.ui.i18n import LANGUAGES, Words, message_of, t, words

if TYPE_CHECKING:
    from studio.services.plan import Plan
    from studio.services.store import Store
    from studio.ui.page import Draft

ELSEWHERE = frozenset(
    {"model.id", "model.adapter", "data.path", "data.format", "data.columns", "data.read_as"}
    | {"data.held_out_path", "data.general_share", "data.general_path"}
    | {f"template.{name}" for name in ("name", "source", "turns", "reasoning", "tool_calls", "prompts")}
)
"""Settings that other places of the page ask for."""
GROUPS: dict[str, tuple[str, ...]] = {
    "adapter": (
        "train.rank",
        "train.alpha",
        "train.rank_stabilized",
        "train.dora",
        "train.adapter_start",
        "train.lora_plus_ratio",
        "train.dropout",
        "train.target_modules",
    ),
    "optimiser": (
        "train.optimizer",
        "train.scheduler",
        "train.warmup_ratio",
        "train.decay_ratio",
        "train.weight_decay",
        "train.max_grad_norm",
        "train.neftune_alpha",
        "train.max_steps",
        "train.seed",
    ),
    "memory": (
        "data.max_rows",
        "train.max_length",
        "data.overlong",
        "train.micro_batch_size",
        "train.packing",
        "train.plain",
        "train.dtype",
        "train.gradient_checkpointing",
    ),
    "measure": (
        "data.held_out_share",
        "evaluate.rows",
        "train.eval_steps",
        "train.patience",
        "train.result",
        "train.save_steps",
        "train.keep_checkpoints",
        "train.report_to",
        "evaluate.sample_rows",
        "evaluate.sample_prompts",
        "evaluate.sample_steps",
        "evaluate.sample_tokens",
    ),
    "launch": (
        "launch.where",
        "launch.processes",
        "launch.strategy",
        "launch.restarts",
        "launch.address",
        "launch.storage",
    ),
}
"""Where an advanced setting stands; what is named nowhere comes last, under `other`."""
_AUTO = "auto"
_ANY_DATA = {"data": {"path": "rows.jsonl"}}


def form_settings() -> list[Setting]:
    """Every setting that the form asks for, in the order of the configuration."""
    found = [s for section in SECTIONS for s in settings(section)]
    name = describe("", "name", RunConfig.model_fields["name"])
    return [s for s in found if s.key not in ELSEWHERE] + [replace(name, advanced=True)]


def first_settings() -> list[Setting]:
    return [s for s in form_settings() if not s.advanced]


def grouped_settings() -> Iterator[tuple[str, list[Setting]]]:
    """The advanced settings, by group."""
    advanced = {s.key: s for s in form_settings() if s.advanced}
    for group, keys in GROUPS.items():
        yield group, [advanced.pop(key) for key in keys]
    yield "other", list(advanced.values())


def widget(setting: Setting) -> gr.components.Component:
    """The control for one setting. Numbers are typed as text, so that a mistake can be answered with a sentence."""
    common: dict[str, Any] = {
        "label": t(f"setting.{setting.key}.label"),
        "info": t(f"form.{setting.key}.info"),
        "elem_id": _element(setting.key),
        "elem_classes": "field",
        "min_width": 200,
    }
    if setting.kind == "choice":
        return gr.Radio(choices(setting), value=_plain(setting), **common)
    if setting.kind == "several":
        return gr.CheckboxGroup(choices(setting), value=[], **common)
    if setting.kind == "boolean" and setting.optional:
        return gr.Radio([(t("form.yes"), "yes"), (t("form.no"), "no")], value=None, **common)
    if setting.kind == "boolean":
        return gr.Checkbox(value=bool(setting.default), **common)
    empty = t("form.auto") if setting.empty == "fitting" else t("form.none")
    return gr.Textbox(
        value=text_of(setting, setting.default),
        lines=setting.lines,
        max_lines=setting.lines,
        placeholder=empty,
        **common,
    )


def _plain(setting: Setting) -> str | None:
    return None if setting.default == _AUTO else str(setting.default)


def text_of(setting: Setting, value: Any) -> Any:
    """A setting's value as its widget holds it.

    >>> rate = next(s for s in form_settings() if s.key == "train.learning_rate")
    >>> text_of(rate, 0.0004), text_of(rate, None), text_of(rate, "abc")
    ('0.0004', '', 'abc')
    """
    if setting.kind == "choice":
        return None if value in (None, _AUTO) else value
    if setting.kind == "boolean":
        return value if not setting.optional else {True: "yes", False: "no"}.get(value)
    if setting.kind == "several":
        return [*(value or [])]
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def typed(setting: Setting, held: Any) -> Any:
    """What a widget holds, as a setting's value; text that is no number stays text. None gives it back to the default.

    >>> rate = next(s for s in form_settings() if s.key == "train.learning_rate")
    >>> typed(rate, " 4e-4 "), typed(rate, "abc"), typed(rate, "")
    (0.0004, 'abc', None)
    """
    if setting.kind == "boolean":
        return held if not setting.optional else {"yes": True, "no": False}.get(held)
    if not isinstance(held, str):
        return held
    held = held.strip()
    if not held:
        return None
    if setting.kind == "list":
        return [part.strip() for part in held.split(",") if part.strip()]
    return _number(held) if setting.kind in ("integer", "number") else held


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def problems(draft: Draft, source: str) -> dict[str, StudioError]:
    """What is wrong with each value of the draft, taken by itself."""
    found = {}
    for key, value in draft.values.items():
        try:
            parse_config(merge(_ANY_DATA, {key: value}), source=source)
        except StudioError as error:
            found[key] = error
    return found


def sound(draft: Draft) -> Draft:
    """The draft without the values that are wrong, so that the rest can be looked at."""
    wrong = problems(draft, "")
    return replace(draft, values={key: value for key, value in draft.values.items() if key not in wrong})


def reads_large_files(store: Store, draft: Draft) -> bool:
    """Whether what is asked about the draft's rows takes longer than somebody waits without a word."""
    return apart.reads_large_files(sound(draft).config(store))


def planned(store: Store, draft: Draft) -> Plan:
    """What the sound part of the draft comes to: every setting filled in, and the estimate."""
    from studio.services.plan import plan

    config = sound(draft).config(store)
    return apart.work(config, plan, store, config)


@dataclass(frozen=True)
class Looks:
    """How a control looks beside its value: what is wrong with that, whether it does anything, what it cannot offer."""

    complaint: str = ""
    applies: bool = True
    missing: Mapping[str, Text] = field(default_factory=dict)
    """Choices that this machine cannot do, each with the reason."""


PLAIN = Looks()


def looks(
    say: Words,
    setting: Setting,
    draft: Draft,
    config: RunConfig | None,
    fault: StudioError | None,
    missing: Mapping[str, Text],
) -> Looks:
    """How a control looks under the draft, whose plan is `config` if it comes to one."""
    config = config or parse_config(merge(_ANY_DATA, sound(draft).values))
    return Looks(complaint(say, fault) if fault else "", applies(setting, config), missing)


def look(say: Words, setting: Setting, looks: Looks) -> dict[str, Any]:
    """The properties that make a control look so."""
    found: dict[str, Any] = {
        "info": looks.complaint or info(say, setting, looks.missing.values()),
        "elem_classes": ["field", "wrong"] if looks.complaint else ["field"],
        "visible": looks.applies,
    }
    return found | ({"choices": choices(setting, looks.missing)} if looks.missing else {})


def missing(machine: Machine) -> dict[str, Mapping[str, Text]]:
    """By setting, the choices that a machine cannot do, each with the reason."""
    return {"train.optimizer": unavailable(machine)}


def choices(setting: Setting, missing: Container[str] = ()) -> list[tuple[Any, str]]:
    """What a choice offers, without what this machine cannot do."""
    return [
        (t(f"choice.{setting.key}.{choice}"), choice)
        for choice in setting.choices
        if choice != _AUTO and choice not in missing
    ]


def info(say: Words, setting: Setting, missing: Iterable[Text] = ()) -> str:
    """The line beneath a label: help, recommended range, where it comes from, and why a choice is missing."""
    parts = [say.help(setting), *dict.fromkeys(say.text(reason) for reason in missing)]
    if setting.by_method:
        ranges = [
            say(
                "form.range.of",
                method=say(f"choice.train.method.{method}"),
                low=_short(low),
                high=_short(high),
            )
            for method, (low, high) in setting.by_method.items()
        ]
        parts.append(say("form.ranges", ranges=say("form.ranges.and").join(ranges)))
    if setting.recommended:
        low, high = setting.recommended
        unit = f" {say(f'unit.{setting.unit}')}" if setting.unit else ""
        parts.append(say("form.range", low=_short(low), high=_short(high), unit=unit))
    if setting.source:
        parts.append(say("form.source", source=say.message(setting.source)))
    return " ".join(parts)


def _short(number: float) -> str:
    """
    >>> _short(1e-05), _short(0.002), _short(8)
    ('1e-5', '0.002', '8')
    """
    return f"{number:g}".replace("e-0", "e-")


def complaint(say: Words, error: StudioError) -> str:
    """What is wrong with a field, in the place of its help."""
    return " ".join(message_of(say, error)).strip()


def composed_texts() -> Mapping[str, Mapping[str, str]]:
    """The fields' info lines by language, for the page's static texts."""
    return {
        language: {f"form.{setting.key}.info": info(words(language), setting) for setting in form_settings()}
        for language in LANGUAGES
    }


TOLD = "#told"
"""In what a form shows: the number of the last event that its `changed` has seen."""


@dataclass(frozen=True)
class Edits:
    """What a person did to the fields of a form."""

    touched: Container[str]
    """The settings whose fields were touched since the page was loaded."""
    texts: Mapping[str, str]
    """What was written into fields since the last event that was seen, by the settings' keys."""
    number: int
    """Of this event, from 1."""


def collect(
    fields: Iterable[Setting],
    draft: Draft,
    held: Iterable[Any],
    shown: Mapping[str, Any],
    edits: Edits,
) -> tuple[Draft, dict[str, Any], set[str]]:
    """The draft after typing, what was typed by key, and where the page has written over it since.

    Typed is where a widget that a person touched holds something else than was put there; of the others, some may not
    yet hold what was put there last. An answer that came between the keys and this call has put its own value over what
    was typed: then what was written counts.
    """
    changed, over = {}, set()
    for setting, value in zip(fields, held, strict=True):
        key = setting.key
        if key not in edits.touched or key not in shown:
            continue
        if value == shown[key] and edits.texts.get(key, value) != value:
            value = edits.texts[key]
            over.add(key)
        if value != shown[key]:
            draft = draft.with_value(key, typed(setting, value))
            changed[key] = value
    return draft, changed, over


EDITS = """
const tab = element.closest('[role=tabpanel]'), touched = new Set(), written = {};
let timer = 0, number = 0;
tab.addEventListener('input', (event) => {
  const field = event.target.closest('.field');
  if (!field) return;
  touched.add(field.id);
  if (event.target.matches('textarea, input[type=text]:not([role])')) {
    written[field.id] = {text: event.target.value, number: number + 1};
  }
  clearTimeout(timer);
  timer = setTimeout(() => {
    number += 1;
    trigger('input', {touched: [...touched], written: structuredClone(written), number});
  }, 100);
});
"""
"""Tells of what a person does to the fields of a tab, however it is done; fields that the page fills in itself, whose
`change` comes too, are not told. (A Textbox's own `input` misses the backspace key and pasting.)"""


def edits() -> gr.HTML:
    """A component whose `input` comes when a person changes fields of its tab; `told` says what."""
    return gr.HTML(visible="hidden", js_on_load=EDITS)


def told(event: gr.EventData, shown: Mapping[str, Any]) -> Edits:
    """What an event of `edits` says to a form that shows this."""
    known = {_element(setting.key): setting.key for setting in form_settings()}
    data = event._data
    number = int(data["number"])
    since = shown.get(TOLD, number - 1)
    texts = {
        known[name]: str(entry["text"])
        for name, entry in data["written"].items()
        if name in known and entry["number"] > since
    }
    return Edits(frozenset(known[name] for name in data["touched"] if name in known), texts, number)


def _element(key: str) -> str:
    return f"set-{key.replace('.', '-')}"
