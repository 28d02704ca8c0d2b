// Keeps the clock and the ages on the page going between two words from the server, by the server's
// clock and its pace (the demo runs faster than real time).

const words = JSON.parse(document.body.dataset.words);
let base = Number(document.body.dataset.now);
let scale = Number(document.body.dataset.scale) || 1;
let since = performance.now();
let clockBase = parse(document.getElementById('clock')?.textContent ?? '');

export { words };

/** @param {string} text @param {...unknown} values */
export function fill(text, ...values) {
  return values.reduce((filled, value, index) => filled.replace(`{${index}}`, String(value)), text);
}

/** The server's time now, epoch milliseconds. */
export function now() {
  return base + (performance.now() - since) * scale;
}

/** Takes the server's word for its time. `text` is the same instant as `YYYY-MM-DD HH:MM:SS`. */
export function set(ms, text, pace) {
  base = ms;
  scale = pace || 1;
  since = performance.now();
  clockBase = parse(text);
}

function parse(text) {
  const ms = Date.parse(`${text.trim().replace(' ', 'T')}Z`);
  return Number.isNaN(ms) ? 0 : ms;
}

/** The district's wall clock as `YYYY-MM-DD HH:MM:SS`. */
export function clockText() {
  if (!clockBase) return '';
  return new Date(clockBase + (performance.now() - since) * scale).toISOString().slice(0, 19).replace('T', ' ');
}

/** A duration in its two largest units, in the same words as the server's. */
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const m = Math.floor(s / 60);
  const h = Math.floor(m / 60);
  if (m < 1) return fill(words.seconds, s);
  if (m < 10 && s % 60 > 0) return fill(words.minutes_seconds, m, s % 60);
  if (h < 1) return fill(words.minutes, m);
  if (h < 48) return fill(words.hours_minutes, h, String(m % 60).padStart(2, '0'));
  return fill(words.days_hours, Math.floor(h / 24), h % 24);
}

export function tick() {
  const time = now();
  const clock = document.getElementById('clock');
  const text = clockText();
  if (clock && text) clock.textContent = text;
  for (const element of document.querySelectorAll('[data-age]')) {
    show(element, fill(words.ago, span(time - Number(element.dataset.age))));
  }
  for (const element of document.querySelectorAll('[data-due]')) {
    const left = Number(element.dataset.due) - time;
    show(element, left < 1000 ? words.due_now : fill(words.in_time, span(left)));
  }
}

function show(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
