// A list of the portal: cells as Python made them, and the way from page to page.

import { make, stateSign } from "./dom.js";

// `actions.open(name)` makes the first cell a button; `actions.remove(name)` adds one to the row.
export function table(label, { columns, rows, empty, page, more }, actions) {
  if (!rows.length && page === 1) return make("p", { class: "lk-empty-list lk-soft" }, empty);
  const heads = columns.map((name) => make("th", { scope: "col" }, name));
  if (actions.remove) heads.push(make("th", { scope: "col" }, make("span", { class: "lk-hidden" }, "Actions")));
  return [
    make("div", { class: "lk-list", role: "region", tabindex: "0", "aria-label": label },
      make("table", {}, make("thead", {}, make("tr", {}, heads)),
        make("tbody", {}, rows.map((cells) => row(cells, actions))))),
    pager(page, more, actions),
  ];
}

function row(cells, { open, remove }) {
  const [first, ...others] = cells;
  const name = first.text;
  const title = open
    ? make("button", { type: "button", class: "lk-link", "data-focus": `row ${name}`,
      click: () => open(name) }, name)
    : name;
  const removal = remove ? make("td", { class: "lk-right" },
    make("button", { type: "button", class: "lk-quiet", "data-focus": `remove ${name}`,
      "aria-label": `Delete the registration of ${name}`, click: () => remove(name) }, "Delete")) : "";
  return make("tr", {}, make("th", { scope: "row" }, title),
    others.map((cell) => make("td", {}, content(cell))), removal);
}

// Everything that a cell has, one below the other.
export function content({ text, sign, soft, mono }) {
  return [
    sign ? make("span", { class: "lk-mark" }, stateSign(sign)) : "",
    text ? make("span", { class: "lk-line" }, text) : "",
    soft ? make("span", { class: "lk-line lk-soft" }, soft) : "",
    mono ? make("code", { class: "lk-thumb" }, mono) : "",
  ];
}

function pager(page, more, { turn }) {
  if (page === 1 && !more) return "";
  const step = (label, verb, possible) => make("button", { type: "button", "data-focus": verb,
    "aria-disabled": possible ? null : "true", click: () => possible && turn(verb) }, label);
  return make("div", { class: "lk-row lk-pager" },
    step("← Previous", "previous_page", page > 1), make("span", {}, `Page ${page}`),
    step("Next →", "next_page", more));
}

// Pairs of a name and a cell, or a plain text.
export function facts(pairs) {
  const row = ([name, cell]) => make("tr", {}, make("th", { scope: "row" }, name),
    make("td", {}, typeof cell === "string" ? cell : content(cell)));
  return make("table", { class: "lk-facts" }, make("tbody", {}, pairs.map(row)));
}
