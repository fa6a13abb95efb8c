// The portal: finds the page for what Python shows, and sends what is pressed.

import { Calls } from "./calls.js";
import { Dialog } from "./dialog.js";
import { courier, keepKeys, make, onChange, put } from "./dom.js";
import { keepingFocus, named } from "./focus.js";
import { Notices } from "./notices.js";
import { CertificatePage, DevicePage, EntryPage, tablist } from "./pages.js";
import { table } from "./table.js";

const [GROUPS, INDIVIDUAL, DEVICES] = ["enrollment groups", "individual enrollments", "devices"];
const ENTRIES = [GROUPS, INDIVIDUAL];
const TITLES = { [DEVICES]: "Devices", certificates: "Certificates" };
const NEW = {
  [GROUPS]: "New enrollment group",
  [INDIVIDUAL]: "New individual enrollment",
  certificates: "Add a certificate",
};

class Portal {
  constructor(model) {
    this.model = model;
    this.pending = new Set();
    this.notices = new Notices((verb) => this.press(verb));
    this.courier = courier(model, (words) => this.notices.complain(words));
    this.dialog = new Dialog();
    this.calls = new Calls();
    const acts = this.acts();
    this.pages = [new EntryPage(acts), new CertificatePage(acts), new DevicePage(acts)];
    this.el = keepKeys(make("div", { class: "labkit lk-portal", role: "region", "aria-label": "Portal" },
      make("div", { class: "lk-inner" }, this.head(), this.body(), this.dialog.el)));
    this.navigate = onChange((where) => this.showServices(where));
    this.fill = onChange((list) => this.showList(list));
  }

  acts() {
    const press = (verb, arguments_) => this.press(verb, arguments_);
    const hands = {
      attach: (slot, file, certificate) => press("attach", { slot, file, certificate }),
      detach: (slot) => press("detach", { slot }),
      complain: (words) => this.notices.complain(words),
    };
    return {
      press, hands,
      remove: (name, title, text) => this.remove(name, title, text, (confirm) => press("delete", { confirm })),
      removeRecord: (name) => this.remove(name, "Delete this registration?",
        "DPS forgets which hub the device was assigned to. Its identity in the hub stays.",
        (confirm) => press("delete_registration", { name, confirm })),
      disable: (name) => this.disable(name),
    };
  }

  // ---- the frame

  head() {
    this.where = make("p", { class: "lk-crumbs" });
    this.refresh = make("button", { type: "button", "data-focus": "refresh",
      click: () => this.press("refresh") }, "↻ Refresh");
    return make("header", { class: "lk-head" },
      make("div", {}, make("span", { class: "lk-scenario" }, "Portal"), this.where), this.refresh);
  }

  body() {
    this.nav = make("nav", { "aria-label": "Services" });
    this.title = make("h3", { tabindex: "-1" });
    this.back = make("button", { type: "button", class: "lk-quiet", "data-focus": "close",
      click: () => this.press("close") });
    this.add = make("button", { type: "button", "data-focus": "new", click: () => this.press("new") });
    this.tabs = tablist("Manage enrollments", [
      ["Enrollment groups", () => this.press("show", { kind: GROUPS })],
      ["Individual enrollments", () => this.press("show", { kind: INDIVIDUAL })]]);
    this.list = make("div", {});
    const heading = make("div", { class: "lk-heading" }, make("div", {}, this.back, this.title), this.add);
    const main = make("div", { class: "lk-main" }, heading, this.notices.el, this.tabs.el, this.list,
      this.pages.map((page) => page.el));
    return make("div", { class: "lk-portal-body" }, this.nav, main, this.calls.el);
  }

  // ---- showing

  update() {
    const scene = this.model.get("scene");
    const left = this.title.textContent;
    keepingFocus(this.el, () => this.redraw(scene), () => named(this.el, `row ${left}`) ?? this.title);
  }

  redraw(scene) {
    const { place, service, list, entry } = scene;
    const open = !list;
    const isEntries = ENTRIES.includes(place.kind);
    put(this.el, "data-place", place.kind);
    this.where.textContent = `${scene.lab} › ${service}`;
    this.navigate({ services: scene.services, place });
    this.title.textContent = this.titleOf(scene);
    this.back.hidden = !open;
    this.back.textContent = `← ${isEntries ? tabName(place.kind) : TITLES[place.kind]}`;
    this.add.hidden = open || !NEW[place.kind];
    this.add.textContent = `+ ${NEW[place.kind]}`;
    this.tabs.el.hidden = open || !isEntries;
    this.tabs.choose(ENTRIES.indexOf(place.kind));
    this.list.hidden = open;
    this.fill({ list, place });
    this.refresh.hidden = Boolean(entry?.new || scene.certificate?.new);
    for (const page of this.pages) page.update(scene);
    this.notices.update(scene);
  }

  titleOf({ place, list, entry, certificate, device }) {
    const found = entry ?? certificate ?? device;
    if (!list && found) return found.new ? NEW[place.kind] : found.id;
    return ENTRIES.includes(place.kind) ? "Manage enrollments" : TITLES[place.kind];
  }

  showServices({ services, place }) {
    const same = (link) => link.hub === place.hub
      && (link.kind === place.kind || (ENTRIES.includes(link.kind) && ENTRIES.includes(place.kind)));
    const link = (found) => make("button", { type: "button", class: "lk-nav",
      "aria-current": same(found) ? "page" : null, "data-focus": `nav ${found.hub} ${found.kind}`,
      click: () => this.press("show", { kind: found.kind, hub: found.hub }) }, found.label);
    this.nav.replaceChildren(...services.map(({ kind, name, lists }) => make("div", { class: "lk-service" },
      make("h4", {}, name), make("p", { class: "lk-soft" }, kind),
      make("ul", {}, lists.map((found) => make("li", {}, link(found)))))));
  }

  showList({ list, place }) {
    if (!list) return this.list.replaceChildren();
    this.list.replaceChildren(...[table(tabName(place.kind), list, {
      open: (name) => this.press("open", { name }),
      turn: (verb) => this.press(verb),
    })].flat());
  }

  showCalls() {
    this.calls.update(this.model.get("calls"));
  }

  // ---- doing

  // `verb` is a method of the portal in Python. What is under way is not asked for twice.
  async press(verb, arguments_ = {}) {
    const question = { do: verb, with: arguments_ };
    const words = JSON.stringify(question);
    if (this.pending.has(words)) return;
    this.pending.add(words);
    put(this.el, "aria-busy", "true");
    const { refused, error } = await this.courier.ask(question);
    if (refused || error) this.notices.seek();
    this.pending.delete(words);
    put(this.el, "aria-busy", String(this.pending.size > 0));
  }

  async remove(name, title, text, confirmed) {
    const typed = await this.dialog.ask({
      title, text, label: `Type “${name}” to confirm`, expected: name, action: "Delete", danger: true });
    if (typed !== null) await confirmed(typed);
  }

  async disable(name) {
    const reason = await this.dialog.ask({
      title: `Disable ${name}?`,
      text: "A live connection ends, and the hub takes no new one. Its twin stays.",
      label: "Reason (optional)", action: "Disable" });
    if (reason !== null) await this.press("disable", { reason });
  }
}

const tabName = (kind) => kind[0].toUpperCase() + kind.slice(1);

function render({ model, el }) {
  const portal = new Portal(model);
  const heard = { "change:scene": () => portal.update(), "change:calls": () => portal.showCalls() };
  for (const [name, act] of Object.entries(heard)) {
    act();
    model.on(name, act);
  }
  el.append(portal.el);
  return () => {
    for (const [name, act] of Object.entries(heard)) model.off(name, act);
    portal.courier.close();
  };
}

export default { render };
