"""An open page follows its server: it says where that cannot be reached, and loads anew once it is started again."""

from __future__ import annotations

import json

from studio.ui.i18n import words

PATH = "/studio-start"
"""Answers with the start id of the server that serves: another one for each start."""

# A page is made by one start of the server and holds what only that one knew, so it is loaded anew at another; the open
# tab stands in the address and the draft in the browser. The server is asked for every few seconds while the page is
# looked at, and at once when a request of the page fails. Gradio's own notice of a lost connection speaks English only,
# and it no longer writes the open tab into the address.
_HEAD = """<style>
html.unreachable .toast-wrap { display: none; }
#unreachable {
  position: fixed; bottom: 16px; left: 50%%; transform: translateX(-50%%); z-index: 10000;
  max-width: calc(100vw - 32px); box-sizing: border-box; margin: 0; padding: 8px 16px;
  border-radius: 8px; border: 1px solid var(--line, #ddd); font: 500 14px/20px var(--font, sans-serif);
  background: var(--warn-soft, #fbf2dd); color: var(--warn, #8a5a00);
}
</style><script>(() => {
  const start = %(start)s, sentence = %(sentence)s;
  const every = 3000, again = 1500, patience = 10000;  // milliseconds
  const ask = window.fetch;
  let timer = 0, asking = false;
  const say = (lost) => {
    document.documentElement.classList.toggle('unreachable', lost);
    const banner = document.getElementById('unreachable');
    if (!lost) return banner?.remove();
    const tab = document.querySelector('#tabs [role=tab][aria-selected=true]');
    if (tab) history.replaceState(null, '', '#' + tab.dataset.tabId);
    if (banner) return;
    const made = document.createElement('p');
    made.id = 'unreachable';
    made.setAttribute('role', 'status');
    made.textContent = sentence;
    document.body.append(made);
  };
  const serving = async () => {
    try {
      const answer = await ask('%(path)s', {cache: 'no-store', signal: AbortSignal.timeout(patience)});
      if (answer.status === 401) location.reload();  // signed out meanwhile: to the login
      const id = answer.ok ? await answer.text() : '';
      return /^[0-9a-f]{16}$/.test(id) ? id : '';
    } catch { return ''; }
  };
  const look = async () => {
    if (asking) return;
    clearTimeout(timer);
    asking = true;
    const id = await serving();
    asking = false;
    if (id && id !== start) return location.reload();
    say(!id);
    if (!document.hidden) timer = setTimeout(look, id ? every : again);
  };
  window.fetch = (...request) => ask(...request).catch((error) => {
    if (error.name !== 'AbortError') look();
    throw error;
  });
  document.addEventListener('visibilitychange', () => document.hidden || look());
  timer = setTimeout(look, every);
})();</script>"""


def head(language: str, start: str) -> str:
    """What the page's <head> needs to follow the server that was started as `start`."""
    say = words(language)
    # Relative, so that it also works under the path of a proxy.
    texts = {"start": json.dumps(start), "sentence": json.dumps(say("page.unreachable")), "path": PATH[1:]}
    return _HEAD % texts
