// Keeps a page fresh: listens to the server's stream, fetches what changed, and says so loudly when
// it no longer can. A safety screen that freezes in silence is worse than none.

import { children, morph } from './morph.js';
import { clockText, fill, set, tick, words } from './time.js';
import './keys.js';

const SILENT_AFTER = 20_000;
const POLL_EVERY = 5_000;
const HIDDEN_POLL_EVERY = 15_000;

const ALARMS = '/fragments/alarms';
const fragment = document.body.dataset.fragment;
const content = document.getElementById('content');
const banner = document.getElementById('banner');
const polite = document.getElementById('polite');
const assertive = document.getElementById('assertive');

/** @type {EventSource | null} */
let source = null;
let heardAt = performance.now();
let freshAt = clockText();
let polledAt = 0;
let isOver = false;
/** @type {Map<string, {waits: boolean, level: string, place: string}> | null} */
let known = null;

// --- the stream ---------------------------------------------------------------------------------

function listen() {
  source?.close();
  if (isOver) return;
  source = new EventSource('/live');
  source.addEventListener('pulse', (event) => {
    const pulse = JSON.parse(event.data);
    set(pulse.now, pulse.clock, pulse.scale);
    showLast(pulse.last_reading);
    if (pulse.theme) document.documentElement.dataset.theme = pulse.theme;
    heard();
    refresh();
  });
  source.addEventListener('incident', () => { heard(); refresh(); });
  source.addEventListener('problems', (event) => { heard(); showProblems(JSON.parse(event.data).problems); });
  source.addEventListener('ended', end);
}

function heard() {
  heardAt = performance.now();
}

function showLast(ms) {
  const last = document.getElementById('last');
  if (!last || ms === null) return;
  let age = last.querySelector('[data-age]');
  if (!age) {
    age = document.createElement('span');
    age.className = 'age';
    last.replaceChildren(age);
  }
  age.dataset.age = String(ms);
}

function showProblems(problems) {
  const box = document.getElementById('problems');
  box.querySelector('ul').replaceChildren(...problems.map((problem) => {
    const item = document.createElement('li');
    item.textContent = problem;
    return item;
  }));
  box.hidden = problems.length === 0;
}

// --- the watchdog -------------------------------------------------------------------------------

setInterval(() => {
  tick();
  const time = performance.now();
  if (isOver) return;
  if (document.hidden) {
    if (time - polledAt > HIDDEN_POLL_EVERY) refresh();
    return;
  }
  if (time - heardAt <= SILENT_AFTER) return;
  if (!document.body.dataset.live) freeze();
  if (time - polledAt > POLL_EVERY) {
    refresh();
    if (source?.readyState === EventSource.CLOSED) listen();
  }
}, 1000);

/** Data on screen can no longer be trusted. */
function freeze() {
  document.body.dataset.live = 'frozen';
  say(fill(words.frozen, freshAt.slice(-8)), words.frozen_help);
}

function settle() {
  freshAt = clockText();
  const isStreaming = performance.now() - heardAt <= SILENT_AFTER;
  if (isStreaming) {
    delete document.body.dataset.live;
    banner.hidden = true;
  } else {
    document.body.dataset.live = 'polling';
    say(fill(words.polling, freshAt.slice(-8)), '');
  }
}

function say(headline, help) {
  const strong = document.createElement('strong');
  strong.textContent = headline;
  if (banner.querySelector('strong')?.textContent !== headline) banner.replaceChildren(strong, ` ${help}`);
  banner.hidden = false;
}

function end() {
  isOver = true;
  source?.close();
  document.body.dataset.live = 'frozen';
  const link = document.createElement('a');
  link.href = `/sign-in?to=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = words.sign_in_again;
  const strong = document.createElement('strong');
  strong.textContent = words.session_ended;
  banner.replaceChildren(strong, ' ', link);
  banner.hidden = false;
}

document.addEventListener('visibilitychange', () => {
  if (isOver) return;
  if (document.hidden) {
    // a browser allows six connections to one server: leave them to the pages somebody looks at
    source?.close();
    polledAt = performance.now();
  } else {
    heard();
    listen();
    refresh();
  }
});

// --- fetching and patching ----------------------------------------------------------------------

let isFetching = false;
let isWanted = false;

async function refresh() {
  if (isOver) return;
  if (isFetching) {
    isWanted = true;
    return;
  }
  isFetching = true;
  polledAt = performance.now();
  try {
    const alarms = await get(ALARMS);
    if (!alarms) return;
    announce(alarms);
    if (fragment === ALARMS) patchAlarms(alarms);
    else if (fragment) {
      const page = await get(fragment);
      if (page) patch(page);
    }
    settle();
    tick();
  } catch {
    if (!document.hidden && performance.now() - heardAt > SILENT_AFTER) freeze();
  } finally {
    isFetching = false;
    if (isWanted) {
      isWanted = false;
      setTimeout(refresh, 250);
    }
  }
}

/** @returns {Promise<Element | null>} the fetched content, or null when the session has ended */
async function get(address) {
  const answer = await fetch(address, { cache: 'no-store', signal: AbortSignal.timeout(10_000) });
  if (answer.status === 401) {
    end();
    return null;
  }
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  const main = document.createElement('main');
  const parsed = new DOMParser().parseFromString(await answer.text(), 'text/html');
  main.append(...parsed.body.childNodes);
  return main;
}

function patch(wanted) {
  const shell = /** @type {Element} */ (content.cloneNode(false));
  shell.append(...wanted.childNodes);
  morph(content, shell);
}

// --- the alarm list: never re-ordered under the pointer -------------------------------------------

/** @type {Element | null} */
let pending = null;

/** A pointer parked on the list is nobody's hand: after this long the list moves on. */
const IDLE_AFTER = 15_000;
let touchedAt = performance.now();
for (const event of ['pointermove', 'pointerdown', 'keydown', 'wheel', 'focusin']) {
  addEventListener(event, () => { touchedAt = performance.now(); }, { passive: true });
}

function isHeld() {
  const rows = document.getElementById('alarm-rows');
  if (!rows || performance.now() - touchedAt > IDLE_AFTER) return false;
  return rows.matches(':hover') || rows.contains(document.activeElement);
}

function patchAlarms(wanted) {
  if (!isHeld()) {
    pending = null;
    patch(wanted);
    showNew([]);
    return;
  }
  pending = /** @type {Element} */ (wanted.cloneNode(true));
  const here = document.getElementById('alarm-rows');
  const there = wanted.querySelector('#alarm-rows');
  const fresh = there ? [...there.children].filter((row) => !document.getElementById(row.id)) : [];
  const same = document.createElement('tbody');
  for (const row of here.children) {
    const twin = there?.querySelector(`#${row.id}`);
    const copy = /** @type {Element} */ ((twin ?? row).cloneNode(true));
    copy.classList.toggle('gone', !twin);
    same.append(copy);
  }
  const active = document.activeElement;
  children(here, same);
  const counts = wanted.querySelector('#alarms .counts');
  const shown = document.querySelector('#alarms .counts');
  if (counts && shown) morph(shown, counts);
  if (active && !active.isConnected) here.querySelector('tr')?.focus({ preventScroll: true });
  showNew(fresh);
}

function showNew(rows) {
  const bar = document.getElementById('new-rows');
  if (!bar) return;
  bar.hidden = rows.length === 0;
  bar.textContent = rows.length ? fill(words.new_rows, rows.length) : '';
  bar.classList.toggle('danger', rows.some((row) => row.dataset.level === 'danger'));
}

function release() {
  if (!pending) return;
  const wanted = pending;
  pending = null;
  patch(wanted);
  showNew([]);
}

document.addEventListener('click', (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.id === 'new-rows') {
    const before = new Set([...document.querySelectorAll('#alarm-rows tr')].map((row) => row.id));
    release();
    const first = [...document.querySelectorAll('#alarm-rows tr')].find((row) => !before.has(row.id));
    first?.focus();
    return;
  }
  const row = /** @type {HTMLElement | null} */ (target.closest('tr.row[data-href]'));
  if (row && !target.closest('a, button, form, summary') && !getSelection()?.toString()) location.assign(row.dataset.href);
});
for (const event of ['mouseout', 'focusout']) {
  content.addEventListener(event, () => setTimeout(() => { if (pending && !isHeld()) release(); }, 300));
}

// --- telling ------------------------------------------------------------------------------------

/** Tells what is new, danger at once and the rest politely; never reads out every row. */
function announce(alarms) {
  const rows = /** @type {HTMLElement[]} */ ([...alarms.querySelectorAll('#alarm-rows tr')]);
  const seen = new Map(rows.map((row) => [row.id, {
    waits: row.dataset.waits === 'true', level: row.dataset.level, place: row.dataset.place,
  }]));
  const waiting = [...seen.values()].filter((row) => row.waits).length;
  const badge = document.getElementById('waiting');
  badge.textContent = String(waiting);
  badge.hidden = waiting === 0;
  const title = document.title.replace(/^\(\d+\) /, '');
  document.title = waiting ? `(${waiting}) ${title}` : title;
  if (known) {
    const fresh = [...seen].filter(([id, row]) => row.waits && !known.get(id)?.waits).map(([, row]) => row);
    const danger = fresh.filter((row) => row.level === 'danger');
    if (danger.length > 0) assertive.textContent = fill(words.new_danger, danger.map((row) => row.place).join('; '));
    else if (fresh.length > 0) polite.textContent = fill(words.new_alarms, fresh.length);
  }
  known = seen;
}

// --- acknowledging without leaving the page ---------------------------------------------------------

document.addEventListener('submit', async (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!form.matches('form[data-ack]')) return;
  event.preventDefault();
  const button = form.querySelector('button');
  if (button.disabled) return;
  button.disabled = true;
  form.closest('tr')?.focus({ preventScroll: true });
  try {
    const answer = await fetch(form.action, {
      method: 'POST', body: new URLSearchParams(/** @type {any} */ (new FormData(form))), cache: 'no-store',
      signal: AbortSignal.timeout(10_000),
    });
    if (new URL(answer.url).pathname === '/sign-in') return end();
    if (!answer.ok) throw new Error(String(answer.status));
    await refresh();
  } catch {
    button.disabled = false;
    assertive.textContent = words.ack_failed;
    form.submit(); // the server's own page says what is wrong
  }
});

tick();
listen();
refresh();
