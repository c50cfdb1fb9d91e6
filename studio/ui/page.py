"""What every tab shares: the draft, the wiring of events to functions, errors in place, and the way to the next tab."""

from __future__ import annotations

import hmac
import inspect
import json
import os
import secrets
import shutil
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.blocks import Block
from starlette.exceptions import HTTPException

from studio.domain.config import SECTIONS, RunConfig, merge, parse_config, settings
from studio.domain.errors import StudioError
from studio.services import apart, probe
from studio.services.jobs import submitted
from studio.ui import views
from studio.ui.i18n import Words, language_of, t, words
from studio.ui.rooms import Rooms, sender
from studio.ui.samples import held_out_path

if TYPE_CHECKING:
    from studio.services.chat import ChatProcess
    from studio.services.jobs import Jobs
    from studio.services.store import DatasetEntry, Store

# Paths stay out of a draft: it comes from a browser, and may name no file outside the home.
FORM_KEYS = frozenset({"name", *(s.key for name in SECTIONS for s in settings(name))}) - {
    "data.path",
    "data.held_out_path",
    "data.general_path",
}
DOWNLOADS = "downloads"
TABS = ("data", "template", "hyperparameters", "training", "chat", "evaluate", "runs", "export")


RECOMMENDED_SHARE = 0.1
"""Of general data."""
SELF = "the model"
"""In place of general data that the model is still to write; the space keeps it from being the id of a dataset."""


@dataclass(frozen=True)
class Draft:
    """What a person has chosen so far; kept in their browser, so that it survives a reload and reaches nobody else."""

    dataset: str = ""
    """Id of the dataset in use, or empty."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Settings changed by hand, by dotted key; all others are recommended anew."""
    row: int = 1
    """The row shown in the template tab: its place among the conversations, from 1."""
    run: str = ""
    """Id of the run shown in Training, Chat and Export, or empty."""
    talk: str = ""
    """Id of the conversation that is open in Chat, or empty for a new one."""
    held_out: str = ""
    """The rows to measure on: a dataset's id, a sample's key (see `samples`), or empty for a share of the rows."""
    general: str = ""
    """The dataset that general rows are drawn from, or empty for the set that comes with the studio."""
    broad: bool = False
    """Whether the rows are said to be general ones themselves: then none are mixed in by default."""
    version: int = 0
    """Grows with each change that the server makes: what was sent off before it arrived is known by it."""

    @classmethod
    def from_json(cls, data: Any) -> Draft:
        """From what the browser kept: anything that does not fit is dropped, as it may be of an older version."""
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except ValueError:
                data = None
        data = data if isinstance(data, dict) else {}
        values = data.get("values")
        row, version = data.get("row"), data.get("version")
        return cls(
            dataset=_text(data.get("dataset")),
            values={key: value for key, value in values.items() if key in FORM_KEYS}
            if isinstance(values, dict)
            else {},
            row=row if isinstance(row, int) and row > 0 else 1,
            run=_text(data.get("run")),
            talk=_text(data.get("talk")),
            held_out=_text(data.get("held_out")),
            general=_text(data.get("general")),
            broad=data.get("broad") is True,
            version=version if isinstance(version, int) else 0,
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "values": dict(self.values)}

    def to_text(self) -> str:
        """As the page holds it. Of what a generator yields later, Gradio sends only what differs, and the page writes
        that into the very object that it was given before: as an object the draft would be overwritten in use.
        """
        return json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":"))

    def with_value(self, key: str, value: Any) -> Draft:
        """A setting chosen by hand, or given back to the recommendation with None."""
        values = {name: old for name, old in self.values.items() if name != key}
        return replace(self, values=values if value is None else {**values, key: value})

    @property
    def general_share(self) -> float:
        """Of general data: what was chosen, else what docs/forgetting.md recommends for rows that teach one field."""
        chosen = self.values.get("data.general_share")
        if isinstance(chosen, (int, float)):
            return float(chosen)
        return 0.0 if self.broad else RECOMMENDED_SHARE

    def config(self, store: Store, source: str = "config") -> RunConfig:
        """The run that this draft describes. StudioError where no dataset is chosen or a value is wrong."""
        if not self.dataset:
            raise StudioError("No dataset is chosen yet.", "Choose or upload one under Data.")
        if self.general == SELF and self.general_share:
            raise StudioError(
                "The model has not written the general rows yet.",
                "Let it write them under Data, or choose where else they come from.",
            )
        entry = store.dataset(self.dataset)
        held_out = held_out_path(self.held_out, store)
        form, columns, read_as = self.reading(entry)
        if held_out and entry.cleaned:  # the rows to measure on are still written as the upload was
            columns = self.values.get("data.columns")
        fixed = {
            "data.general_share": self.general_share,
            "data.path": str(entry.path),
            "data.held_out_path": str(held_out) if held_out else None,
            "data.general_path": str(store.dataset(self.general).path)
            if self.general not in ("", SELF)
            else None,
            "data.format": form,
            "data.columns": columns,
            "data.read_as": read_as,
        }
        # Else the run would be called after the file in the home, which is always `original` or `cleaned`.
        config = parse_config(
            merge({"name": Path(entry.name).stem[:80]}, {**self.values, **fixed}), source=source
        )
        store.check_reach(config)
        return config

    def reading(self, entry: DatasetEntry) -> tuple[str, dict[str, str] | None, dict[str, str] | None]:
        """Format, columns, and what else was said about the file, to read the dataset by.

        Repaired rows are written as messages, whatever the upload was.
        """
        if entry.cleaned:
            return "auto", None, None
        said = {**entry.read_as, **(self.values.get("data.read_as") or {})}
        return self.values.get("data.format") or "auto", self.values.get("data.columns"), said or None


class Drafts:
    """The newest draft of each open page, so that changes made at once do not undo each other.

    An event carries the draft as it stood when it was sent off. Where another one was answered meanwhile, only what
    this one changes goes into the newer draft.
    """

    _KEPT = 1000
    """Open pages."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, Draft] = OrderedDict()
        self._lock = threading.Lock()

    def joined(self, session: str, given: Draft, returned: Draft) -> Draft:
        """What a page is to hold after an event that was `given` a draft and `returned` one."""
        with self._lock:
            newest = self._newest.get(session, given)
            onto = newest if newest.version > given.version else given
            joined = _with_changes(onto, given, returned)
            if joined != onto:
                joined = replace(joined, version=onto.version + 1)
            self._newest[session] = joined
            self._newest.move_to_end(session)
            if len(self._newest) > self._KEPT:
                self._newest.popitem(last=False)
            return joined


class Newest:
    """Which call of one event is the newest of each open page: one that an older answer must not undo.

    Calls that follow each other within milliseconds are sent side by side, so they may arrive, and be answered, in any
    order. The page numbers them as it sends them.
    """

    _KEPT = 1000
    """Open pages."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def overtaken(self, session: str, number: int) -> bool:
        """Whether a call that was sent off later than `number` (from 1) has already come."""
        with self._lock:
            if self._sent.get(session, 0) > number:
                return True
            self._sent[session] = number
            self._sent.move_to_end(session)
            if len(self._sent) > self._KEPT:
                self._sent.popitem(last=False)
            return False


_NUMBERED = """
(draft, ...given) => {
  window.studioSent = (window.studioSent || 0) + 1;
  const held = typeof draft === 'string' ? JSON.parse(draft) : draft;
  return [JSON.stringify({ ...held, sent: window.studioSent }), ...given];
}
"""
"""Gives each call its number, with its draft."""

_ABSENT = object()


def _with_changes(onto: Draft, given: Draft, returned: Draft) -> Draft:
    changed = {
        name: value
        for name, value in vars(returned).items()
        if name not in ("values", "version") and value != getattr(given, name)
    }
    values = dict(onto.values)
    for key in given.values.keys() | returned.values.keys():
        value = returned.values.get(key, _ABSENT)
        if value is _ABSENT:
            values.pop(key, None)
        elif value != given.values.get(key, _ABSENT):
            values[key] = value
    return replace(onto, **changed, values=values)


@dataclass
class Page:
    """Handed to each tab's `build(page)`."""

    rooms: Rooms
    blocks: gr.Blocks
    draft: gr.BrowserState
    tabs: gr.Tabs
    served: Path
    """The one folder that the page serves files from; emptied by itself."""
    local: bool = False
    """Whether only this machine reaches the page, so that it may read the files that its user names."""
    entered: dict[str, gr.Tab] = field(default_factory=dict)
    drafts: Drafts = field(default_factory=Drafts)
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def store(self) -> Store:
        """Of whoever sent what is being answered, as `jobs` and `chat` are: asked for in a handler, never kept."""
        return self.rooms.here.store

    @property
    def jobs(self) -> Jobs:
        return self.rooms.here.jobs

    @property
    def chat(self) -> ChatProcess:
        return self.rooms.here.chat

    @contextmanager
    def tab(self, name: str) -> Iterator[gr.Tab]:
        """One tab; `name` is one of TABS and its title the text `tab.<name>`."""
        with gr.Tab(t(f"tab.{name}"), id=name, elem_id=f"tab-{name}", elem_classes="tab") as tab:
            self.entered[name] = tab
            yield tab

    def error_box(self) -> gr.HTML:
        """Where this tab says what went wrong. Give it to `on(error=…)`; it is emptied when all is well again."""
        return gr.HTML("", elem_classes="error-slot")

    def next_button(self, name: str) -> gr.Button:
        """The primary button that ends a tab and leads to the tab `name`."""
        with gr.Row(elem_classes="next-row"):
            button = gr.Button(
                t(f"next.{name}"), variant="primary", elem_classes="next", elem_id=f"next-{name}"
            )
        self.go(button.click, name)
        return button

    def go(self, trigger: Callable[..., Any], name: str) -> None:
        """Show another tab without asking the server."""
        trigger(
            None,
            None,
            self.tabs,
            js=f"() => {{ window.scrollTo(0, 0); return {{__type__: 'update', selected: '{name}'}}; }}",
            api_visibility="private",
            show_progress="hidden",
        )

    def show(self, name: str) -> Any:
        """As an output for `page.tabs` of a handler: show the tab `name`."""
        return gr.Tabs(selected=name)

    def on(
        self,
        triggers: Callable[..., Any] | Sequence[Callable[..., Any]],
        fn: Callable[..., Any],
        inputs: Sequence[Any] = (),
        outputs: Sequence[Any] = (),
        *,
        error: gr.HTML,
        event: bool = False,
        progress: str = "hidden",
        latest: bool = False,
        shared: bool = False,
        js: str | None = None,
        **options: Any,
    ) -> Any:
        """Call `fn(words, draft, [event,] *inputs)` on the triggers and fill `outputs` with what it returns.

        `fn` may be a generator. A StudioError goes to the `error` box in the reader's language and leaves all outputs
        as they are; anything unexpected goes there too, with its traceback folded. With `latest`, calls that come
        faster than they are answered are left out, but for the last one, which no earlier one undoes. Where others
        listen to the same event, say `shared` instead: each call is sent, and one that a later one has overtaken is
        dropped. (For one call that it put off, Gradio calls all that listen to the event, and so on without end.) With
        `js`, its function gets the draft and the inputs and gives the same number of values.
        """
        numbered = latest or shared
        newest = Newest() if numbered else None
        handler = _handler(fn, len(outputs), event, self.drafts, newest, self.rooms)
        if numbered:
            js = f"async (...given) => ({_NUMBERED})(...(await ({js})(...given)))" if js else _NUMBERED
        return gr.on(
            [triggers] if callable(triggers) else list(triggers),
            handler,
            [self.draft, *inputs],
            [*outputs, error],
            js=js,
            api_visibility="private",
            show_progress=progress,
            # Else each output, though it shows nothing, counts the time in every frame for as long as the answer takes:
            # on a machine without a GPU that takes the better part of a core from the work that is waited for.
            show_progress_on=[] if progress == "hidden" else None,
            trigger_mode="multiple"
            if shared
            else "always_last"
            if latest
            else options.pop("trigger_mode", "once"),
            **options,
        )

    def asked(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """`fn(asked, request)` as a function that a component's script calls, within the sender's room."""

        def answer(asked: dict[str, Any], request: gr.Request) -> Any:
            with self.rooms.entered_by(request):
                try:
                    return fn(asked if isinstance(asked, dict) else {}, request)
                except StudioError as error:
                    raise HTTPException(400, str(error)) from None
                except Exception as error:  # as with events: the script says that it failed
                    number = self.rooms.noted(traceback.format_exc())
                    raise HTTPException(500, f"{type(error).__name__}, see {number} in errors.log") from None

        answer.__name__ = fn.__name__
        return answer

    def on_enter(
        self,
        name: str,
        fn: Callable[..., Any],
        outputs: Sequence[Any],
        *,
        error: gr.HTML,
        inputs: Sequence[Any] = (),
    ) -> Any:
        """Each time the tab `name` comes up: by click, by button, on a reload."""
        # Gradio selects the first tab by itself when the page loads.
        return self.on(self.entered[name].select, fn, inputs, outputs, error=error, shared=True)

    def probing(self, say: Words) -> str:
        """What to show while the machine is looked at for the first time; empty where it is known."""
        if probe.is_known(self.store.machine_file):
            return ""
        return views.empty(say("page.probing"), say("page.probing.next"))

    def offer(self, path: Path, name: str = "") -> str:
        """A path that the page may serve as a download: a hard link (or a copy) in the served temporary folder."""
        folder = self.downloads(path.parent)
        served = folder / (Path(name).name or path.name)
        served.unlink(missing_ok=True)
        try:
            os.link(path, served)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(path, served)
        return str(served)

    def downloads(self, place: Path) -> Path:
        """A folder that the page serves, for files of `place`: one for each user, whose name nobody can guess."""
        given = f"{self.rooms.who}\0{place}".encode()
        folder = self.served / DOWNLOADS / hmac.digest(self._secret, given, "sha256").hex()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def start(self, draft: Draft) -> Draft:
        """Submit the run that the draft describes; it is written before its worker starts."""
        return replace(draft, run=self.submit(draft.config(self.store)))

    def submit(self, config: RunConfig) -> str:
        """Submit a run; returns its id."""
        run_id = apart.work(config, submitted, self.store, config)
        self.chat.close_if_idle()  # a run needs the memory more than a model that nobody is talking to
        return run_id

    def resume(self, run_id: str) -> None:
        """Let a run go on from its last checkpoint."""
        self.jobs.resume(run_id)
        self.chat.close_if_idle()  # as above


def _handler(
    fn: Callable[..., Any],
    outputs: int,
    event: bool,
    drafts: Drafts,
    newest: Newest | None = None,
    rooms: Rooms | None = None,
) -> Callable[..., Any]:
    """`fn` as Gradio calls it: words by the request's language, the draft parsed, errors to the last output.

    With `newest`, a call that a later one has overtaken changes nothing. With `rooms`, `fn` works in its sender's.
    """

    def within(request: gr.Request) -> AbstractContextManager[None]:
        return rooms.entered_by(request) if rooms else nullcontext()

    def unchanged(error: BaseException, say: Words) -> list[Any]:
        number = ""
        if not isinstance(error, StudioError):
            number = rooms.noted(traceback.format_exc()) if rooms else ""
        return [*[gr.skip()] * outputs, views.error(say, error, number)]

    def overtaken(request: gr.Request, sent: Any) -> bool:
        return newest is not None and newest.overtaken(_session(request), _number_of(sent))

    def arguments(request: gr.Request, data: Any, values: tuple[Any, ...]) -> tuple[Words, list[Any]]:
        say = words(language_of(request))
        given = [Draft.from_json(values[0]), *values[1:]]
        if event and not isinstance(getattr(data, "_data", None), dict):
            data = gr.EventData(None, {})  # what no click of the page says
        return say, [given[0], data, *given[1:]] if event else given

    def answer(result: Any, request: gr.Request, sent: Any) -> list[Any]:
        if outputs == 0:
            return [""]
        given = Draft.from_json(sent)
        values = [result] if outputs == 1 else list(result)
        return [
            *(
                drafts.joined(_session(request), given, value).to_text()
                if isinstance(value, Draft)
                else value
                for value in values
            ),
            "",
        ]

    nothing = _single([gr.skip()] * (outputs + 1))

    def once(request: gr.Request, data: gr.EventData, *values: Any) -> Any:
        say, given = arguments(request, data, values)
        try:
            if not overtaken(request, values[0]):
                with within(request):
                    result = fn(say, *given)
                if not overtaken(request, values[0]):
                    return _single(answer(result, request, values[0]))
            return nothing
        except Exception as error:  # the page is the boundary where every failure is shown
            with within(request):
                return _single(unchanged(error, say))

    def stream(request: gr.Request, data: gr.EventData, *values: Any) -> Iterator[Any]:
        say, given = arguments(request, data, values)
        last: list[Any] = [None] * (outputs + 1)
        try:
            if overtaken(request, values[0]):
                yield nothing
                return
            for result in _each(fn(say, *given), lambda: within(request)):
                if overtaken(request, values[0]):
                    yield nothing
                    return
                last = _again(answer(result, request, values[0]), last)
                yield _single(last)
        except Exception as error:  # as above
            with within(request):
                told = unchanged(error, say)
            yield _single(_again(told, last))

    handler = stream if inspect.isgeneratorfunction(fn) else once
    handler.__name__ = getattr(fn, "__name__", "handler")
    return handler


def _each(
    results: Generator[Any, None, None], within: Callable[[], AbstractContextManager[None]]
) -> Iterator[Any]:
    """What a generator gives, worked out within a context that is entered anew each time: Gradio asks for each result
    from another thread. Where nobody asks any more, it ends in that context too.
    """
    nothing = object()
    try:
        while True:
            with within():
                result = next(results, nothing)
            if result is nothing:
                return
            yield result
    finally:
        with within():
            results.close()


def _again(parts: list[Any], last: list[Any]) -> list[Any]:
    """What a generator gives next, with the updates that it leaves as they are given once more.

    Of each answer Gradio sends only what differs from the one before, and the page writes that into the very object
    that came before. Where both come at once, what the first one changes would be gone before the page has read it.
    """
    nothing = gr.skip()
    return [
        before if isinstance(part, dict) and part == nothing and isinstance(before, (Block, dict)) else part
        for part, before in zip(parts, last, strict=True)
    ]


def _number_of(sent: Any) -> int:
    """The number that the page gave to a call, with its draft; 0 where there is none."""
    try:
        number = json.loads(sent)["sent"]
    except (TypeError, ValueError, LookupError):
        return 0
    return number if isinstance(number, int) else 0


def _session(request: gr.Request) -> str:
    """The open page that a request is of, told apart from other users' pages."""
    page, user = getattr(request, "session_hash", None) or "", sender(request)
    return f"{user} {page}" if user else page


def _single(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
