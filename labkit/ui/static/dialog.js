// A question that must be answered before anything is done: the browser's own dialog keeps the
// focus in it, and closes with Escape.

import { make, put } from "./dom.js";

let dialogs = 0;

// `ask({ title, text, label, expected, action, danger })` settles with what was typed, or null.
// With `expected` the answer must be just that; without `label` there is nothing to type.
export class Dialog {
  constructor() {
    this.id = `lk-dialog-${++dialogs}`;
    this.el = make("dialog", { class: "lk-dialog", "aria-labelledby": this.id,
      close: () => this.settle(null) });
  }

  ask(question) {
    this.question = question;
    const { title, text, label, action, danger } = question;
    const kind = danger ? "lk-danger" : "lk-primary";
    this.input = label ? make("input", { type: "text", maxlength: "128", autocomplete: "off",
      spellcheck: "false", input: () => this.judge() }) : null;
    this.button = make("button", { type: "submit", class: kind }, action);
    this.el.replaceChildren(make("form", { submit: (event) => this.submit(event) },
      make("h4", { id: this.id }, title),
      make("p", {}, text),
      label ? make("label", { class: "lk-field" }, make("span", {}, label), this.input) : "",
      make("div", { class: "lk-row lk-ends" },
        make("button", { type: "button", click: () => this.el.close() }, "Cancel"), this.button)));
    this.judge();
    this.back = document.activeElement;
    this.el.showModal();
    (this.input ?? this.button).focus();
    return new Promise((settle) => { this.waiting = settle; });
  }

  get fits() {
    const { expected } = this.question;
    return !expected || this.input.value === expected;
  }

  judge() {
    put(this.button, "aria-disabled", this.fits ? null : "true");
  }

  submit(event) {
    event.preventDefault();
    if (!this.fits) return this.input.focus();
    this.settle(this.input?.value ?? "");
    this.el.close();
  }

  settle(answer) {
    this.waiting?.(answer);
    this.waiting = null;
    if (answer === null && this.back?.isConnected) this.back.focus({ preventScroll: true });
  }
}
