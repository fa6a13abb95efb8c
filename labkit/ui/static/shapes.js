// Prepares the drawing that Python sent for living in the page: layers that morph one by one,
// nodes that are buttons, lines that CSS can bend.

import { draw, OWN_KEYS, SVG } from "./dom.js";

export const LAYERS = ["ground", "links", "folds", "sent", "nodes", "words"];

const CROSS = "M-4 -4L4 4M4 -4L-4 4";

export function parse(text) {
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  return document.importNode(parsed, true);
}

// The drawing's parts by layer. `marks` says which nodes are looked at and which one failed.
export function layersOf(svg, marks) {
  const layers = Object.fromEntries(LAYERS.map((name) => [name, []]));
  for (const part of [...svg.children]) {
    const layer = layerOf(part);
    if (layer) layers[layer].push(part);
  }
  layers.links.forEach(bend);
  [...layers.folds, ...layers.sent, ...layers.nodes].forEach(place);
  layers.nodes.forEach((node) => prepareNode(node, marks));
  layers.folds.forEach(prepareFold);
  return layers;
}

function layerOf(part) {
  const of = part.classList;
  if (["style", "title", "desc"].includes(part.tagName)) return null;
  if (part.tagName !== "g") return "ground";
  if (of.contains("link")) return part.dataset.kind ? "links" : "words";
  if (of.contains("folded")) return "folds";
  if (of.contains("sent")) return "sent";
  return of.contains("node") ? "nodes" : "words";
}

// Moves by CSS: transitions of the attribute are not known everywhere.
function place(part) {
  const [x, y] = part.getAttribute("transform").match(/-?[\d.]+/g);
  part.removeAttribute("transform");
  part.setAttribute("style", `transform:translate(${x}px,${y}px)`);
  part.dataset.at = `${x} ${y}`;
}

// CSS can animate a path's corners, and not a polyline's.
function bend(link) {
  for (const line of link.querySelectorAll("polyline")) {
    const corners = line.getAttribute("points").split(" ").join("L");
    line.replaceWith(draw("path", { class: "line", d: `M${corners}` }));
  }
}

function prepareNode(node, marks) {
  const { w, h } = sizeOf(node);
  const looked = marks.look.some((mark) => mark.id === node.dataset.id);
  const failed = marks.failed === node.dataset.id;
  asButton(node);
  node.classList.toggle("looked", looked);
  node.classList.toggle("failed", failed);
  node.prepend(...rings(w, h));
  if (failed) {
    node.append(badge(w, h));
    node.setAttribute("aria-label", `${node.getAttribute("aria-label")}, a check failed here`);
  }
}

function prepareFold(fold) {
  if (!fold.classList.contains("stack")) return;
  const { w, h } = sizeOf(fold);
  asButton(fold);
  fold.prepend(...rings(w, h));
  fold.dataset.parent = fold.dataset.id.split(" below ")[1];
  fold.setAttribute("aria-label", `${fold.getAttribute("aria-label")}. Opens a list`);
}

// What lights up around a node: once when it changes, and while it is marked or selected.
function rings(w, h) {
  const far = h > 40 ? 5 : 2;
  const around = { x: -far, y: -far, width: w + 2 * far, height: h + 2 * far, rx: h > 40 ? 11 : 5 };
  return ["pulse", "halo"].map((name) => draw("rect", { class: name, ...around }));
}

function asButton(part) {
  part.setAttribute("role", "button");
  part.setAttribute("tabindex", "-1");
  part.setAttribute("aria-pressed", "false");
  part.setAttribute(OWN_KEYS, "true");
}

function badge(w, h) {
  const cross = draw("path", { d: CROSS, transform: "translate(14,10)" });
  if (h < 40) {
    const spot = draw("circle", { cx: 14, cy: 10, r: 9 });
    return draw("g", { class: "badge", transform: `translate(${w - 14},-10)` }, spot, cross);
  }
  const words = draw("text", { x: 26, y: 14 }, "check failed here");
  const pill = draw("rect", { width: 146, height: 20, rx: 10 });
  const right = `translate(${w - 154},-13)`; // on the left is what a broken link says
  return draw("g", { class: "badge", transform: right }, pill, cross, words);
}

// The size of what a node is drawn as: the first box, ground or sheet in it.
export function sizeOf(part) {
  const shape = part.querySelector(".box, .ground, .fold");
  const inset = Number(shape.getAttribute("x") ?? 0);
  const w = Number(shape.getAttribute("width")) + inset * 2;
  return { w, h: Number(shape.getAttribute("height")) + Number(shape.getAttribute("y") ?? 0) * 2 };
}

export function layer(name) {
  const group = document.createElementNS(SVG, "g");
  group.setAttribute("class", `layer-${name}`);
  return group;
}
