// What came of the last click: a word of success, a refusal with its reason, or a conflict.

import { make, onChange } from "./dom.js";
import { Explanation } from "./explanation.js";

// `press(verb)` decides a conflict.
export class Notices {
  constructor(press) {
    this.press = press;
    this.notice = make("p", { class: "lk-notice", role: "status" });
    this.trouble = make("div", { role: "alert" });
    this.conflict = make("section", { class: "lk-panel lk-conflict", "aria-label": "Conflict" });
    this.why = new Explanation(() => {}, () => {});
    this.el = make("div", { class: "lk-notices" }, this.notice, this.conflict, this.trouble, this.why.el);
    this.tell = onChange((trouble) => this.showTrouble(trouble));
    this.decide = onChange((conflict) => this.showConflict(conflict));
  }

  update({ notice, trouble, conflict, service }) {
    this.notice.textContent = notice;
    this.tell(trouble && { ...trouble, service });
    this.decide(conflict);
    this.why.update(trouble?.explanation ?? null);
  }

  // What the browser itself refuses, or what failed on the way.
  complain(words) {
    this.tell({ message: words, parts: [] });
  }

  // The button that was pressed may be a long form below it, and the same trouble is no news.
  seek() {
    this.trouble.scrollIntoView({ block: "nearest" });
  }

  showTrouble(trouble) {
    if (!trouble) return this.trouble.replaceChildren();
    const { message, parts, explanation, service } = trouble;
    const title = explanation
      ? [make("strong", {}, `${service} answers only `), make("code", {}, message)]
      : make("strong", {}, message);
    this.trouble.replaceChildren(note("lk-bad", title, parts));
  }

  showConflict(conflict) {
    this.conflict.hidden = !conflict;
    if (!conflict) return this.conflict.replaceChildren();
    const { gone, why, columns, rows } = conflict;
    const title = make("h4", { tabindex: "-1" },
      gone ? "Somebody deleted it since you opened it" : "Somebody changed it since you opened it");
    const head = columns.map((name) => name
      ? make("th", { scope: "col" }, name) : make("td", {}));
    const body = rows.map(([name, ...values]) => make("tr", {},
      make("th", { scope: "row" }, name),
      values.map((value) => make("td", { class: value === values[0] ? "lk-soft" : "lk-differs" }, value))));
    this.conflict.replaceChildren(title,
      make("p", { class: "lk-soft" }, why),
      make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, body)),
      make("div", { class: "lk-row" },
        gone ? "" : this.button("refresh", "Reload what is there now", "lk-primary"),
        this.button("overwrite", gone ? "Create it again, as I want it" : "Overwrite it with mine", "lk-danger-quiet")));
    title.focus({ preventScroll: true });
    this.conflict.scrollIntoView({ block: "nearest" });
  }

  button(verb, label, kind) {
    return make("button", { type: "button", class: kind, "data-focus": verb, click: () => this.press(verb) }, label);
  }
}

// A note of some tone: its title, and below what was expected, what was found, what would cure it.
export function note(tone, title, parts) {
  const rows = parts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]);
  return make("div", { class: `lk-note ${tone}`, role: "note" }, title,
    rows.length ? make("dl", { class: "lk-parts" }, rows) : "");
}
