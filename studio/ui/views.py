"""What the page shows, as HTML made from domain types: pure functions; every text from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from studio.domain.errors import StudioError
from studio.domain.machine import Machine
from studio.ui.i18n import Words, message_of

CHIPS = {"error": "bad", "warning": "warn", "info": "info"}
"""The chip of each severity."""
CLICKS = """
element.addEventListener('click', (event) => {
  const act = event.target.closest('.act');
  if (!act || !element.contains(act) || act.disabled) return;
  const {to, ...told} = act.dataset;
  trigger('click', told);
  if (to) bring(to, 50);
});
const bring = (id, tries) => {
  const there = document.getElementById(id);
  if (there?.offsetParent) there.scrollIntoView({block: 'start'});
  else if (tries) setTimeout(bring, 100, id, tries - 1);
};
"""
"""For gr.HTML(js_on_load=…): a click on `.act` reaches Python with the element's data-* attributes. What `data-to`
names is brought into view, once it is shown."""
LANGUAGE_SWITCH = """
const another = () => '%s=' + element.querySelector('[data-language]').dataset.language;
element.addEventListener('click', (event) => {
  if (!event.target.closest('[data-language]')) return;
  document.cookie = `${another()}; path=/; max-age=31536000; samesite=strict`;
  location.reload();
});
// Answers come in the language that was chosen last, in whichever window: a page in another one would be half of each.
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && document.cookie.split('; ').includes(another())) location.reload();
});
"""


def download(address: str, label: str) -> str:
    """A link that the browser saves; it says itself how far it is."""
    return f'<a class="quiet" href="{escape(address)}" download>{escape(label)}</a>'


def error(say: Words, problem: BaseException, number: str = "") -> str:
    """The red box: cause and remedy, and where it is not the user's mistake the number that its details are kept by."""
    if isinstance(problem, StudioError):
        message, remedy = message_of(say, problem)
        return error_text(say, message, remedy)
    return error_text(
        say,
        say("error.unexpected", problem=f"{type(problem).__name__}: {problem}"),
        say("error.report", number=number) if number else say("error.again"),
    )


def error_text(say: Words, message: str, remedy: str = "", trace: str = "") -> str:
    """The red box for a sentence that is translated already; with what a run's process said, folded away."""
    parts = [f'<p class="error-cause">{escape(message)}</p>']
    if remedy:
        parts.append(f'<p class="error-remedy">{escape(remedy)}</p>')
    if trace:
        parts.append(
            f"<details><summary>{escape(say('error.details'))}</summary><pre>{escape(trace)}</pre></details>"
        )
    return f'<div class="error-box" role="alert">{"".join(parts)}</div>'


def field_problem(sentence: str) -> str:
    """What is wrong with one field, beneath it."""
    return f'<p class="field-wrong" role="alert">{escape(sentence)}</p>'


def empty(title: str, next_step: str) -> str:
    """An empty state: what is not there yet, and what to do."""
    return f'<div class="empty"><p class="empty-title">{escape(title)}</p><p>{escape(next_step)}</p></div>'


def chip(kind: str, text: str) -> str:
    """A short mark; `kind` is good, warn, bad or info."""
    return f'<span class="chip chip-{kind}">{escape(text)}</span>'


def panel(title: str, body: str) -> str:
    """A card with a heading; `body` is HTML."""
    return f'<div class="panel"><p class="section-title">{escape(title)}</p>{body}</div>'


def table(heads: Iterable[str], lines: str) -> str:
    """A table that scrolls by itself where it is wider than the page; `lines` is HTML."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return (
        f'<div class="table-wrap"><table class="rows"><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def pager(say: Words, page: int, total: int, page_rows: int) -> str:
    """Where one is in a list of `total` rows, and the way on and back."""
    first, last = (page - 1) * page_rows + 1, min(page * page_rows, total)
    place = escape(say("data.page", first=count(first), last=count(last), total=count(total)))
    back = _leaf(say("data.previous"), page - 1, page > 1)
    on = _leaf(say("data.next"), page + 1, last < total)
    return f'<div class="pager"><span class="muted num">{place}</span><span>{back}{on}</span></div>'


def _leaf(label: str, page: int, possible: bool) -> str:
    state = "" if possible else " disabled"
    return f'<button type="button" class="act plain" data-page="{page}"{state}>{escape(label)}</button>'


def header(say: Words, *, model: str, data: str, machine: Machine | None, user: str = "") -> str:
    """The name, and in one line what is chosen; with who is signed in, where somebody is."""
    parts = [
        (say("header.model"), model),
        (say("header.data"), data or say("header.no_data")),
        (say("header.machine"), machine_line(say, machine)),
    ]
    facts = "".join(
        f'<span class="fact"><span class="fact-name">{escape(name)}</span> {escape(value)}</span>'
        for name, value in parts
    )
    other, name = ("zh", "中文") if say.language == "en" else ("en", "English")
    switch = f'<button type="button" class="language" data-language="{other}" lang="{other}">{name}</button>'
    out = (
        f'<form class="account" method="post" action="logout"><span class="who">{escape(user)}</span>'
        f'<button type="submit" class="language">{escape(say("header.sign_out"))}</button></form>'
        if user
        else ""
    )
    return (
        f'<div class="header"><h1>{escape(say("app.name"))}</h1><div class="facts">{facts}</div>'
        f'<div class="corner">{out}{switch}</div></div>'
    )


def machine_line(say: Words, machine: Machine | None) -> str:
    if machine is None:
        return say("header.probing")
    memory = size(machine.memory_bytes)
    if machine.device == "cpu":
        return say("header.cpu", cores=machine.cores, memory=memory)
    return say("header.gpu", name=machine.name, memory=memory)


def size(number: float) -> str:
    """Bytes for people, in the units that memory is sold in.

    >>> size(512), size(3_400_000), size(25_769_803_776)
    ('512 B', '3.2 MiB', '24.0 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def count(number: int) -> str:
    """
    >>> count(1234567)
    '1,234,567'
    """
    return f"{number:,}"


def rows(say: Words, number: int) -> str:
    """A number of rows in words."""
    return say("rows.one") if number == 1 else say("rows.many", count=count(number))


def tokens(say: Words, number: int) -> str:
    """A number of tokens in words."""
    return say("tokens.one") if number == 1 else say("tokens.many", count=count(number))


def about(say: Words, seconds: float) -> str:
    """An estimated time, no more exact than it can be."""
    if seconds >= 600:
        seconds = round(seconds / 60) * 60
        return (
            say("time.about_minutes", minutes=round(seconds / 60))
            if seconds < 5400
            else duration(say, seconds)
        )
    return duration(say, round(seconds / 5) * 5 if seconds > 20 else seconds)


def duration(say: Words, seconds: float) -> str:
    """About how long, in the two units that matter."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return say("time.hours", hours=hours, minutes=minutes)
    if minutes:
        return say("time.minutes", minutes=minutes, seconds=rest)
    return say("time.seconds", seconds=rest)
