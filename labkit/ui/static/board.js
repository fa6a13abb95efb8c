// The living board: morphs to each new drawing, and lets every node be pointed at, focused and
// selected.

import { make, put } from "./dom.js";
import { neighbour } from "./keys.js";
import { patch, patchKeyed } from "./morph.js";
import { wayUp } from "./path.js";
import { LAYERS, layer, layersOf, parse, sizeOf } from "./shapes.js";

const NO_MARKS = { look: [], failed: "" };
const SMALL = 0.85; // below this part of its natural width the board is hard to read
const HELP = "Arrow keys move between the nodes, Enter opens the inspector, Escape closes it.";

// `onSelect(id, element)` is told which node is selected; with "" that none is.
export class Board {
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.selected = "";
    this.nodes = new Map();
    this.help = make("p", { class: "lk-hidden", id: `lk-help-${Math.random().toString(36).slice(2)}` }, HELP);
    this.said = make("p", { class: "lk-hidden", "aria-live": "polite", role: "status" });
    this.frame = make("div", { class: "lk-board" });
    this.zoom = make("button", { type: "button", class: "lk-zoom", click: () => this.enlarge() });
    this.el = make("div", { class: "lk-boardbox" }, this.frame, this.zoom, this.help, this.said);
    this.enlarge(false);
    new ResizeObserver(() => this.measure()).observe(this.el);
    this.listen();
  }

  // Shows a drawing; returns what came, went and changed, as nodes.
  update(text, marks = NO_MARKS) {
    const next = parse(text);
    const layers = layersOf(next, { ...NO_MARKS, ...marks });
    const first = !this.svg;
    if (first) this.begin(next);
    this.resize(next);
    this.trace(null);
    const report = this.morph(layers);
    this.nodes = new Map([...this.layer("nodes").children, ...this.layer("folds").children]
      .filter((node) => node.dataset.id && node.getAttribute("role") === "button")
      .map((node) => [node.dataset.id, node]));
    this.restore();
    if (!first) [...report.changed, ...report.came].forEach(pulse);
    return report;
  }

  begin(next) {
    this.svg = next.cloneNode(false);
    this.svg.setAttribute("role", "group");
    this.svg.setAttribute("aria-describedby", this.help.id);
    this.svg.append(...LAYERS.map(layer));
    this.frame.append(this.svg);
  }

  resize(next) {
    for (const name of ["viewBox", "aria-label"]) put(this.svg, name, next.getAttribute(name));
    this.svg.removeAttribute("height");
    this.svg.removeAttribute("width");
    this.natural = Number(next.getAttribute("width"));
    this.svg.style.setProperty("--natural", `${this.natural}px`);
    this.measure();
  }

  // The whole board fits, however narrow the cell; who wants to read it large may.
  enlarge(large = !this.large) {
    this.large = large;
    this.frame.classList.toggle("lk-large", large);
    this.zoom.textContent = large ? "⤡ Fit the board" : "⤢ Enlarge the board";
  }

  measure() {
    this.zoom.hidden = !(this.el.clientWidth < SMALL * this.natural);
    if (this.zoom.hidden && this.large) this.enlarge(false);
  }

  morph(layers) {
    patchLayer(this.layer("ground"), layers.ground);
    replaceLayer(this.layer("words"), layers.words);
    patchKeyed(this.layer("links"), layers.links, linkKey, linkKey);
    patchKeyed(this.layer("folds"), layers.folds, nodeKey, nodeSign);
    patchKeyed(this.layer("sent"), layers.sent, () => "sent", nodeSign);
    return patchKeyed(this.layer("nodes"), layers.nodes, nodeKey, nodeSign);
  }

  layer(name) {
    return this.svg.children[LAYERS.indexOf(name)];
  }

  // ---- selecting

  select(id, { focus = false } = {}) {
    this.selected = this.nodes.has(id) ? id : "";
    this.restore();
    const node = this.nodes.get(this.selected);
    if (node && focus) node.focus({ preventScroll: true });
    this.onSelect(this.selected, node);
  }

  // What the drawing does not know: what is selected, and which node Tab leads to.
  restore() {
    if (!this.nodes.has(this.current)) this.current = this.nodes.keys().next().value;
    for (const [id, node] of this.nodes) {
      put(node, "aria-pressed", String(id === this.selected));
      put(node, "tabindex", id === this.current ? "0" : "-1");
    }
  }

  say(words) {
    this.said.textContent = words;
  }

  // ---- pointer and keys

  listen() {
    const nodeAt = (event) => event.target.closest?.('[role="button"]');
    this.frame.addEventListener("click", (event) => this.click(nodeAt(event)));
    this.frame.addEventListener("keydown", (event) => this.key(event, nodeAt(event)));
    this.frame.addEventListener("pointerover", (event) => this.hover(nodeAt(event)));
    this.frame.addEventListener("pointerleave", () => this.trace(null));
    this.frame.addEventListener("focusin", (event) => this.arrive(nodeAt(event)));
    this.frame.addEventListener("focusout", () => this.trace(null));
  }

  click(node) {
    if (!node) return;
    this.current = node.dataset.id;
    this.select(node.dataset.id, { focus: true });
    this.rest(node);
  }

  hover(node) {
    if (node === this.resting) return;
    this.resting = null;
    this.trace(node);
  }

  // After a click everything is lit again: the pointer stays, and would keep the rest dim.
  rest(node) {
    this.trace(null);
    this.resting = node;
  }

  arrive(node) {
    if (!node) return;
    this.current = node.dataset.id;
    this.restore();
    if (node.matches(":focus-visible")) this.trace(node);
  }

  key(event, node) {
    if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") this.select(node.dataset.id);
    else if (event.key === "Escape") this.select("");
    else {
      const target = neighbour(event.key, this.nodes, node, boxOf);
      if (target) target.focus({ preventScroll: false });
      else if (!/^(Arrow|Home|End)/.test(event.key)) return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  // Lights up the way to the root; without a node, everything again.
  trace(node) {
    if (!this.svg || node === this.traced) return;
    this.traced = node;
    this.svg.querySelectorAll(".on-path").forEach((part) => part.classList.remove("on-path"));
    this.svg.classList.toggle("tracing", Boolean(node));
    if (!node) return;
    const links = [...this.layer("links").children];
    wayUp(this.nodes, links, node).forEach((part) => part.classList.add("on-path"));
  }
}

function patchLayer(group, parts) {
  const wrapper = group.cloneNode(false);
  wrapper.append(...parts);
  patch(group, wrapper);
}

// Words that moved would fly over the picture: they fade in where they belong.
function replaceLayer(group, parts) {
  const wrapper = group.cloneNode(false);
  wrapper.append(...parts);
  if (group.innerHTML === wrapper.innerHTML) return;
  group.replaceChildren(...wrapper.children);
  for (const part of group.children) part.classList.add("entering");
}

function pulse(node) {
  node.querySelector(".pulse").animate(
    [{ opacity: 0 }, { opacity: 1, offset: 0.25 }, { opacity: 0 }],
    { duration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 1400 });
}

const nodeKey = (node) => node.dataset.id ?? "";
const linkKey = ({ dataset: { from, to, kind } }) => `${from}\n${to}\n${kind}`;
const nodeSign = ({ dataset: { state, presented, hub } }) => `${state} ${presented} ${hub}`;

function boxOf(node) {
  const [x, y] = node.dataset.at.split(" ").map(Number);
  return { x, y, ...sizeOf(node) };
}
