// What there is to know about the selected node: facts in words, and the bytes on demand.

import { make, put, stateSign } from "./dom.js";

const FORMS = { pem: "PEM", openssl: "openssl x509 -text" };
const IDENTIFIER = /^[0-9a-f]{16,}$/i;
const COPIED_MS = 1600;

const HINT = "Click a node of the picture, or reach it with Tab and the arrow keys and press Enter: "
  + "here it opens.";

// `ask` puts a question to Python, `onClose` is called when the trainee closes it, `say` tells a
// screen reader what has been opened.
export class Inspector {
  constructor(ask, onClose, say) {
    this.ask = ask;
    this.onClose = onClose;
    this.say = say;
    this.node = "";
    this.stack = "";
    this.body = make("div",
      { class: "lk-inspector-body", tabindex: "0", role: "group", "aria-label": "Inspector's facts" });
    this.title = make("h4", {}, "Inspector");
    this.foot = make("footer", {});
    this.close = make("button",
      { type: "button", class: "lk-quiet", "aria-label": "Close the inspector", click: onClose }, "✕");
    this.el = make("section",
      { class: "lk-panel lk-inspector", "aria-label": "Inspector", keydown: (event) => this.key(event) },
      make("header", {}, this.title, this.close), this.body, this.foot);
    this.clear();
  }

  key(event) {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    this.onClose();
  }

  clear() {
    this.node = this.stack = "";
    this.el.classList.add("lk-empty");
    this.title.textContent = "Inspector";
    this.foot.replaceChildren();
    this.body.replaceChildren(make("p", { class: "lk-soft" }, HINT));
  }

  // Shows a node; `side` is where to stand when it floats over the picture, "" to stay there
  // (then nobody asked for it, and nothing is said); `back` leads to the list of its stack.
  async open(node, side, back) {
    this.node = node;
    this.back = back ?? null;
    const { inspection } = await this.ask({ do: "inspect", node });
    if (this.node !== node) return;
    this.place(side);
    if (!inspection) return this.gone();
    this.show(inspection);
    if (side) this.say(`Inspector: ${inspection.title}, ${inspection.state.word}.`);
  }

  async openStack(fold, side, onPick) {
    this.node = this.stack = fold;
    const { members } = await this.ask({ do: "members", fold });
    if (this.node !== fold || !members) return;
    this.place(side);
    this.foot.replaceChildren();
    this.title.textContent = `${members.length} in this stack`;
    const pick = ({ id }) => () => onPick(id);
    const rows = members.map((member) => make("li", {},
      make("button", { type: "button", class: `lk-member s-${member.state}`, click: pick(member) },
        member.label, make("small", {}, member.state.replaceAll("-", " ")))));
    this.body.replaceChildren(make("ul", { class: "lk-members" }, rows));
  }

  place(side) {
    this.el.classList.remove("lk-empty");
    if (side) put(this.el, "data-side", side);
  }

  gone() {
    this.title.textContent = "Not on the board";
    this.foot.replaceChildren();
    const words = "At this step there is no such node.";
    this.body.replaceChildren(make("p", { class: "lk-soft" }, words));
  }

  wayBack() {
    const back = this.back;
    const button = () =>
      make("button", { type: "button", class: "lk-link", click: back }, "← back to the list");
    return back && make("p", {}, button());
  }

  show({ title, kind, state, meaning, facts, certificate }) {
    const identifiers = facts.filter(([, value]) => IDENTIFIER.test(value));
    const words = facts.filter(([, value]) => !IDENTIFIER.test(value));
    this.title.textContent = title;
    this.body.replaceChildren(
      make("p", { class: "lk-kind" }, kind),
      this.wayBack() ?? "",
      make("p", { class: "lk-state" }, stateSign(state), make("span", { class: "lk-soft" }, meaning)),
      factTable(words),
      ...(identifiers.length ? [folded("Numbers and fingerprints", factTable(identifiers))] : []));
    this.body.scrollTop = 0;
    this.foot.replaceChildren(...(certificate ? [this.bytes()] : []));
  }

  bytes() {
    const output = make("div", { class: "lk-bytes" });
    const press = (form) => (event) => this.toggle(event.currentTarget, form, output);
    const buttons = Object.entries(FORMS).map(([form, name]) =>
      make("button", { type: "button", "aria-expanded": "false", click: press(form) }, name));
    this.body.append(output);
    return make("div", { class: "lk-row" }, buttons);
  }

  async toggle(button, form, output) {
    const opened = button.getAttribute("aria-expanded") === "true";
    for (const other of button.parentElement.children) put(other, "aria-expanded", "false");
    output.replaceChildren();
    if (opened) return;
    put(button, "aria-expanded", "true");
    const { bytes } = await this.ask({ do: "bytes", node: this.node, form });
    if (bytes === undefined || button.getAttribute("aria-expanded") !== "true") return;
    output.replaceChildren(quotation(bytes, FORMS[form]));
    output.scrollIntoView({ block: "nearest" });
  }
}

const folded = (title, content) => make("details", {}, make("summary", {}, title), content);

function factTable(facts) {
  const row = ([label, value]) => make("tr", {}, make("th", { scope: "row" }, label),
    make("td", { class: IDENTIFIER.test(value) ? "lk-mono" : null }, value));
  return make("table", { class: "lk-facts" }, make("tbody", {}, facts.map(row)));
}

// Text to be read as it is, with a button that copies it; `shown` stands for it where it is long.
export function quotation(text, name, shown = text) {
  const pre = make("pre", { tabindex: "0", role: "region", "aria-label": name }, shown);
  const press = () => copy(text, pre, button);
  const button = make("button", { type: "button", class: "lk-copy", click: press }, "Copy");
  return make("div", { class: "lk-quotation" }, button, pre);
}

async function copy(text, pre, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no clipboard without https: then the selection is what can be copied
    pre.textContent = text;
    getSelection().selectAllChildren(pre);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
}
