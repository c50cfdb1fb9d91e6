"""A row of the table as a form: its turns rewritten, added or removed, or the row left out; each is a step."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, cast

from studio.domain.chat import ROLES, Conversation, Message, Role
from studio.domain.errors import StudioError
from studio.domain.history import Kind, RowChange
from studio.domain.text import Text
from studio.engine.rows import position_of
from studio.services import history
from studio.ui import views
from studio.ui.i18n import Words, message_of

if TYPE_CHECKING:
    from studio.services.store import DatasetEntry, Store
    from studio.ui.data_tab import Examined

CLICKS = """
element.addEventListener('click', (event) => {
  const act = event.target.closest('.act');
  if (!act || !element.contains(act) || act.disabled) return;
  const named = act.closest('.row-form')?.querySelectorAll('[name]') ?? [];
  const fields = Object.fromEntries([...named].map((field) => [field.name, field.value]));
  trigger('click', {...act.dataset, fields});
});
"""
"""As views.CLICKS; a click inside of a form brings what its fields hold."""


def mark(row: Conversation) -> str:
    """By which a row on a page is told from another that has its number by now."""
    return f"{zlib.crc32(repr((row.messages, row.tools)).encode('utf-8', 'replace')):08x}"


def opened(seen: DatasetEntry, row: Conversation, marked: str) -> Editing:
    """The form of a row that was clicked where it bore this mark; it says so where the rows changed since."""
    wrong = history.changed_meanwhile(seen) if marked and marked != mark(row) else None
    return Editing(seen, row, wrong=wrong)


@dataclass(frozen=True)
class Editing:
    """A row that is being edited: as it stands in the form, why, and what keeps it from being saved."""

    seen: DatasetEntry
    """The dataset as it was when the form was opened."""
    conversation: Conversation
    reason: str = ""
    wrong: StudioError | None = None

    @property
    def row(self) -> int:
        return self.conversation.row

    def filled(self, fields: Mapping[str, Any]) -> Editing:
        """With what the form's fields hold now."""
        messages = [
            _filled(message, place, fields) for place, message in enumerate(self.conversation.messages)
        ]
        reason = str(fields.get("reason", self.reason))
        return Editing(self.seen, replace(self.conversation, messages=tuple(messages)), reason)

    def with_turn(self) -> Editing:
        """One more turn at the end, of the side whose turn it is."""
        messages = self.conversation.messages
        role: Role = "assistant" if messages and messages[-1].role in ("user", "tool") else "user"
        return self._with((*messages, Message(role, "")))

    def without_turn(self, place: int) -> Editing:
        messages = self.conversation.messages
        return self._with(messages[:place] + messages[place + 1 :])

    def _with(self, messages: Sequence[Message]) -> Editing:
        return replace(self, conversation=replace(self.conversation, messages=tuple(messages)))


def _filled(message: Message, place: int, fields: Mapping[str, Any]) -> Message:
    """A text's line breaks come from a browser as they are shown, so one that was not touched stays as it was."""
    role = fields.get(f"role-{place}")
    calls = tuple(
        replace(call, arguments=_text(fields, f"arguments-{place}-{number}", call.arguments))
        for number, call in enumerate(message.tool_calls)
    )
    return replace(
        message,
        role=cast("Role", role) if role in ROLES else message.role,
        content=_text(fields, f"content-{place}", message.content),
        reasoning=_text(fields, f"reasoning-{place}", message.reasoning),
        tool_calls=calls,
    )


def _text(fields: Mapping[str, Any], name: str, before: str) -> str:
    given = str(fields.get(name, before))
    return before if given == before.replace("\r\n", "\n").replace("\r", "\n") else given


def change_of(editing: Editing, before: Conversation) -> RowChange:
    """What saving the form makes of the row. StudioError where it cannot be learnt from."""
    after = editing.conversation
    for message in after.messages:
        for call in message.tool_calls:
            _refuse_no_object(call.arguments, call.name)
    if not after.learnable:
        raise StudioError(
            "Row {row} would have no prompt or no response.",
            "Fill in both, or leave the row out.",
            row=after.row,
        )
    return RowChange(after.row, before, after, (_reason(editing.reason, Text("Edited by hand.")),))


def _reason(given: str, otherwise: Text) -> Text:
    return Text(given.strip()) if given.strip() else otherwise


def _refuse_no_object(text: str, name: str) -> None:
    try:
        fine = isinstance(json.loads(text), dict)
    except ValueError:
        fine = False
    if not fine:
        raise StudioError(
            "What {name} is called with is not a JSON object.",
            "Write it as {example}.",
            name=name,
            example='{"key": "value"}',
        )


def answered(editing: Editing, data: Mapping[str, Any]) -> Editing:
    """The form after a click that saves nothing: a turn more or less."""
    if data["do"] == "add":
        return editing.with_turn()
    if data["do"] == "remove" and str(data.get("turn", "")).isdigit():
        return editing.without_turn(int(data["turn"]))
    return editing


def save(store: Store, examined: Examined, editing: Editing) -> int:
    """Keep the edited row as a step, if it changed; returns its number among the rows that are in use then."""
    position, before = _found(examined, editing)
    change = change_of(editing, before)
    if change.after == before:
        return editing.row
    _take(store, examined, editing, "edit", change)
    return position + 1


def leave_out(store: Store, examined: Examined, editing: Editing) -> None:
    """Drop the row as a step."""
    _, before = _found(examined, editing)
    reason = _reason(editing.reason, Text("Left out by hand."))
    _take(store, examined, editing, "drop", RowChange(editing.row, before, None, (reason,)))


def _found(examined: Examined, editing: Editing) -> tuple[int, Conversation]:
    """Where the row stands that is edited, and how it reads in the file; it may be gone in the meantime."""
    position = position_of(examined.dataset.conversations, editing.row)
    if position is None:
        raise history.changed_meanwhile(editing.seen)
    return position, examined.dataset.conversations[position]


def _take(store: Store, examined: Examined, editing: Editing, kind: Kind, change: RowChange) -> None:
    rows, findings = examined.dataset.conversations, examined.dataset.findings
    history.take(store, editing.seen, kind, [change], rows, findings=findings, row=change.row)


def form(say: Words, editing: Editing) -> str:
    """The form, in place of the row's turns."""
    turns = "".join(_turn(say, place, message) for place, message in enumerate(editing.conversation.messages))
    wrong = views.error_text(say, *message_of(say, editing.wrong)) if editing.wrong else ""
    reason = (
        f'<label class="row-form-reason"><span class="muted small">{escape(say("edit.reason"))}</span>'
        f'<input name="reason" autocomplete="off" value="{escape(editing.reason)}"></label>'
    )
    acts = _act(say, "add", "quiet") + _act(say, "drop", "quiet") + _act(say, "cancel", "plain")
    return (
        f'<div class="row-form turns">{turns}{reason}{wrong}'
        f'<div class="row-form-acts">{_act(say, "save", "plain strong")}{acts}</div></div>'
    )


def _act(say: Words, do: str, kind: str, more: str = "") -> str:
    return (
        f'<button type="button" class="act {kind}" data-do="{do}"{more}>{escape(say(f"edit.{do}"))}</button>'
    )


def _turn(say: Words, place: int, message: Message) -> str:
    roles = "".join(
        f'<option value="{role}"{" selected" if role == message.role else ""}>{escape(say(f"role.{role}"))}</option>'
        for role in ROLES
    )
    fields = [_area(say("edit.text"), f"content-{place}", message.content)]
    if message.reasoning:
        fields.insert(0, _area(say("data.reasoning.label"), f"reasoning-{place}", message.reasoning))
    for number, call in enumerate(message.tool_calls):
        fields.append(
            _area(
                say("edit.arguments", name=call.name),
                f"arguments-{place}-{number}",
                call.arguments,
                shown=True,
            )
        )
    remove = _act(say, "remove", "quiet", f' data-turn="{place}"')
    return (
        f'<div class="turn turn-{message.role}"><span class="role"><select name="role-{place}" '
        f'aria-label="{escape(say("edit.role"))}">{roles}</select>{remove}</span>'
        f'<div class="said">{"".join(fields)}</div></div>'
    )


def _area(label: str, name: str, text: str, shown: bool = False) -> str:
    lines = min(16, max(2, sum(1 + len(line) // 90 for line in text.split("\n"))))
    head = f'<span class="muted small">{escape(label)}</span>' if shown else ""
    # A browser drops one line break at the start of a textarea.
    return (
        f'<label>{head}<textarea name="{name}" rows="{lines}" aria-label="{escape(label)}">\n{escape(text)}</textarea>'
        "</label>"
    )
