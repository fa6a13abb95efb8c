// What is looked at: an entry, a CA certificate, a device. Each page is built once and updated.

import { make, onChange, put, stateSign } from "./dom.js";
import { EntryForm } from "./entryform.js";
import { tabKeys } from "./focus.js";
import { quotation } from "./inspector.js";
import { note } from "./notices.js";
import { facts, table } from "./table.js";
import { Upload } from "./upload.js";

const PROOF = "The CA's key signs a certificate whose common name is this code. In the lab, a cell does it: ";

// `acts` are the portal's: `press(verb, with)`, `remove(name)`, and what an Upload needs.
export class EntryPage {
  constructor(acts) {
    this.acts = acts;
    this.form = new EntryForm(acts.hands, (wishes) => acts.press("save", wishes));
    this.tabs = tablist("Parts of the entry", [
      ["Settings", () => acts.press("show_settings")],
      ["Registrations", () => acts.press("show_registrations")]]);
    this.save = make("button", { type: "button", class: "lk-primary", "data-focus": "save",
      click: () => this.form.el.requestSubmit() }, "Save");
    this.remove = deletion(() => acts.remove(this.entry.id, `Delete this ${this.entry.noun}?`,
      "Its devices cannot register any more. Their registrations, and their identities in the hub, stay."));
    this.foot = make("div", { class: "lk-row lk-foot" }, this.save, this.remove);
    this.records = make("div", {});
    this.warnings = make("div", { class: "lk-warnings", "aria-live": "polite" });
    this.el = make("div", {}, this.tabs.el, this.warnings, this.form.el, this.foot, this.records);
    this.list = onChange((records) => this.showRecords(records));
    this.warn = onChange((warnings) => this.warnings.replaceChildren(...warnings.map(
      ({ message, parts }) => note("lk-wrong", make("strong", {}, message), parts))));
  }

  update({ entry, records }) {
    this.entry = entry;
    this.el.hidden = !entry;
    this.form.update(entry);
    this.warn(entry?.warnings ?? []);
    if (!entry) return;
    this.tabs.el.hidden = entry.new;
    this.tabs.choose(records ? 1 : 0);
    this.form.el.hidden = this.foot.hidden = Boolean(records);
    this.remove.hidden = entry.new;
    this.save.textContent = entry.new ? "Create" : "Save";
    this.list(records);
  }

  showRecords(records) {
    const { press } = this.acts;
    this.records.replaceChildren(...(records ? [table("Registrations", records, {
      turn: press,
      remove: (name) => this.acts.removeRecord(name),
    })].flat() : []));
  }
}

export class CertificatePage {
  constructor(acts) {
    this.acts = acts;
    this.el = make("form", { class: "lk-form", submit: (event) => event.preventDefault() });
    this.rebuild = onChange(({ certificate }) => this.build(certificate));
  }

  update({ certificate, place }) {
    this.el.hidden = !certificate;
    const { attached, ...rest } = certificate ?? { attached: {} };
    this.rebuild({ certificate: certificate && rest, place });
    if (certificate) this.upload?.update(attached[certificate.slot]);
  }

  build(found) {
    this.upload = null;
    if (!found) return this.el.replaceChildren();
    this.el.replaceChildren(...(found.new ? this.adding() : this.known(found)));
  }

  adding() {
    this.upload = new Upload("certificate", "CA certificate", this.acts.hands);
    const name = make("input", { type: "text", maxlength: "64", required: true, autocomplete: "off",
      spellcheck: "false", "data-focus": "field name" });
    const upload = () => this.el.reportValidity() && this.acts.press("upload", { name: name.value.trim() });
    return [
      make("fieldset", { class: "lk-section" }, make("legend", {}, "A CA certificate"),
        make("label", { class: "lk-field" }, make("span", {}, "Certificate name"), name), this.upload.el,
        make("p", { class: "lk-soft" }, "It counts for nothing until possession of its key is proven.")),
      make("div", { class: "lk-row lk-foot" },
        make("button", { type: "submit", class: "lk-primary", "data-focus": "save", click: upload }, "Upload"))];
  }

  known(found) {
    const state = make("p", { class: "lk-state" }, stateSign(found.state));
    const remove = deletion(() => this.acts.remove(found.id, "Delete this certificate?",
      "Chains that end in it are trusted no more. Enrollment groups that refer to it stay, and find nothing."));
    return [
      make("fieldset", { class: "lk-section" }, make("legend", {}, "Certificate"), state, facts(found.facts)),
      found.verified ? "" : this.proof(found),
      make("div", { class: "lk-row lk-foot" }, remove)];
  }

  proof({ code }) {
    const { press, hands } = this.acts;
    this.upload = new Upload("proof", "Verification certificate", hands);
    const generate = make("button", { type: "button", "data-focus": "generate",
      click: () => press("generate_code") }, code ? "Generate another code" : "Generate a verification code");
    const verify = make("button", { type: "button", class: "lk-primary", "data-focus": "verify",
      click: () => press("verify") }, "Verify");
    const second = code ? [
      make("p", { class: "lk-soft" }, PROOF, make("code", {}, "ca.prove_possession(code)")),
      this.upload.el, verify] : [];
    return make("fieldset", { class: "lk-section" }, make("legend", {}, "Proof of possession"),
      code ? quotation(code, "Verification code") : "", make("div", { class: "lk-row" }, generate), second);
  }
}

export class DevicePage {
  constructor(acts) {
    this.acts = acts;
    this.el = make("div", { class: "lk-form" });
    this.rebuild = onChange((device) => this.build(device));
  }

  update({ device }) {
    this.el.hidden = !device;
    this.rebuild(device);
  }

  build(device) {
    if (!device) return this.el.replaceChildren();
    const { press, disable, remove } = this.acts;
    const flip = device.enabled
      ? make("button", { type: "button", "data-focus": "switch", click: () => disable(device.id) }, "Disable…")
      : make("button", { type: "button", "data-focus": "switch", click: () => press("enable") }, "Enable");
    const deletes = deletion(() => remove(device.id, "Delete this device?",
      "Its twin goes with it, and a live connection ends. If its enrollment admits it, it can register anew."));
    this.el.replaceChildren(
      make("fieldset", { class: "lk-section" }, make("legend", {}, "Identity in the hub"), facts(device.facts)),
      make("div", { class: "lk-row lk-foot" }, flip, deletes));
  }
}

function deletion(press) {
  return make("button", { type: "button", class: "lk-danger-quiet", "data-focus": "delete", click: press }, "Delete…");
}

// Tabs, each with what it does; `choose(number)` marks one.
export function tablist(label, entries) {
  const tabs = entries.map(([name, press]) =>
    make("button", { type: "button", role: "tab", "data-focus": `tab ${name}`, click: press }, name));
  const el = make("div", { class: "lk-tabs", role: "tablist", "aria-label": label, keydown: tabKeys }, tabs);
  const choose = (number) => tabs.forEach((tab, at) => {
    put(tab, "aria-selected", String(at === number));
    put(tab, "tabindex", at === number ? "0" : "-1");
  });
  return { el, choose };
}
