// A fleet's certificates: how many are in each band, and a table to sort and to narrow down.

import { keepKeys, make, onChange, put, stateSign } from "./dom.js";
import { keepingFocus } from "./focus.js";

class Dashboard {
  constructor(model) {
    this.model = model;
    this.sorted = { column: "", down: false };
    this.only = "";
    this.numbers = make("p", { class: "lk-soft", role: "status" });
    this.bands = make("div", { class: "lk-bands", role: "group", "aria-label": "Show only" });
    this.list = make("div", { class: "lk-list", role: "region", tabindex: "0" });
    this.el = keepKeys(make("div", { class: "labkit lk-dashboard", role: "region", "aria-label": "Operational certificates" },
      make("div", { class: "lk-inner" }, make("h3", {}, model.get("scene").title), this.numbers, this.bands, this.list)));
    this.update = onChange(() => this.show());
  }

  follow() {
    this.update(this.model.get("scene"));
  }

  show() {
    const scene = this.model.get("scene");
    this.numbers.textContent = scene.numbers;
    keepingFocus(this.el, () => {
      this.bands.replaceChildren(...scene.bands.map((band) => this.band(band, scene.rows.length)));
      this.list.replaceChildren(this.table(scene));
    }, () => this.list);
    put(this.list, "aria-label", this.only ? `Devices: ${this.only}` : "All devices");
  }

  // A band is a button: pressed, the table has its devices alone. Its bar is as long as its share.
  band(band, all) {
    const { word, count } = band;
    const share = all ? Math.round((100 * count) / all) : 0;
    const bar = make("span", { class: `lk-share s-${band.slug}`, "aria-hidden": "true", style: `width: ${share}%` });
    return make("button", { type: "button", class: "lk-band", "data-focus": `band ${word}`,
      "aria-pressed": String(this.only === word), click: () => this.narrow(word) },
      make("span", { class: "lk-mark" }, stateSign(band)), make("span", { class: "lk-count" }, String(count)),
      make("span", { class: "lk-track", "aria-hidden": "true" }, count ? bar : ""));
  }

  narrow(word) {
    this.only = this.only === word ? "" : word;
    this.show();
  }

  sort(column) {
    this.sorted = { column, down: this.sorted.column === column && !this.sorted.down };
    this.show();
  }

  table({ columns, right, rows }) {
    const shown = this.inOrder(columns, rows.filter(({ band }) => !this.only || band.word === this.only));
    if (!shown.length) return make("p", { class: "lk-empty-list lk-soft" }, "No device.");
    return make("table", {}, make("thead", {}, make("tr", {}, columns.map((name) => this.head(name, right.includes(name))))),
      make("tbody", {}, shown.map((row) => line(columns, right, row))));
  }

  head(name, isNumber) {
    const { column, down } = this.sorted;
    const order = down ? "descending" : "ascending";
    const arrow = column === name ? (down ? " ▼" : " ▲") : "";
    return make("th", { scope: "col", class: isNumber ? "lk-right" : null, "aria-sort": column === name ? order : null },
      make("button", { type: "button", class: "lk-quiet", "data-focus": `sort ${name}`, click: () => this.sort(name) },
        name, make("span", { "aria-hidden": "true" }, arrow)));
  }

  // By what Python says of the column, else by its text. Equals keep the fleet's own order, and what
  // is not reported comes last, whichever way one sorts.
  inOrder(columns, rows) {
    const { column, down } = this.sorted;
    if (!column) return rows;
    const at = columns.indexOf(column);
    const key = ({ order, cells }) => (column in order ? order[column] : cells[at]);
    const known = rows.filter((row) => key(row) !== null);
    known.sort((a, b) => (down ? compare(key(b), key(a)) : compare(key(a), key(b))));
    return [...known, ...rows.filter((row) => key(row) === null)];
  }
}

// Texts as people count: w-2 comes before w-10.
const texts = new Intl.Collator("en", { numeric: true });
const compare = (a, b) => (typeof a === "number" ? a - b : texts.compare(a, b));

function line(columns, right, { cells, band, identity }) {
  const [name, ...others] = cells;
  const marks = { Certificate: band, Identity: identity };
  return make("tr", {}, make("th", { scope: "row" }, name), others.map((text, place) => {
    const column = columns[place + 1];
    const mark = marks[column];
    return make("td", { class: right.includes(column) ? "lk-right" : null },
      mark ? make("span", { class: "lk-mark" }, stateSign(mark)) : text);
  }));
}

function render({ model, el }) {
  const dashboard = new Dashboard(model);
  const update = () => dashboard.follow();
  update();
  el.append(dashboard.el);
  model.on("change:scene", update);
  return () => model.off("change:scene", update);
}

export default { render };
