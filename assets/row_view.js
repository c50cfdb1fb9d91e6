// The rows of the Template tab: drawn from what the server says of each, kept for the rows around the one that is shown.
// Run by gr.HTML(js_on_load=…), which gives `element`, `props`, `server`, `trigger` and `watch`; `copy` is of copy.js.

const KEPT = 24;  // rows remembered
const AHEAD = 2;  // rows fetched before they are asked for, in the direction of travel
const REST = 300;  // milliseconds after which a change has come to rest

const find = (selector) => element.querySelector(selector);
const panes = [...element.querySelectorAll('.pane')].map((root) => ({
  root,
  head: root.querySelector('.pane-head'),
  lossHead: root.querySelector('.loss-head'),
  tokens: root.querySelector('.tokens'),
  runs: root.querySelector('.as-text'),
  rendered: root.querySelector('.rendered'),
}));
const tip = find('.tok-tip');
const number = find('#row-number');
const complaint = find('.field-wrong');
const note = find('.run-note');
const earlier = find('.earlier');

let view = null;  // what the server said of the data and the settings
let place = 0;  // of the row that is shown, from 1
let way = 1;  // of travel
let limit = null;  // the last maximum length that was known
let rows = new Map();
let losses = null;
let drawn = {};
let typing = false;  // a row's number, which is not to be overwritten
let drawing = 0;  // number of the last drawing, so that an older one that still goes on can stop

// Ranges [first, last] of numbers, ascending

const total = (ranges) => ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
const nth = (ranges, wanted) => {
  for (const [first, last] of ranges) {
    if (wanted <= last - first + 1) return first + wanted - 1;
    wanted -= last - first + 1;
  }
  return 0;
};
const placeOf = (ranges, value) => {
  let before = 0;
  for (const [first, last] of ranges) {
    if (value >= first && value <= last) return before + value - first + 1;
    before += last - first + 1;
  }
  return 0;
};
const nextIn = (ranges, value, way) => {
  const found = way > 0
    ? ranges.filter(([, last]) => last > value).map(([first]) => Math.max(first, value + 1))
    : ranges.filter(([first]) => first < value).map(([, last]) => Math.min(last, value - 1));
  return found.length ? (way > 0 ? Math.min(...found) : Math.max(...found)) : 0;
};

// From the server

const fetched = async (places) => {
  const asked = view;
  const length = limit;
  const missing = places.filter((wanted) => wanted >= 1 && wanted <= asked.total && !rows.has(wanted));
  if (!missing.length) return;
  const answer = await server.rows({draft: asked.draft, other: asked.other, limit: length, places: missing});
  if (view.key !== asked.key || limit !== length) return;
  for (const [key, row] of Object.entries(answer)) rows.set(Number(key), row);
  for (const key of rows.keys()) {
    if (rows.size <= KEPT) break;
    if (Math.abs(key - place) > AHEAD) rows.delete(key);
  }
};
const aheadOf = (shown) => {
  const steps = Array.from({length: AHEAD}, (_, index) => shown + way * (index + 1));
  return [...steps, shown - way, hazard(1), hazard(-1)];
};
let fetching = Promise.resolve();
const prefetch = () => {
  const shown = place;
  fetching = fetching.then(() => (shown === place ? fetched(aheadOf(shown)) : null)).catch(() => null);
};

const show = async (wanted) => {
  if (!view || !view.total) return;
  way = wanted < place ? -1 : 1;
  place = Math.min(Math.max(1, wanted), view.total);
  navigate();
  const shown = place;
  const asked = view;
  if (!rows.has(shown)) {
    element.classList.add('waiting');
    try {
      await fetched([shown]);
    } catch (error) {
      if (shown === place) fail();
    }
    if (shown === place) element.classList.remove('waiting');
  }
  if (shown !== place || asked !== view || !rows.has(shown)) return;
  draw(rows.get(shown));
  remember();
};

const fail = () => {
  complaint.textContent = view.words.failed;
  complaint.hidden = false;
};

// Drawing

const draw = (row) => {
  const look = `${view.loss} ${view.run}`;
  if (drawn.row === row && drawn.look === look) {
    colour();
    askLosses();
    return;
  }
  drawn = {row, look};
  drawing += 1;
  hideTip();
  complaint.hidden = true;
  find('#row-position').textContent = row.position;
  const sides = view.loss ? (view.run ? [row.sides[0], row.sides[0]] : [row.sides[0]]) : row.sides;
  element.querySelector('.panes').classList.toggle('two', sides.length > 1);
  panes.forEach((pane, index) => {
    pane.root.hidden = index >= sides.length;
    if (!pane.root.hidden) drawSide(pane, sides[index], drawing);
  });
  age();
  askLosses();
};

const drawSide = (pane, side, turn) => {
  const last = pane.side;
  if (side.kept && last && pane.place === place) return;
  pane.side = side;
  pane.place = place;
  pane.key = view.key;
  pane.head.innerHTML = side.head;
  pane.lossHead.innerHTML = '';
  pane.painted = null;
  const [first, ...rest] = side.pieces.length ? side.pieces : [side.problem];
  pane.tokens.classList.toggle('none', !side.pieces.length);
  pane.tokens.innerHTML = '<div>' + first + '</div>';
  if (last !== side) pane.tokens.scrollTop = 0;
  pane.at = -1;
  // The rest comes after the first screenful is painted.
  requestAnimationFrame(() => setTimeout(() => drawRest(pane, side, rest, turn)));
};

// What is still of the settings before the last change is dimmed at once, and said to be so if it stays.
const age = () => {
  const old = panes.filter((pane) => !pane.root.hidden && pane.side && pane.key !== view.key);
  panes.forEach((pane) => pane.root.classList.toggle('stale', old.includes(pane)));
  if (old.length) rest('earlier', () => { earlier.hidden = false; });
  else {
    clearTimeout(resting.earlier);
    earlier.hidden = true;
  }
};

// The card of the whole set says itself of which settings it is: its answer may come before or after that of the rows.
const ageSet = () => {
  const card = document.getElementById('set-view');
  if (!card) return;
  const of = card.querySelector('[data-settings]')?.dataset.settings;
  card.classList.toggle('stale', Boolean(of && view && of !== view.settings));
  if (card === ageSet.card) return;
  ageSet.card = card;
  const observer = new MutationObserver(() => (element.isConnected ? ageSet() : observer.disconnect()));
  observer.observe(card, {childList: true, subtree: true, attributeFilter: ['data-settings']});
};

const drawRest = (pane, side, rest, turn) => {
  if (turn !== drawing) return;
  if (rest.length) {
    // A piece after the end of a line is a block of its own, so that those before it need not be laid out again.
    const blocks = pane.tokens.children;
    const before = blocks[blocks.length - 1];
    if (before.textContent.endsWith('\n')) pane.tokens.insertAdjacentHTML('beforeend', '<div>' + rest[0] + '</div>');
    else before.insertAdjacentHTML('beforeend', rest[0]);
    setTimeout(() => drawRest(pane, side, rest.slice(1), turn));
    return;
  }
  unfold(pane);
  colour();
  // Where this row fails, its neighbours most likely do as well, and each may take seconds to.
  if (!side.problem) prefetch();
};

const unfold = (pane) => {
  if (pane.runs.open) pane.runs.lastElementChild.innerHTML = pane.side.runs;
  if (pane.rendered.open) pane.rendered.querySelector('pre').textContent = pane.side.text;
};
panes.forEach((pane) => [pane.runs, pane.rendered].forEach((fold) => fold.addEventListener('toggle', () => {
  if (pane.side) unfold(pane);
})));

// Loss per token

const lossKey = () => `${view.key} ${view.run} ${limit}`;
const knownLosses = () => (view.loss && losses && losses.key === lossKey() && losses.place === place ? losses : null);
let question = null;  // the one that is not answered yet
let begun = 0;  // when it was put, in milliseconds
let ticking = 0;
const tick = () => {
  const seconds = question ? Math.floor((performance.now() - begun) / 1000) : 0;
  const clock = Math.floor(seconds / 60) + ':' + String(seconds % 60).padStart(2, '0');
  element.querySelectorAll('.loss-clock').forEach((node) => { node.textContent = clock; });
};
const answered = () => {
  question = null;
  clearInterval(ticking);
};
const giveUp = () => {
  if (question) trigger('stop', question);
  answered();
};
const askLosses = () => {
  if (question && (!view.loss || question.key !== lossKey() || question.place !== place)) giveUp();
  if (!view.loss || knownLosses() || question) return;
  rest('losses', () => {
    if (!view.loss || knownLosses() || question) return;
    // With the settings that the row is drawn by: those that are chosen meanwhile are not what its key says.
    const token = Math.random().toString(36).slice(2);
    question = {draft: view.draft, run: view.run, place, key: lossKey(), limit, token};
    begun = performance.now();
    ticking = setInterval(tick, 1000);
    trigger('select', question);
  });
};
const colour = () => {
  const known = knownLosses();
  panes.forEach((pane, index) => {
    pane.tokens.classList.toggle('heat', view.loss);
    pane.lossHead.classList.toggle('shown', view.loss);
    if (pane.root.hidden || !view.loss) return;
    pane.lossHead.innerHTML = known ? known.heads[index] || '' : view.words.waiting;
    const levels = known && known.levels[index];
    if (!levels || pane.painted === known) return;
    const tokens = pane.tokens.getElementsByTagName('b');
    for (let at = 0; at < tokens.length; at += 1) {
      if (levels[at] !== '-') tokens[at].classList.add('h' + levels[at]);
    }
    if (tokens.length === levels.length) pane.painted = known;
  });
  tick();
};

// Where we are

const hazard = (way) => {
  const found = nextIn(view.hazards, nth(view.numbers, place) || Infinity, way);
  return found ? placeOf(view.numbers, found) : 0;
};
const navigate = () => {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  if (!typing) number.value = nth(view.numbers, place) || '';  // general rows that are mixed in have none
  find('#previous-row').disabled = place <= 1;
  find('#next-row').disabled = place >= view.total;
  find('#previous-hazard').disabled = !hazard(-1);
  find('#next-hazard').disabled = !hazard(1);
  // A button that is of no use any more gives the focus up: it stays here, where the rows are.
  if (focused && focused.disabled) number.focus();
};
const resting = {};
const rest = (name, then, pause = REST) => {
  clearTimeout(resting[name]);
  resting[name] = setTimeout(then, pause);
};
const remember = () => {
  element.dataset.place = place;
  if (view.draft.row !== place) rest('moved', () => trigger('moved', {place}));
};

const jump = (wanted) => {
  const found = placeOf(view.numbers, Number(wanted));
  if (found) {
    show(found);
    return;
  }
  complaint.textContent = view.words.no_row.replace('{row}', wanted.trim() || '–')
    .replace('{first}', view.numbers[0][0]).replace('{last}', view.numbers[view.numbers.length - 1][1]);
  complaint.hidden = false;
};
const clicks = {
  'previous-row': () => show(place - 1),
  'next-row': () => show(place + 1),
  'previous-hazard': () => show(hazard(-1)),
  'next-hazard': () => show(hazard(1)),
};
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  if (clicks[button.id]) clicks[button.id]();
  if (button.dataset.word === 'copy') copy(button, view.words.copied, view.words.marked);
});
const typed = () => {
  if (!view || !view.total) return;  // asked for once there are rows
  typing = false;
  jump(number.value);
};
number.addEventListener('input', () => { typing = true; });
number.addEventListener('change', typed);
number.addEventListener('blur', () => {
  if (!view || !view.total) return;
  typing = false;
  navigate();
});
const jumped = (event) => {
  if (!element.isConnected) {
    document.removeEventListener('click', jumped);
    return;
  }
  const button = event.target.closest('#set-view [data-row]');
  if (!button || !view) return;
  jump(button.dataset.row);
  element.scrollIntoView({block: 'nearest', behavior: 'smooth'});
};
document.addEventListener('click', jumped);

// What a token is, under the pointer and under the keyboard

const hideTip = () => { tip.hidden = true; };
const showTip = (pane, token) => {
  const tokens = pane.tokens.getElementsByTagName('b');
  const at = Array.prototype.indexOf.call(tokens, token);
  if (at < 0) return;
  const words = view.words;
  const part = token.textContent === '◌' || (tokens[at + 1] && tokens[at + 1].textContent === '◌');
  const state = token.parentElement.classList[1];
  const lines = [
    [words.id.replace('{id}', pane.side.ids[at]), words[state], part && words.part_token].filter(Boolean).join(' · '),
    words.token_of.replace('{place}', at + 1).replace('{total}', pane.side.ids.length),
  ];
  for (const [side, values] of Object.entries(knownLosses()?.values || {})) {
    if (values[at] !== null) lines.push(words['loss.' + side].replace('{loss}', values[at].toFixed(3)));
  }
  const shown = document.createElement('b');
  shown.textContent = token.textContent;
  tip.replaceChildren(shown, ...lines.map((line) => {
    const node = document.createElement('span');
    node.textContent = line;
    return node;
  }));
  tip.hidden = false;
  const box = token.getClientRects()[0];
  const size = tip.getBoundingClientRect();
  tip.style.left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - size.width - 8)) + 'px';
  tip.style.top = (box.top - size.height - 6 >= 8 ? box.top - size.height - 6 : box.bottom + 6) + 'px';
};
const unmark = (pane) => {
  const marked = pane.tokens.querySelector('b.at');
  if (marked) marked.classList.remove('at');
};
const step = (pane, to) => {
  const tokens = pane.tokens.getElementsByTagName('b');
  if (!tokens.length) return;
  pane.at = Math.min(Math.max(0, to), tokens.length - 1);
  unmark(pane);
  const token = tokens[pane.at];
  token.classList.add('at');
  token.scrollIntoView({block: 'nearest'});
  showTip(pane, token);
};
const line = (pane, way) => {
  // The token of the next line that is nearest.
  const tokens = pane.tokens.getElementsByTagName('b');
  const from = tokens[Math.max(0, pane.at)].getClientRects()[0];
  let best = -1;
  let top = null;
  for (let at = pane.at + way; at >= 0 && at < tokens.length; at += way) {
    const box = tokens[at].getClientRects()[0];
    if (Math.abs(box.top - from.top) < 4) continue;
    if (top === null) top = box.top;
    if (Math.abs(box.top - top) > 4) break;
    const nearer = best < 0
      || Math.abs(box.left - from.left) < Math.abs(tokens[best].getClientRects()[0].left - from.left);
    if (nearer) best = at;
  }
  if (best >= 0) step(pane, best);
};
panes.forEach((pane) => {
  let under = null;
  pane.tokens.addEventListener('pointermove', (event) => {
    const token = event.target.closest('b');
    if (token === under) return;
    under = token;
    if (token) showTip(pane, token); else hideTip();
  });
  pane.tokens.addEventListener('pointerleave', () => { under = null; hideTip(); });
  pane.tokens.addEventListener('scroll', () => { if (under) hideTip(); }, {passive: true});
  pane.tokens.addEventListener('click', (event) => {
    const token = event.target.closest('b');
    if (token) step(pane, Array.prototype.indexOf.call(pane.tokens.getElementsByTagName('b'), token));
  });
  pane.tokens.addEventListener('focus', () => {
    if (pane.tokens.matches(':focus-visible')) step(pane, Math.max(0, pane.at));
  });
  pane.tokens.addEventListener('blur', () => { unmark(pane); hideTip(); });
  pane.tokens.addEventListener('keydown', (event) => {
    const moves = {
      ArrowRight: () => step(pane, pane.at + 1),
      ArrowLeft: () => step(pane, pane.at - 1),
      ArrowDown: () => line(pane, 1),
      ArrowUp: () => line(pane, -1),
      Home: () => step(pane, 0),
      End: () => step(pane, Infinity),
      Escape: () => { unmark(pane); hideTip(); },
    };
    if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moves[event.key]();
  });
});

// What the server says

const name = () => {
  element.querySelectorAll('[data-word]').forEach((node) => { node.textContent = view.words[node.dataset.word]; });
  element.querySelectorAll('[data-label]').forEach((node) => {
    node.setAttribute('aria-label', view.words[node.dataset.label]);
  });
};
const told = () => {
  if (!props.state) return;
  const before = view;
  view = JSON.parse(props.state);
  if (before && view.settled) {
    // Figures may come late, when settings were changed again: they tell nothing but what is known of the whole set.
    const {key, hazards, limit, settled} = view;
    view = key === before.key ? {...before, hazards, limit, settled} : before;
    if (view === before) return;
  }
  const other = !before || before.draft.dataset !== view.draft.dataset;
  const bound = view.limit === null && !other ? limit : view.limit;
  if (!before || before.key !== view.key || bound !== limit) rows = new Map();
  limit = bound;
  element.classList.toggle('no-rows', !view.total);
  if (!view.total) return;
  if (!before || !before.total) name();
  note.textContent = view.run_note;
  note.hidden = !view.run_note;
  age();
  show(other ? view.draft.row : place);
  if (typing && document.activeElement !== number) typed();
  ageSet();
  if (!view.settled) rest('settle', () => trigger('submit', {key: view.key}), REST * 2);
};
const heard = () => {
  const told = JSON.parse(props.losses);
  if (!question || told.token !== question.token) return;  // of a question that was given up
  losses = told;
  if (told.done) answered();
  colour();
};
watch('state', told);
watch('losses', heard);
told();
