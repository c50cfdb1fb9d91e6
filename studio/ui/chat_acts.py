"""What the clicks of the Chat tab do: ask, ask again, branch, look closer, keep, and make rows of answers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import gradio as gr

from studio.domain.answer import ChatSettings, Piece, Side
from studio.domain.chat import Conversation
from studio.domain.errors import StudioError
from studio.domain.run import ALIVE, Run
from studio.domain.talk import Talk, Turn
from studio.services import talk_prompts, talk_rows, talks
from studio.services.files import write_json, write_text
from studio.services.store import Store, slug
from studio.ui import chat_views, run_views, talk_list, views
from studio.ui.chat_desk import Desk, Look, Wait, Writing
from studio.ui.data_tab import with_dataset
from studio.ui.i18n import Words, language_of, words
from studio.ui.page import Draft, Page
from studio.ui.talk_list import Asked
from studio.ui.usable_runs import beside, side_names, usable

EVERY = 0.1
"""Seconds between two drawings of an answer that comes in."""
Shown = tuple[Any, ...]
"""Draft, talk, note, field, Send, Stop, list of those kept, desk: what an act changes at most."""
_SKIPPED = 10
"""What stands before `Shown` when the whole tab is drawn."""


class ChatActs:
    """The handlers of one page's Chat tab; what they know of a person's talk is in the desk that they are given."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def store(self) -> Store:
        """Of whoever clicked."""
        return self.page.store

    # ---- The tab as a whole ---------------------------------------------------------------------------------------

    def enter(self, say: Words, draft: Draft, desk: Desk, sides: list[Side] | None) -> tuple[Any, ...]:
        """The talk that was open, also after a reload or a restart, as long as its run is the one that is looked at."""
        runs = usable(self.page)
        if not runs:
            return self._empty(say)
        run_id = draft.run if draft.run in [run.id for run in runs] else runs[0].id
        if desk.talk.run == run_id and desk.talk.id == draft.talk:
            return self._opened(say, draft, desk.beside(sides), runs, fresh=False)
        talk = self._kept(draft.talk)
        return self._opened(say, draft, Desk(talk if talk and talk.run == run_id else Talk(run_id)), runs)

    def picked(self, say: Words, draft: Draft, run_id: str) -> tuple[Any, ...]:
        """A new conversation with a run."""
        return self._opened(say, draft, Desk(Talk(run_id)), usable(self.page))

    def waits(self) -> bool:
        """Whether there is no model to talk with, and a run that will have one."""
        return any(run.state in ALIVE for run in self.page.jobs.list()) and not usable(self.page)

    def _empty(self, say: Words) -> tuple[Any, ...]:
        at_work = any(run.state in ALIVE for run in self.page.jobs.list())
        text = views.empty(say("chat.none"), say("chat.none.training" if at_work else "chat.none.next"))
        return (gr.HTML(text, visible=True), gr.Column(visible=False), *[gr.skip()] * (_SKIPPED + 6))

    def _opened(
        self, say: Words, draft: Draft, desk: Desk, runs: Sequence[Run], *, fresh: bool = True
    ) -> tuple[Any, ...]:
        """The whole tab for a talk. The settings are its own where it is `fresh` on the page."""
        run_id = desk.talk.run
        rows = self.page.jobs.held_out(run_id)
        others = beside(self.page, runs, run_id)
        names = side_names(say, runs, run_id, [*others, *desk.talk.beside])
        return (
            gr.HTML(visible=False),
            gr.Column(visible=True),
            gr.Dropdown(choices=[run_views.choice(run) for run in runs], value=run_id),
            gr.Dropdown(choices=[(names[side], side) for side in others], value=[*desk.talk.beside]),
            chat_views.example_chips(say, chat_views.examples(rows)),
            *(_settings_of(desk.talk, rows) if fresh else [gr.skip()] * 5),
            *self._drawn(say, replace(draft, run=run_id), desk, prompt="" if fresh else gr.skip()),
        )

    def _kept(self, talk_id: str) -> Talk | None:
        try:
            return talks.opened(self.store, talk_id).settled() if talk_id else None
        except StudioError:  # deleted since; those that are damaged are in the list
            return None

    def _drawn(
        self,
        say: Words,
        draft: Draft,
        desk: Desk,
        *,
        wait: Wait = Wait(),  # noqa: B008 (a constant)
        busy: bool = False,
        prompt: Any = gr.skip(),  # noqa: B008 (a constant)
        names: Mapping[Side, str] | None = None,
    ) -> Shown:
        """`names` are those of the sides, where they are known already; `busy`: an answer is coming in."""
        learning = bool(desk.writing and desk.writing.side)
        return (
            replace(draft, talk=desk.talk.id),
            chat_views.talk(say, desk, names or self._names(say, desk.talk), wait, busy=busy),
            chat_views.note(say, desk),
            prompt,
            gr.Button(say("chat.row.add" if learning else "chat.send"), visible=not busy),
            gr.Button(visible=busy),
            gr.skip() if busy else self._list(say, desk, Asked()),
            desk,
        )

    def _names(self, say: Words, talk: Talk) -> dict[Side, str]:
        sides = {side for turn in talk.turns for side in turn.sides}
        return side_names(say, self.page.jobs.list(), talk.run, sides)

    # ---- Asking ---------------------------------------------------------------------------------------------------

    def sent(
        self, say: Words, draft: Draft, desk: Desk, sides: list[Side] | None, text: str, *given: Any
    ) -> Iterator[Shown]:
        """What is in the field: a message, one written anew, or an answer to be learnt."""
        desk = desk.beside(sides)
        if not text.strip():
            return
        if desk.writing and desk.writing.side:
            yield self._row(say, draft, desk, desk.writing.turn, desk.writing.side, text, prompt="")
            return
        yield from self._asked(say, draft, desk, desk.new_turn(text, *_asked_with(*given)))

    def example(
        self,
        say: Words,
        draft: Draft,
        event: gr.EventData,
        desk: Desk,
        sides: list[Side] | None,
        text: str,
        system: str,
        *given: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """A held-out row, in a conversation of its own."""
        rows = self.page.jobs.held_out(desk.talk.run)
        asked = _example(rows, str(event._data.get("row")))
        system = _system(rows, asked, system)
        fresh = Desk(Talk(desk.talk.run, beside=tuple(sides or ())), differences=desk.differences)
        turn = replace(fresh.new_turn(asked.prompt, *_asked_with(system, *given)), expected=asked.expected)
        for update in self._asked(say, draft, fresh, turn):
            yield (*update, system)

    def stopped(self, say: Words, draft: Draft, desk: Desk) -> None:
        """End the answer that comes in."""
        self.page.chat.stop(desk.token)

    def settled(self, draft: Any, desk: Desk, text: str, request: gr.Request) -> Shown:
        """After the last word, or a failure: a message that got no answer goes back into its field."""
        left, given_back = settled(desk)
        prompt = given_back if given_back and not text else gr.skip()
        with self.page.rooms.entered_by(request):
            drawn = self._drawn(words(language_of(request)), Draft.from_json(draft), left, prompt=prompt)
        return (cast(Draft, drawn[0]).to_text(), *drawn[1:])

    def _asked(self, say: Words, draft: Draft, desk: Desk, turn: Turn) -> Iterator[Shown]:
        """Ask for a turn, or say first what of the conversation would have to be left out."""
        fit = talk_prompts.fit(self.store, desk.talk, turn)
        if fit.left_out > turn.left_out:
            yield self._drawn(say, draft, replace(desk, pending=turn, fit=fit))
            return
        yield from self._answered(say, draft, replace(desk.quiet(), fit=fit), turn)

    def _answered(self, say: Words, draft: Draft, desk: Desk, turn: Turn) -> Iterator[Shown]:
        """The answers as they come: the message is taken out of its field, and Stop stands in the place of Send."""
        talk = talks.save(self.store, desk.talk.with_turn(turn))
        latest = begun = replace(desk, talk=talk, token=uuid.uuid4().hex)
        wait = Wait("" if self.page.chat.loaded == talk.run else "loading")
        names = self._names(say, talk)
        try:
            yield self._drawn(say, draft, begun, wait=wait, busy=True, prompt="", names=names)
            for latest, wait in self._streamed(begun, turn):
                yield self._drawn(say, draft, latest, wait=wait, busy=True, names=names)
        finally:
            self._keep(settled(latest)[0].talk)

    def _streamed(self, desk: Desk, turn: Turn) -> Iterator[tuple[Desk, Wait]]:
        """The talk as it grows, with what is waited for, not more often than it can be drawn."""
        drawn = time.monotonic()
        asked = {side: desk.talk.history(turn, side) for side in turn.sides}
        answering = self.page.chat.answer(
            desk.talk.run, asked, turn.settings, beside=turn.beside, token=desk.token
        )
        with closing(cast("Generator[Piece, None, None]", answering)) as pieces:
            for piece in pieces:
                turn = turn.plus(piece) if piece.side else turn
                if piece.phase or time.monotonic() - drawn >= EVERY:
                    yield replace(desk, talk=desk.talk.with_turn(turn)), Wait(piece.phase, piece.share)
                    drawn = time.monotonic()
        yield replace(desk, talk=desk.talk.with_turn(turn)), Wait()

    def _keep(self, talk: Talk) -> None:
        """A talk in which nothing was said is not kept."""
        if talk.turns:
            talks.save(self.store, talk)
        else:
            talks.delete(self.store, talk.id)

    # ---- What stands beneath messages and answers -----------------------------------------------------------------

    def acted(
        self,
        say: Words,
        draft: Draft,
        event: gr.EventData,
        desk: Desk,
        sides: list[Side] | None,
        text: str,
        *given: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """A click on one of the buttons in the talk, or above the field."""
        desk = desk.beside(sides)
        do, turn_id, side = (str(event._data.get(name, "")) for name in ("do", "turn", "side"))
        if do == "data" and desk.added:
            to_data = with_dataset(draft, desk.added.dataset.id)
            yield (*self._drawn(say, to_data, desk.quiet()), self.page.show("data"))
            return
        for shown in self._act(say, draft, desk, do, turn_id, side, given):
            yield (*shown, gr.skip())

    def _act(
        self, say: Words, draft: Draft, desk: Desk, do: str, turn_id: str, side: Side, given: Sequence[Any]
    ) -> Iterator[Shown]:
        if do == "again":
            yield from self._asked(say, draft, desk, desk.again(turn_id, *_asked_with(*given)))
        elif do == "leave-out" and desk.pending and desk.fit:
            turn = replace(desk.pending, left_out=desk.fit.left_out)
            yield from self._answered(say, draft, replace(desk.quiet(), fit=desk.fit), turn)
        elif do == "odds":
            yield from self._explained(say, draft, desk, turn_id, side)
        elif do == "row" and chat_views.ended(desk.turn(turn_id).answers[side]):
            answer = desk.turn(turn_id).answers[side].text
            yield self._row(say, draft, desk, turn_id, side, answer, prompt=gr.skip())
        elif do in ("edit", "row", "row-edit"):  # an answer that was cut off is not added as it is
            turn = desk.turn(turn_id)
            prompt = turn.answers[side].text if side else turn.prompt
            yield self._drawn(
                say, draft, replace(desk.quiet(), writing=Writing(turn_id, side)), prompt=prompt
            )
        else:
            prompt = "" if do == "cancel" and desk.writing else gr.skip()
            yield self._drawn(say, draft, self._turned(desk, do, turn_id, side), prompt=prompt)

    def _turned(self, desk: Desk, do: str, turn_id: str, side: Side) -> Desk:
        """What is looked at after a click."""
        if do == "show":
            return replace(desk.quiet(), talk=talks.save(self.store, desk.talk.showing(turn_id)))
        if do == "differences":
            return replace(desk, differences=not desk.differences)
        if do == "prompt" and not _at(desk, turn_id, side, "prompt"):
            sent = talk_prompts.sent(self.store, desk.talk, desk.turn(turn_id), side)
            return replace(desk.quiet(), look=Look(turn_id, side, sent))
        return desk.quiet()

    def _explained(self, say: Words, draft: Draft, desk: Desk, turn_id: str, side: Side) -> Iterator[Shown]:
        """What the tokens of an answer were chosen from; a second click folds it."""
        if _at(desk, turn_id, side, "odds"):
            yield self._drawn(say, draft, desk.quiet())
            return
        turn, look = desk.turn(turn_id), Look(turn_id, side, wait=Wait("reading"))
        yield self._drawn(say, draft, replace(desk.quiet(), look=look))
        for heard in self.page.chat.explain(
            desk.talk.run, side, desk.talk.history(turn, side), turn.answers[side].ids, beside=turn.beside
        ):
            look = Look(turn_id, side, choices=heard.choices, wait=Wait(heard.phase, heard.share))
            yield self._drawn(say, draft, replace(desk.quiet(), look=look))

    def _row(
        self, say: Words, draft: Draft, desk: Desk, turn_id: str, side: Side, answer: str, prompt: Any
    ) -> Shown:
        """An answer as a training row, with all that was said before it on this side."""
        added = talk_rows.add(self.store, desk.talk.history(desk.turn(turn_id), side), answer)
        return self._drawn(say, draft, replace(desk.quiet(), added=added), prompt=prompt)

    # ---- Those kept -----------------------------------------------------------------------------------------------

    def listed(
        self, say: Words, draft: Draft, event: gr.EventData, desk: Desk, asked: Asked
    ) -> tuple[Any, ...]:
        """A click in the list of the conversations that are kept."""
        do, talk_id = str(event._data.get("do", "")), str(event._data.get("talk", ""))
        whole = [gr.skip()] * (_SKIPPED + 8)
        if do == "open":
            talk = talks.opened(self.store, talk_id).settled()
            opened = self._opened(say, replace(draft, run=talk.run), Desk(talk), usable(self.page))
            return (None, Asked(), *opened)
        if do in talk_list.FORMATS:
            return (self._written_out(say, talk_id, do), asked, *whole)
        if do == "rename-yes":
            talks.rename(self.store, talk_id, str(event._data.get("title", "")))
        if do == "delete-yes":
            talks.delete(self.store, talk_id)
            if talk_id == desk.talk.id:
                return (
                    None,
                    Asked(),
                    *self._opened(say, draft, Desk(Talk(desk.talk.run)), usable(self.page)),
                )
        now = Asked(talk_id if do == "rename" else "", talk_id if do == "delete" else "")
        whole[-2] = self._list(say, desk, now)
        return (None, now, *whole)

    def _list(self, say: Words, desk: Desk, asked: Asked) -> str:
        names = {run.id: run_views.title(run) for run in usable(self.page)}
        return talk_list.talk_list(say, talks.listed(self.store), names, desk.talk.id, asked)

    def _written_out(self, say: Words, talk_id: str, form: str) -> str:
        """A file that the page may serve, called after the talk."""
        talk = talks.opened(self.store, talk_id)
        name = f"{slug(talk.title)}.{talk_list.FORMATS[form]}"
        file = self.store.tmp_dir / talk_id / name
        file.parent.mkdir(exist_ok=True)
        try:
            if form == "json":
                write_json(file, talk.to_json())
            else:
                write_text(file, talks.as_markdown(talk, self._names(say, talk)))
            return self.page.offer(file)
        finally:
            file.unlink(missing_ok=True)
            file.parent.rmdir()


def settled(desk: Desk) -> tuple[Desk, str]:
    """The desk when no answer is under way any more, and the message that nothing came of."""
    turn = desk.talk.turn(desk.talk.tip)
    if turn is None:
        return desk, ""
    if turn.answered:
        return replace(desk, talk=desk.talk.with_turn(turn.settled())), ""
    again = any(other.prompt == turn.prompt for other in desk.talk.branches(turn) if other.id != turn.id)
    return replace(desk, talk=desk.talk.without(turn)), "" if again else turn.prompt


def _at(desk: Desk, turn_id: str, side: Side, kind: str) -> bool:
    look = desk.look
    return look is not None and (look.turn, look.side, look.kind) == (turn_id, side, kind)


def _asked_with(
    system: str, seed: float | None, temperature: float, top_p: float, most: float
) -> tuple[str, ChatSettings]:
    return system, ChatSettings(int(seed or 0), float(temperature), float(top_p), int(most))


def _settings_of(talk: Talk, rows: Sequence[Conversation]) -> list[Any]:
    """System message, seed, temperature, top-p, most new tokens: as the talk was led, or as its run's rows are."""
    turn = talk.turn(talk.tip)
    if turn is None:
        return [chat_views.shared_system(rows), *[gr.skip()] * 4]
    how = turn.settings
    return [turn.system, how.seed, how.temperature, how.top_p, how.max_new_tokens]


def _example(rows: Sequence[Conversation], row: str) -> chat_views.Example:
    for found in chat_views.examples(rows):
        if str(found.row) == row:
            return found
    raise StudioError("There is no example {row}.", "Choose one of those shown.", row=row)


def _system(rows: Sequence[Conversation], asked: chat_views.Example, field: str) -> str:
    """The system message that an example is asked with; the field shows it from then on.

    One that all rows share stands in the field already, or was taken out of it on purpose.
    """
    return field if chat_views.shared_system(rows) else asked.system or field
