// How far long work in a notebook's cell is.

import { make, put } from "./dom.js";

function render({ model, el }) {
  const bar = make("progress", {});
  const words = make("span", {});
  const said = make("span", { class: "lk-hidden", role: "status" });
  const update = () => {
    const { doing, done, whole } = model.get("stage");
    put(bar, "aria-label", doing);
    put(bar, "max", whole);
    put(bar, "value", done);
    words.textContent = done < whole ? `${doing}: ${done} of ${whole}` : `${doing}: all ${whole}`;
    if (done === 0 || done === whole) said.textContent = words.textContent;
  };
  update();
  el.append(make("div", { class: "labkit lk-bar" }, make("p", { class: "lk-stage" }, bar, words, said)));
  model.on("change:stage", update);
  return () => model.off("change:stage", update);
}

export default { render };
