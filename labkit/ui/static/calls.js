// What each click did: the same as Python and as a REST call, newest first, to be copied.

import { make } from "./dom.js";
import { quotation } from "./inspector.js";

const LONG = /[A-Za-z0-9+/=\\]{100,}(?=["\\-])/g;

export class Calls {
  constructor() {
    this.known = 0;
    this.list = make("ol", { class: "lk-calls" });
    this.count = make("span", { class: "lk-soft" });
    this.hint = make("p", { class: "lk-soft" },
      "Every click is one call of Azure's API. Here it is written down, as Python and as REST.");
    this.el = make("section", { class: "lk-panel lk-log", "aria-label": "Calls" },
      make("header", {}, make("h4", {}, "What your clicks do"), this.count), this.hint,
      make("div", { class: "lk-scroller", tabindex: "0", role: "region", "aria-label": "Calls so far" }, this.list));
  }

  update(calls) {
    const fresh = calls.filter(({ number }) => number > this.known);
    if (!fresh.length) return;
    this.hint.hidden = true;
    this.list.firstElementChild?.querySelector("details").removeAttribute("open");
    for (const call of fresh) this.list.prepend(line(call));
    this.list.firstElementChild.querySelector("details").open = true;
    this.known = calls.at(-1).number;
    while (this.list.children.length > calls.length) this.list.lastElementChild.remove();
    this.count.textContent = `${this.known} so far`;
    this.list.parentElement.scrollTop = 0;
  }
}

function line({ number, said, python, rest, outcome }) {
  const sign = make("span", { class: outcome ? "lk-call-no" : "lk-call-yes", "aria-hidden": "true" }, outcome ? "✗" : "✓");
  return make("li", {}, make("details", { class: outcome ? "lk-refused" : null },
    make("summary", {}, sign, make("span", { class: "lk-number" }, String(number)),
      make("span", { class: "lk-said" }, said, outcome ? make("em", {}, ` ${outcome}`) : "")),
    titled("Python", python, number), titled("REST", rest, number)));
}

function titled(language, text, number) {
  return make("div", { class: "lk-text-of" }, make("h5", {}, language),
    quotation(text, `Call ${number} as ${language}`, text.replace(LONG, shortened)));
}

const shortened = (run) => `${run.slice(0, 24)}…(${run.length} characters)…`;
