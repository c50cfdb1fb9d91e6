// The talk of the Chat tab: the newest turn comes into view, and the token under pointer or focus says what it was
// chosen from. Run by gr.HTML(js_on_load=…), which gives `element`.

let rounds = 0;
new MutationObserver(() => {
  const now = element.querySelectorAll('.round');
  if (now.length > rounds) now[now.length - 1].scrollIntoView({block: 'nearest', behavior: 'smooth'});
  rounds = now.length;
}).observe(element, {childList: true, subtree: true});

const tell = (event) => {
  const token = event.target.closest('.odds > .odd');
  if (!token) return;
  token.closest('.look').querySelector('.odds-said').textContent = token.dataset.told;
};
element.addEventListener('pointerover', tell);
element.addEventListener('focusin', tell);

// One stop for the tab key, the arrows go from token to token.
element.addEventListener('keydown', (event) => {
  const token = event.target.closest('.odds > .odd');
  const next = token && {
    ArrowRight: token.nextElementSibling,
    ArrowLeft: token.previousElementSibling,
    Home: token.parentElement.firstElementChild,
    End: token.parentElement.lastElementChild,
  }[event.key];
  if (!next) return;
  event.preventDefault();
  token.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
