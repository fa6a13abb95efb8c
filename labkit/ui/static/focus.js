// Whoever works with the keyboard must find their place again after a redraw.

const NAME = "data-focus";

// Runs `redraw`, and gives the focus back to whatever bears the same name afterwards; where that
// is gone, to what `otherwise()` gives.
export function keepingFocus(root, redraw, otherwise) {
  const had = root.contains(document.activeElement) ? document.activeElement : null;
  redraw();
  if (!had || isSeen(had) || isSeen(document.activeElement, root)) return;
  const again = named(root, had.getAttribute(NAME));
  (again ?? otherwise())?.focus({ preventScroll: true });
}

// The element of this name that can be seen, if there is one.
export function named(root, name) {
  const all = [...root.querySelectorAll(`[${NAME}]`)];
  return all.find((element) => element.getAttribute(NAME) === name && isSeen(element));
}

const isSeen = (element, root = document.body) =>
  root.contains(element) && element.getClientRects().length > 0;

// A row of tabs: one is in the order of Tab, arrows lead to the others and open them.
export function tabKeys(event) {
  const tabs = [...event.currentTarget.querySelectorAll("[role=tab]")];
  const at = tabs.indexOf(event.target);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  const wanted = tabs[(to + tabs.length) % tabs.length];
  wanted.focus();
  wanted.click();
}
