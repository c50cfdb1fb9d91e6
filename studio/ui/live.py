"""HTML that the browser keeps alive while it is written anew again and again: folds, clocks, local times, readouts."""

from __future__ import annotations

from html import escape

from studio.engine.assets import ASSETS
from studio.ui import views
from studio.ui.i18n import Words

COPY = (ASSETS / "copy.js").read_text(encoding="utf-8")
LIVE = (
    views.CLICKS
    + COPY
    + """
const open = new Set();
element.addEventListener('toggle', (event) => {
  const key = event.target.dataset && event.target.dataset.key;
  if (!key || !event.target.isConnected) return;
  if (event.target.open) open.add(key); else open.delete(key);
}, true);

const clock = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole % 3600 / 60), whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, index) => index ? String(part).padStart(2, '0') : part).join(':');
};
const tick = () => element.querySelectorAll('[data-clock]').forEach((node) => {
  if (node.base !== node.dataset.clock) {  // written anew, perhaps into the same node
    node.base = node.dataset.clock;
    node.seen = performance.now();
  }
  const passed = (performance.now() - node.seen) / 1000;
  const way = Number(node.dataset.way);
  node.textContent = clock(Number(node.dataset.clock) + way * passed);
});
const clocks = setInterval(() => element.isConnected ? tick() : clearInterval(clocks), 1000);

let pointer = null;
const readout = () => {
  element.querySelectorAll('.plot-cross, .plot-tip').forEach((node) => node.remove());
  if (!pointer) return;
  const canvas = document.elementsFromPoint(pointer.x, pointer.y).find((node) => node.matches('.plot-canvas'));
  if (!canvas || !element.contains(canvas)) return;
  const {step, last, names, rows} = JSON.parse(canvas.dataset.plot);
  const box = canvas.getBoundingClientRect();
  const at = (pointer.x - box.left) / box.width * last;
  if (!rows.length) return;
  const row = rows.reduce((best, next) => Math.abs(next[0] - at) < Math.abs(best[0] - at) ? next : best);
  const share = row[0] / last * 100;
  const cross = document.createElement('i');
  cross.className = 'plot-cross';
  cross.style.left = share + '%';
  const tip = document.createElement('div');
  tip.className = 'plot-tip' + (share > 60 ? ' left' : '');
  tip.style.left = share + '%';
  const line = (text, look) => {
    const node = document.createElement('span');
    node.className = look ? 'plot-key key-' + look : '';
    node.textContent = text;
    tip.append(node);
  };
  line(step + ' ' + row[0]);
  names.forEach(([name, look], index) => row[index + 1] !== null && line(name + ' ' + row[index + 1], look));
  canvas.append(cross, tip);
};
element.addEventListener('pointermove', (event) => { pointer = {x: event.clientX, y: event.clientY}; readout(); });
element.addEventListener('pointerleave', () => { pointer = null; readout(); });

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-copied]');
  if (button) copy(button, button.dataset.copied, button.dataset.marked);
});

const renewed = () => {
  element.querySelectorAll('details[data-key]').forEach((node) => {
    if (open.has(node.dataset.key) && !node.open) node.open = true;
  });
  element.querySelectorAll('time[datetime]').forEach((node) => {
    const local = new Date(node.getAttribute('datetime')).toLocaleString(
      document.documentElement.lang || undefined, {dateStyle: 'medium', timeStyle: 'short'});
    if (node.textContent !== local) node.textContent = local;
  });
  tick();
};
const observer = new MutationObserver(() => {
  observer.disconnect();
  renewed();
  if (pointer) readout();
  observer.observe(element, {childList: true, characterData: true, subtree: true});
});
renewed();
observer.observe(element, {childList: true, characterData: true, subtree: true});
"""
)
"""For gr.HTML(js_on_load=…), where any of the pieces below, a chart, or an `.act` stands in the HTML."""

SAVE = """(file) => {
  if (!file) return;
  const link = document.createElement('a');
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""
"""After an event that gave a hidden gr.DownloadButton a file: the browser saves it."""


def fold(key: str, summary: str, inner: str, *, opened: bool = False) -> str:
    """A fold that stays as its reader left it; `key` tells it from others of the same HTML, `inner` is HTML."""
    state = " open" if opened else ""
    name = f"<summary>{escape(summary)}</summary>"
    return f'<details class="fold" data-key="{escape(key)}"{state}>{name}{inner}</details>'


def raw(text: str) -> str:
    """Text as it is, letter by letter."""
    return f'<pre class="raw">{escape(text)}</pre>'


def copyable(say: Words, text: str) -> str:
    """As `raw`, with a button that copies it."""
    done, marked, label = (escape(say(key)) for key in ("copy.done", "copy.marked", "copy"))
    button = (
        f'<button type="button" class="plain" data-copied="{done}" data-marked="{marked}">{label}</button>'
    )
    return f'<div class="copyable">{button}{raw(text)}</div>'


def moment(at: str, classes: str = "") -> str:
    """A UTC time, which the browser shows in the reader's own."""
    shown = escape(at[:16].replace("T", " "))
    return f'<time class="{classes}" datetime="{escape(at)}">{shown}</time>'


def bar(say: Words, share: float) -> str:
    """Progress, with its percentage beside it; `share` is 0 to 1."""
    percent = 100 * share
    return (
        f'<div class="run-progress"><div class="bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent:.0f}" aria-label="{escape(say("training.progress"))}">'
        f'<i style="width:{percent:.2f}%"></i></div><span class="num">{percent:.0f} %</span></div>'
    )


def clock(seconds: float, way: int) -> str:
    """A time that the browser counts on: `way` 1 up, -1 down, 0 standing still.

    >>> clock(65.2, 0)
    '<span data-clock="65" data-way="0">1:05</span>'
    """
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f'<span data-clock="{whole}" data-way="{way}">{text}</span>'
