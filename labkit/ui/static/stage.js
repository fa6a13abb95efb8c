// The picture with its inspector, the same in a player and alone.

import { Board } from "./board.js";
import { Inspector } from "./inspector.js";

const MOST_TOLD = 4;

export class Stage {
  constructor(ask) {
    this.board = new Board((id, node) => this.selected(id, node));
    this.inspector = new Inspector(ask, () => this.close(), (words) => this.board.say(words));
  }

  // Shows a drawing; `lead` begins what a screen reader is told. `fresh` is false where what is
  // told beside it has changed and the drawing has not.
  update(svg, marks, lead, fresh = true) {
    const first = !this.board.svg;
    const report = this.board.update(svg, marks);
    if (!first) this.board.say([lead, ...changes(report)].join(" "));
    const { node } = this.inspector;
    if (fresh && node && node !== this.inspector.stack) this.inspector.open(node, "", this.inspector.back);
  }

  selected(id, node) {
    if (!id) this.inspector.clear();
    else if (node.classList.contains("stack")) this.openStack(id, sideFor(node, this.board.svg));
    else this.inspector.open(id, sideFor(node, this.board.svg));
  }

  openStack(id, side) {
    const back = () => this.openStack(id, side);
    this.inspector.openStack(id, side, (member) => this.inspector.open(member, side, back));
  }

  // Selects a node and brings it into view.
  point(id) {
    const node = this.board.nodes.get(id);
    if (!node) return;
    node.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.board.click(node);
    this.inspector.el.scrollIntoView({ block: "nearest" });
  }

  // A step went by: an inspector that floats would hide what the step is about.
  uncover() {
    if (getComputedStyle(this.inspector.el).position === "absolute") this.board.select("");
  }

  close() {
    const node = this.board.nodes.get(this.board.selected);
    this.board.select("");
    node?.focus({ preventScroll: true });
  }
}

// The inspector floats on the side where the node is not.
function sideFor(node, svg) {
  const [at, all] = [node.getBoundingClientRect(), svg.getBoundingClientRect()];
  return at.x + at.width / 2 > all.x + all.width / 2 ? "left" : "right";
}

function changes({ came, went, changed }) {
  const news = came.map((node) => `New: ${nameOf(node)}.`);
  const told = [...news, ...changed.map((node) => `Now: ${nameOf(node)}.`)];
  const more = told.length > MOST_TOLD ? [`${told.length - MOST_TOLD} more changes.`] : [];
  return [...told.slice(0, MOST_TOLD), ...more, went.length ? `${went.length} gone.` : ""];
}

const nameOf = (node) => `${node.getAttribute("aria-label").split(", ")[0]}, ${node.dataset.state}`;
