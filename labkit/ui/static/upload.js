// A place for a certificate: a file, or text that is pasted. What was taken is shown at once.

import { make } from "./dom.js";
import { content } from "./table.js";

const LARGEST = 64 * 1024; // as LARGEST_UPLOAD in Python, which is asked again

let uploads = 0;

// `attach(slot, file, base64)` hands a file over, `detach(slot)` takes it back, `complain(words)`
// tells what the browser itself refuses.
export class Upload {
  constructor(slot, label, { attach, detach, complain }) {
    Object.assign(this, { slot, attach, complain });
    const id = `lk-upload-${++uploads}`;
    this.input = make("input", { type: "file", id, accept: ".pem,.cer,.crt,.der,.txt", "data-focus": `file ${slot}`,
      change: () => this.picked() });
    this.text = make("textarea", { rows: "4", spellcheck: "false", maxlength: String(LARGEST),
      "aria-label": `${label}: PEM text`, placeholder: "-----BEGIN CERTIFICATE-----" });
    const use = make("button", { type: "button", click: () => this.pasted() }, "Use this text");
    this.choose = make("div", { class: "lk-choose" },
      make("div", { class: "lk-field" }, make("label", { for: id }, make("span", { class: "lk-hidden" }, `${label}: `), "a .pem or .cer file"), this.input),
      make("details", {}, make("summary", {}, "or paste its text"), this.text, use));
    this.taken = make("div", { class: "lk-taken" });
    this.takeBack = make("button", { type: "button", class: "lk-quiet", "data-focus": `detach ${slot}`,
      "aria-label": `${label}: take back`, click: () => detach(slot) }, "✕");
    this.el = make("div", { class: "lk-upload" }, this.choose, this.taken);
  }

  // Shows what waits to be saved; nothing where nothing does.
  update(given) {
    this.choose.hidden = Boolean(given);
    this.taken.hidden = !given;
    if (!given) return this.taken.replaceChildren();
    this.taken.replaceChildren(
      make("div", { class: "lk-cert" }, make("strong", {}, given.file), content(given)),
      this.takeBack);
  }

  async picked() {
    const [file] = this.input.files;
    this.input.value = "";
    if (!file) return;
    if (file.size > LARGEST) {
      this.complain(`${file.name} has ${Math.ceil(file.size / 1024)} KB. `
        + `A certificate has two or three; ${LARGEST / 1024} KB are taken at the most.`);
      return;
    }
    await this.attach(this.slot, file.name, base64(new Uint8Array(await file.arrayBuffer())));
  }

  async pasted() {
    const text = this.text.value;
    this.text.value = "";
    if (text.trim()) await this.attach(this.slot, `${this.slot}.pem`, base64(new TextEncoder().encode(text)));
    else this.text.focus();
  }
}

function base64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
