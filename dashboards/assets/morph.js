// Makes one piece of the page equal to a freshly fetched one by changing only what differs, so that
// focus, selection, scroll position and half-filled forms survive.

/** @param {Element} from @param {Element} to */
export function morph(from, to) {
  const active = document.activeElement;
  const row = active?.closest?.('[id]')?.id;
  change(from, to);
  if (!active || active === document.body || document.activeElement === active) return;
  const target = active.isConnected ? active : (row && document.getElementById(row));
  if (target && typeof target.focus === 'function') target.focus({ preventScroll: true });
}

/** @param {Node} from @param {Node} to */
function change(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.parentNode.replaceChild(document.importNode(to, true), from);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (from.hasAttribute('data-own') || from.isEqualNode(to) || isBeingEdited(from)) return;
  attributes(from, to);
  children(from, to);
}

function isBeingEdited(element) {
  if (!/^(INPUT|TEXTAREA|SELECT)$/.test(element.nodeName)) return false;
  return element === document.activeElement || element.value !== element.defaultValue;
}

function attributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !isKept(from, name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !isKept(from, name)) from.setAttribute(name, value);
  }
}

/** What the person has opened stays open. */
function isKept(element, name) {
  return name === 'open' && element.nodeName === 'DETAILS';
}

/** @param {Element} from @param {Element} to */
export function children(from, to) {
  const byId = new Map();
  for (const child of from.children) if (child.id) byId.set(child.id, child);
  let cursor = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const known = wanted.id && byId.get(wanted.id);
    if (known) {
      if (known !== cursor && known.contains(document.activeElement)) {
        // moving the focused piece would blur it: move what stands before it instead
        while (cursor !== known) {
          const next = cursor.nextSibling;
          from.append(cursor);
          cursor = next;
        }
      }
      if (known === cursor) cursor = cursor.nextSibling;
      else from.insertBefore(known, cursor);
      change(known, wanted);
    } else if (cursor && !cursor.id && !wanted.id && cursor.nodeName === wanted.nodeName) {
      const next = cursor.nextSibling;
      change(cursor, wanted);
      cursor = next;
    } else {
      from.insertBefore(document.importNode(wanted, true), cursor);
    }
  }
  while (cursor) {
    const next = cursor.nextSibling;
    from.removeChild(cursor);
    cursor = next;
  }
}
