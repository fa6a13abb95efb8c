// The board alone: follows the lab, and opens the inspector.

import { courier, keepKeys, make } from "./dom.js";
import { Stage } from "./stage.js";

function render({ model, el }) {
  const trouble = make("p", { class: "lk-trouble", role: "alert" });
  const post = courier(model, (words) => { trouble.textContent = words; });
  const stage = new Stage((question) => post.ask(question));
  const update = () => stage.update(model.get("svg"), {}, `${model.get("scene").title}.`);
  update();
  el.append(keepKeys(make("div", { class: "labkit lk-view", role: "region", "aria-label": "Chain of trust" },
    make("div", { class: "lk-inner" }, trouble, stage.board.el, stage.inspector.el))));
  model.on("change:scene", update);
  return () => {
    model.off("change:scene", update);
    post.close();
  };
}

export default { render };
