// A refusal, explained: what was checked, in order, where it failed, and what would cure it.

import { make, onChange } from "./dom.js";

const PAST = "The story has gone on since: Next leads back to where cures can be tried.";
const SIGNS = { passed: "✓", failed: "✗", "not reached": "·" };

// `show(id)` points at a node of the picture, `apply(place)` carries out a remedy.
export class Explanation {
  constructor(show, apply) {
    this.show = show;
    this.apply = apply;
    this.el = make("section", { class: "lk-panel lk-why", "aria-label": "Why it was refused" });
    this.update = onChange((explanation) => this.render(explanation));
  }

  render(explanation) {
    this.el.hidden = !explanation;
    if (!explanation) return;
    const { title, looked, checks, cures, remedies, past, source } = explanation;
    this.title = make("h4", { tabindex: "-1" }, title);
    this.el.replaceChildren(
      this.title,
      make("p", { class: "lk-soft" }, looked),
      make("ol", { class: "lk-checks" }, checks.map((row) => row.passed.length ? this.passed(row) : this.check(row))),
      cures.length ? make("div", { class: "lk-note lk-good lk-cures" },
        make("h5", {}, cures.length > 1 ? "Any one of these cures it" : "This cures it"),
        make("ol", {}, cures.map((cure, number) => make("li", {}, cure,
          remedies.filter((remedy) => remedy.cure === number)
            .map((remedy) => this.button(remedy))))),
        past ? make("p", { class: "lk-soft" }, PAST) : "") : "",
      source ? make("p", { class: "lk-soft lk-source" }, `See: ${source}`) : "");
  }

  // Brings it into view, and the keyboard with it.
  point() {
    this.title.focus({ preventScroll: true });
    this.el.scrollIntoView({ block: "start" });
  }

  button({ place, label }) {
    const press = () => this.apply(place);
    return make("div", {}, make("button", { type: "button", class: "lk-remedy", click: press }, label));
  }

  // What passed is folded: what failed must not drown in what is well.
  passed({ about, passed }) {
    const count = `${passed.length} check${passed.length > 1 ? "s" : ""}`;
    return make("li", { class: "lk-check lk-passed" }, sign("passed"),
      make("details", {},
        make("summary", {}, make("strong", {}, about), make("span", { class: "lk-soft" }, count)),
        make("ul", { class: "lk-soft" }, passed.map((line) => make("li", {}, line)))),
      make("em", {}, "passed"));
  }

  check({ name, about, outcome, why, node }) {
    const where = node && outcome === "failed"
      ? make("button", { type: "button", class: "lk-link", click: () => this.show(node) }, about) : about;
    const reached = outcome !== "not reached";
    return make("li", { class: `lk-check lk-${outcome.replace(" ", "-")}` },
      sign(outcome),
      make("div", {}, make("strong", {}, name), " ",
        reached ? make("span", { class: "lk-soft" }, where, about ? ": " : "", why) : ""),
      make("em", {}, outcome));
  }
}

const sign = (outcome) =>
  make("span", { class: "lk-check-sign", "aria-hidden": "true" }, SIGNS[outcome]);
