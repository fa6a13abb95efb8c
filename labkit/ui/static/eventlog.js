// What happened, in the lab's time and in plain words; the bytes behind each line on demand.

import { make, onChange, put } from "./dom.js";
import { quotation } from "./inspector.js";

const ALL = "";

// Keeps what it was told once: Python is asked only for what is new.
export class EventLog {
  constructor(ask) {
    this.ask = ask;
    this.events = [];
    this.run = 0;
    this.list = make("ol", { class: "lk-events" });
    this.scroller = make("div",
      { class: "lk-scroller", tabindex: "0", role: "region", "aria-label": "Events" }, this.list);
    this.filter = make("select", { change: () => this.render() });
    this.count = make("span", { class: "lk-soft" });
    this.el = make("section", { class: "lk-panel lk-log", "aria-label": "Event log" },
      make("header", {}, make("h4", {}, "Event log"), this.count,
        make("label", {}, "Show ", this.filter)), this.scroller);
    this.offer = onChange((sources) => this.fillFilter(sources));
  }

  async update({ run, upto, since }) {
    if (run !== this.run) [this.run, this.events] = [run, []];
    this.shown = { run, upto, since };
    const known = this.events.at(-1)?.number ?? 0;
    if (known < upto) await this.fetch(run, known);
    if (this.shown.upto === upto && this.run === run) this.render();
  }

  async fetch(run, since) {
    const answer = await this.ask({ do: "events", since });
    if (!answer.events || answer.run !== this.run || run !== this.run) return;
    const known = this.events.at(-1)?.number ?? 0;
    this.events.push(...answer.events.filter(({ number }) => number > known));
  }

  render() {
    const { upto, since } = this.shown;
    const all = this.events.filter(({ number }) => number <= upto);
    this.offer([...new Set(all.map(({ source }) => source))].sort());
    const wanted = all.filter(({ source }) => [ALL, source].includes(this.filter.value));
    this.list.replaceChildren(...wanted.map((event) => line(event, event.number > since)));
    const fresh = all.filter(({ number }) => number > since).length;
    this.count.textContent = all.length
      ? `${all.length} in all, ${fresh} new in this step` : "Nothing has happened yet.";
    this.scroller.hidden = !all.length;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  fillFilter(sources) {
    const before = this.filter.value;
    this.filter.replaceChildren(make("option", { value: ALL }, "all sources"),
      ...sources.map((source) => make("option", { value: source }, source)));
    this.filter.value = sources.includes(before) ? before : ALL;
    put(this.filter.parentElement, "hidden", !sources.length);
  }
}

function line({ time, source, text, details }, fresh) {
  const words = [make("time", {}, time), make("span", { class: "lk-source-tag" }, source),
    make("span", { class: "lk-text" }, text, fresh ? make("span", { class: "lk-hidden" }, " (new)") : "")];
  const known = Object.entries(details);
  const content = known.length
    ? make("details", { toggle: (event) => unfold(event.currentTarget, known) }, make("summary", {}, words))
    : make("div", { class: "lk-plain" }, words);
  return make("li", { class: fresh ? "lk-fresh" : null }, content);
}

// Built when it is opened, once.
function unfold(details, known) {
  if (!details.open || details.querySelector("dl")) return;
  const pairs = known.flatMap(([name, value]) =>
    [make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, shown(name, value))]);
  details.append(make("dl", {}, pairs));
  details.scrollIntoView({ block: "nearest" });
}

function shown(name, value) {
  if (Array.isArray(value)) return value.join(", ");
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  const pretty = indented(text);
  return pretty || text.length > 120 ? quotation(pretty ?? text, name) : text;
}

function indented(text) {
  if (!/^\s*[[{]/.test(text)) return null;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch { // a payload that only looks like JSON is shown as it came
    return null;
  }
}
