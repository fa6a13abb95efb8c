// Elements from data. Text goes in as text, never as markup: what a lesson or a certificate says
// must not be able to become part of the page.

export const SVG = "http://www.w3.org/2000/svg";

export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) put(element, name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== ""));
  return element;
}

export function put(element, name, value) {
  if (typeof value === "function") element.addEventListener(name, value);
  else if (value === true) element.setAttribute(name, "");
  else if (value === false || value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// Keeps typed letters from JupyterLab, to whom "d d" means: delete the cell. It looks for this
// attribute upwards from the focused element, but asks each element on the way whether a shortcut
// is meant for it before it looks at the next: so the focused one itself must carry it.
export const OWN_KEYS = "data-lm-suppress-shortcuts";

export function keepKeys(root) {
  root.setAttribute(OWN_KEYS, "true");
  root.addEventListener("focusin", ({ target }) => target.setAttribute(OWN_KEYS, "true"));
  return root;
}

// "**bold** and `code`" as nodes; everything else stays as it is written.
export function rich(text) {
  return text.split(/(\*\*.+?\*\*|`.+?`)/).map((part) => {
    if (/^\*\*.+\*\*$/.test(part)) return make("strong", {}, part.slice(2, -2));
    if (/^`.+`$/.test(part)) return make("code", {}, part.slice(1, -1));
    return part;
  });
}

// A glyph of the board's 16 by 16 grid.
export function glyph(path) {
  const shape = draw("path", { class: "icon", d: path });
  return draw("svg", { class: "lk-glyph", viewBox: "0 0 16 16", "aria-hidden": "true" }, shape);
}

// A state as the legend has it: its sign in its box, and its word.
export function stateSign(state) {
  const box = make("span", { class: `lk-sign s-${state.slug}` }, glyph(state.icon));
  return [box, make("span", {}, state.word)];
}

// Runs `render(value)` only when the value is another one than before.
export function onChange(render) {
  let before;
  return (value) => {
    const now = JSON.stringify(value);
    if (now !== before) render(value);
    before = now;
  };
}

// Questions to Python. Every question gets one answer; one with an `error` is also told to
// `complain`.
export function courier(model, complain) {
  const waiting = new Map();
  const prefix = Math.random().toString(36).slice(2);
  let count = 0;
  const receive = (message) => {
    const settle = waiting.get(message.re);
    if (!settle) return;
    waiting.delete(message.re);
    if (message.error) complain(message.error);
    settle(message);
  };
  model.on("msg:custom", receive);
  return {
    ask(question) {
      const id = `${prefix}-${++count}`;
      return new Promise((settle) => {
        waiting.set(id, settle);
        model.send({ ...question, id });
      });
    },
    close: () => model.off("msg:custom", receive),
  };
}
