// Turns one drawing into the next and keeps the elements that stay, so that CSS transitions move
// and recolour them, and the focus stays where it is.

const LEAVING_MS = 400;

// Makes `current` like `next`, which has the same tag.
export function patch(current, next) {
  copyAttributes(current, next);
  if (!next.firstElementChild) {
    if (current.textContent !== next.textContent) current.textContent = next.textContent;
    return;
  }
  const have = [...current.children];
  const want = [...next.children];
  want.forEach((child, place) => patchChild(current, have[place], child));
  have.slice(want.length).forEach((child) => child.remove());
}

function patchChild(parent, old, child) {
  if (!old) parent.append(child);
  else if (old.tagName === child.tagName) patch(old, child);
  else old.replaceWith(child);
}

function copyAttributes(current, next) {
  for (const { name } of [...current.attributes]) {
    if (!next.hasAttribute(name)) current.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (current.getAttribute(name) !== value) current.setAttribute(name, value);
  }
}

// Makes the layer hold `wanted`, by key. Returns what came, went and changed.
export function patchKeyed(layer, wanted, keyOf, signOf) {
  const old = new Map(present(layer).map((element) => [keyOf(element), element]));
  const report = { came: [], went: [], changed: [] };
  let previous = null;
  for (const element of wanted) {
    const kept = old.get(keyOf(element));
    old.delete(keyOf(element));
    if (kept) {
      if (signOf(kept) !== signOf(element)) report.changed.push(kept);
      patch(kept, element);
    } else {
      enter(layer, element, previous);
      report.came.push(element);
    }
    previous = kept ?? element;
  }
  report.went.push(...old.values());
  report.went.forEach(leave);
  return report;
}

function present(layer) {
  return [...layer.children].filter((element) => !element.classList.contains("leaving"));
}

function enter(layer, element, previous) {
  element.classList.add("entering");
  element.addEventListener("animationend", () => element.classList.remove("entering"));
  if (previous) previous.after(element);
  else layer.prepend(element);
}

function leave(element) {
  for (const name of ["data-id", "tabindex", "role", "aria-label"]) element.removeAttribute(name);
  element.setAttribute("aria-hidden", "true");
  element.classList.add("leaving");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  setTimeout(() => element.remove(), still ? 0 : LEAVING_MS);
}
