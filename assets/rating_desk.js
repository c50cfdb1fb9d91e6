// The blind desk: the server draws each pair of answers; here are the keys, and the scores until the vote sends them.
// Run by gr.HTML(js_on_load=…), which gives `element`, `props`, `server`, `trigger` and `watch`.

const find = (selector) => element.querySelector(selector);
const NAME = 'studio-rater';

let desk = null;  // {run, desk, language} of the desk that is open
let cells = [];  // one a dimension and answer, in the order in which digits fill them
let at = 0;
let busy = false;

let known = '';  // the rater's name, once the server took it
try { known = localStorage.getItem(NAME) ?? ''; } catch (error) { /* a browser that keeps nothing */ }
const rater = () => (find('#rater-name')?.value ?? known).trim();

const turn = async (wish) => {
  if (!desk || busy) return;
  busy = true;
  element.classList.add('waiting');
  try {
    const asked = desk;
    const answer = await server.turn({...asked, rater: rater(), ...wish});
    if (asked === desk) draw(answer);
  } catch (error) {
    find('.desk-problem').innerHTML = desk.failed;
  } finally {
    busy = false;
    element.classList.remove('waiting');
  }
};

const draw = ({html, problem, rated, rater: taken}) => {
  if (taken) {
    known = taken;
    try { localStorage.setItem(NAME, known); } catch (error) { /* it is asked for again after a reload */ }
  }
  if (html) {
    find('.desk').innerHTML = html;
    cells = [...element.querySelectorAll('[data-cell]')];
    at = 0;
    mark();
    const named = find('#rater-name');
    if (named && !named.value) named.focus();
    else find('.desk').focus({preventScroll: true});
    if (wentOn) find('.desk').scrollIntoView({block: 'start', behavior: 'smooth'});
  }
  wentOn = false;
  find('.desk-problem').innerHTML = problem;
  if (rated) trigger('change', {desk: desk.desk});
};
let wentOn = false;

const mark = () => cells.forEach((cell, index) => cell.classList.toggle('at', index === at));
const scores = () => {
  const found = {left: {}, right: {}};
  for (const chosen of element.querySelectorAll('[data-cell] input:checked')) {
    const [side, dimension] = chosen.closest('[data-cell]').dataset.cell.split(' ');
    found[side][dimension] = Number(chosen.value);
  }
  return found;
};
const place = () => Number(find('[data-place]')?.dataset.place);
const vote = (choice) => {
  if (!find('[data-place]')) return;
  wentOn = true;
  turn({place: place(), token: find('[data-place]').dataset.token, vote: choice, scores: scores()});
};
const go = (step) => turn({place: place() + step});

element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  if (button.dataset.vote) vote(button.dataset.vote);
  if (button.dataset.step) go(Number(button.dataset.step));
  if (button.dataset.begin !== undefined) turn({});
  if (button.dataset.another !== undefined) {
    known = '';
    turn({});
  }
});
element.addEventListener('change', (event) => {
  const cell = event.target.closest('[data-cell]');
  if (!cell) return;
  at = Math.min(cells.indexOf(cell) + 1, cells.length - 1);
  mark();
});
element.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches('input:not([type=radio])')) {
    if (event.key === 'Enter') turn({});
    return;
  }
  const keys = {
    a: () => vote('left'),
    b: () => vote('right'),
    t: () => vote('tie'),
    p: () => go(-1),
    n: () => go(1),
  };
  const key = event.key.toLowerCase();
  if (/^[1-5]$/.test(key) && cells[at]) {
    const radio = cells[at].querySelector(`input[value="${key}"]`);
    radio.checked = true;
    radio.dispatchEvent(new Event('change', {bubbles: true}));
  } else if (key === 'backspace' && cells[at]) {
    // The last one that was filled, so that a slip is undone by one key.
    if (!cells[at].querySelector('input:checked') && at) at -= 1;
    cells[at].querySelectorAll('input').forEach((input) => { input.checked = false; });
    mark();
  } else if (keys[key]) keys[key]();
  else return;
  event.preventDefault();
});

const opened = () => {
  const next = props.state ? JSON.parse(props.state) : null;
  if (JSON.stringify(next) === JSON.stringify(desk)) return;
  desk = next;
  busy = false;
  find('.desk').innerHTML = '';
  find('.desk-problem').innerHTML = '';
  element.classList.toggle('closed', !desk);
  if (!desk) return;
  turn({});
};
watch('state', opened);
opened();
