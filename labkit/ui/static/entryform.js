// The form of an enrollment. What is typed stays in the page until it is saved; a redraw does not
// touch it, unless another entry, or another state of it, was opened.

import { make, onChange } from "./dom.js";
import { content, facts } from "./table.js";
import { Upload } from "./upload.js";

const REFERENCES = "caReferences";
const KEYS = "symmetricKey";
const CN_RULE = "With an X.509 certificate, the registration ID has to be that certificate's common name (CN).";

// `hands` are what an Upload needs; `save(wishes)` is called with what the form says.
export class EntryForm {
  constructor(hands, save) {
    this.hands = hands;
    this.el = make("form", { class: "lk-form", submit: (event) => {
      event.preventDefault();
      save(this.wishes());
    } });
    this.rebuild = onChange((shape) => this.build(shape));
  }

  update(entry) {
    this.el.hidden = !entry;
    if (!entry) return this.rebuild(null);
    this.entry = entry;
    this.rebuild({ key: entry.key });
    for (const [slot, upload] of Object.entries(this.uploads)) upload.update(entry.attached[slot]);
  }

  build(shape) {
    if (!shape) return this.el.replaceChildren();
    const { entry } = this;
    this.uploads = {};
    this.fields = {};
    this.slots = make("div", { class: "lk-slots" });
    this.webhook = this.textField("webhook", "Webhook URL", entry.webhook, { type: "url" });
    this.el.replaceChildren(
      entry.new ? this.identity() : "",
      this.section("Attestation", this.kind(), this.slots),
      make("div", { class: "lk-columns" },
        this.section("Assignment to a hub", this.allocation(), this.webhook, this.hubs()),
        make("div", {}, this.section("When a device comes again", this.reprovision()),
          this.section("State", this.state()))),
      entry.facts.length ? this.section("About this entry", facts(entry.facts)) : "");
    this.showSlots();
    this.showWebhook();
  }

  section(title, ...content) {
    return make("fieldset", { class: "lk-section" }, make("legend", {}, title), content);
  }

  identity() {
    const { individual } = this.entry;
    const name = this.textField("id", individual ? "Registration ID" : "Group name", "", { required: true });
    const device = individual ? this.textField("device_id", "Device ID in the hub (optional)", "") : "";
    const rule = individual ? make("p", { class: "lk-hint lk-soft" }, CN_RULE) : "";
    return this.section("Identity", make("div", { class: "lk-pair" }, name, device), rule);
  }

  textField(name, label, value, attributes = {}) {
    const input = make("input", { type: "text", maxlength: "256", autocomplete: "off", spellcheck: "false",
      "data-focus": `field ${name}`, ...attributes });
    input.value = value;
    this.fields[name] = () => input.value.trim();
    return make("label", { class: "lk-field" }, make("span", {}, label), input);
  }

  select(name, label, options, value, changed = () => {}) {
    const input = make("select", { "data-focus": `field ${name}`, change: changed },
      options.map((option) => make("option", { value: option.value }, option.label)));
    input.value = value;
    this.fields[name] = () => input.value;
    return make("label", { class: "lk-field" }, make("span", {}, label), input);
  }

  // ---- attestation

  kind() {
    const { attestation, attestations } = this.entry;
    if (this.entry.new) {
      return this.select("attestation", "Mechanism", attestations, attestation, () => this.showSlots());
    }
    const { label } = attestations.find(({ value }) => value === attestation);
    return make("p", {}, make("strong", {}, label));
  }

  get attestation() {
    return this.fields.attestation?.() ?? this.entry.attestation;
  }

  showSlots() {
    if (this.attestation === KEYS) {
      const words = "The service makes the two keys and keeps them; the portal does not show them.";
      this.slots.replaceChildren(make("p", { class: "lk-soft" }, words));
    } else {
      const named = this.attestation === REFERENCES;
      this.slots.replaceChildren(...this.entry.slots.map((slot) => named ? this.reference(slot) : this.slot(slot)));
    }
  }

  reference({ slot, label, ca, held }) {
    const field = this.select(`${slot}_ca`, label, this.entry.cas, ca);
    return make("div", { class: "lk-slot" }, field, held ? make("div", { class: "lk-cert" }, content(held)) : "");
  }

  // A slot that is filled must be opened first: nobody removes a certificate by the way.
  slot({ slot, label, held }) {
    const upload = new Upload(slot, label, this.hands);
    this.uploads[slot] = upload;
    if (!held) {
      upload.update(this.entry.attached[slot]);
      return make("div", { class: "lk-slot" }, make("h5", {}, label), upload.el);
    }
    const hint = make("p", { class: "lk-hint lk-soft" }, "Without a new certificate it is removed when you save.");
    const opened = make("div", { class: "lk-choose", hidden: true }, hint, upload.el);
    const box = make("input", { type: "checkbox", "data-focus": `remove ${slot}`, change: () => {
      opened.hidden = !box.checked;
      if (!box.checked && this.entry.attached[slot]) this.hands.detach(slot);
    } });
    box.checked = Boolean(this.entry.attached[slot]);
    opened.hidden = !box.checked;
    upload.update(this.entry.attached[slot]);
    this.fields[`remove ${slot}`] = () => box.checked;
    return make("div", { class: "lk-slot" }, make("h5", {}, label),
      make("div", { class: "lk-cert" }, content(held)),
      make("label", { class: "lk-check-line" }, box, `Remove or replace ${slot} certificate`), opened);
  }

  // ---- policies

  allocation() {
    const { allocations, allocation } = this.entry;
    return this.select("allocation", "Allocation policy", allocations, allocation, () => this.showWebhook());
  }

  showWebhook() {
    this.webhook.hidden = this.fields.allocation() !== this.entry.custom;
  }

  hubs() {
    const boxes = this.entry.hubs.map(({ name, chosen }) => {
      const box = make("input", { type: "checkbox", value: name, "data-focus": `hub ${name}` });
      box.checked = chosen;
      return box;
    });
    this.fields.hubs = () => boxes.filter((box) => box.checked).map((box) => box.value);
    return make("div", { class: "lk-field", role: "group", "aria-label": "IoT hubs" },
      make("span", {}, "IoT hubs (none checked: all that are linked)"),
      boxes.map((box) => make("label", { class: "lk-check-line" }, box, box.value)));
  }

  reprovision() {
    const { reprovisions, reprovision } = this.entry;
    return this.select("reprovision", "Reprovision policy", reprovisions, reprovision);
  }

  state() {
    const box = make("input", { type: "checkbox", role: "switch", "data-focus": "field enabled" });
    box.checked = this.entry.enabled;
    this.fields.enabled = () => box.checked;
    return make("label", { class: "lk-check-line" }, box, "Enable this entry");
  }

  // ---- what it says

  wishes() {
    const { entry, fields } = this;
    const shared = ["allocation", "hubs", "webhook", "reprovision", "enabled"];
    const own = entry.new ? ["id", "attestation", ...(entry.individual ? ["device_id"] : [])] : [];
    const references = this.attestation === REFERENCES ? ["primary_ca", "secondary_ca"] : [];
    const wishes = Object.fromEntries([...shared, ...own, ...references].map((name) => [name, fields[name]()]));
    return { ...wishes, remove: entry.slots.map(({ slot }) => slot).filter((slot) => fields[`remove ${slot}`]?.()) };
  }
}
