// Single-key shortcuts. They can be turned off in the help dialog; the choice stays on this machine.

const help = /** @type {HTMLDialogElement} */ (document.getElementById('help'));
const enabled = /** @type {HTMLInputElement} */ (document.getElementById('keys-enabled'));
const opener = document.getElementById('show-help');

enabled.checked = localStorage.getItem('keys') !== 'off';
enabled.addEventListener('change', () => localStorage.setItem('keys', enabled.checked ? 'on' : 'off'));
opener.hidden = false;
opener.addEventListener('click', () => help.showModal());

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || help.open || !enabled.checked) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.closest('input, textarea, select, [contenteditable]')) return;
  const act = actions[event.key];
  if (act && act(target)) event.preventDefault();
});

const rows = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll('tr.row')]);

function step(by) {
  const all = rows();
  if (all.length === 0) return false;
  const here = all.findIndex((row) => row.contains(document.activeElement));
  const next = here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, here + by));
  all[next].focus();
  all[next].scrollIntoView({ block: 'nearest' });
  return true;
}

const actions = {
  j: () => step(1),
  k: () => step(-1),
  Enter: (target) => {
    if (!target.matches('tr.row[data-href]')) return false;
    location.assign(target.dataset.href);
    return true;
  },
  a: (target) => {
    const scope = target.closest('tr.row') ?? document.getElementById('act');
    const form = scope?.querySelector('form[data-ack]');
    if (!form) return false;
    form.requestSubmit();
    return true;
  },
  '/': () => {
    const search = document.getElementById('search');
    if (search) search.focus();
    else location.assign('/sensors#search');
    return true;
  },
  '?': () => {
    help.showModal();
    return true;
  },
};

if (location.hash === '#search') document.getElementById('search')?.focus();
