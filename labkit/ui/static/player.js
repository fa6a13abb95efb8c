// The player: puts the parts together, sends what the trainee does, shows what Python sends.

import { courier, keepKeys, make, onChange, put, stateSign } from "./dom.js";
import { EventLog } from "./eventlog.js";
import { Explanation } from "./explanation.js";
import { Stage } from "./stage.js";
import { Head, Story } from "./story.js";

class Player {
  constructor(model) {
    this.model = model;
    this.trouble = make("div", { class: "lk-trouble", role: "alert" });
    this.courier = courier(model, (words) => this.complain(words));
    const ask = (question) => this.courier.ask(question);
    this.stage = new Stage(ask);
    this.head = new Head((verb) => this.act(verb));
    this.story = new Story({
      look: (id) => this.stage.point(id),
      choose: (decides, option) => this.send({ do: decides ? "decide" : "predict", option }),
      why: () => this.why.point(),
    });
    this.why = new Explanation(
      (id) => this.stage.point(id), (place) => this.cure(place));
    this.states = make("section", { class: "lk-panel lk-states", "aria-label": "State" });
    this.count = onChange((states) =>
      this.states.replaceChildren(make("h4", {}, "State"), stateTable(states)));
    this.log = new EventLog(ask);
    const body = make("div", { class: "lk-body" },
      make("div", { class: "lk-side" }, this.story.el, this.stage.inspector.el),
      this.stage.board.el, this.states, this.why.el, this.log.el);
    this.el = keepKeys(make("div",
      { class: "labkit lk-player", role: "region", "aria-label": "Lesson player" },
      make("div", { class: "lk-inner" }, this.head.el, this.trouble, body)));
  }

  update() {
    const scene = this.model.get("scene");
    put(this.el, "data-step", scene.step);
    this.head.update(scene);
    this.story.update(scene);
    this.why.update(scene.explanation);
    this.count(scene.states);
    const lead = `Step ${scene.step} of ${scene.steps}. ${scene.title}.`;
    const fresh = scene.frame !== this.frame;
    if (fresh) this.stage.uncover();
    this.frame = scene.frame;
    this.stage.update(this.model.get("svg"), scene, lead, fresh);
    this.log.update(scene.log);
    this.trouble.replaceChildren();
  }

  busy() {
    this.head.setBusy(this.model.get("busy"));
  }

  far() {
    this.head.setStage(this.model.get("stage"));
  }

  async act(verb) {
    if (verb === "refused") {
      if (this.model.get("scene").prediction?.open) this.story.question.point();
      return;
    }
    await this.send({ do: verb });
  }

  // The explanation goes away with its cause: the outcome is at the top.
  async cure(place) {
    await this.send({ do: "cure", place });
    this.story.point();
    this.el.scrollIntoView({ block: "start" });
  }

  async send(question) {
    this.head.setBusy(true);
    await this.courier.ask(question);
    this.busy();
  }

  complain(words) {
    const dismiss = () => this.trouble.replaceChildren();
    this.trouble.replaceChildren(
      make("div", {}, make("strong", {}, "That did not work"), make("pre", {}, words)),
      make("button", { type: "button", class: "lk-quiet", "aria-label": "Dismiss", click: dismiss }, "✕"));
  }
}

// Roles are named because the sheet lays the rows out as a strip where it is narrow, and browsers
// then forget that it is a table.
function stateTable(states) {
  const cell = (role, attributes, ...content) =>
    make(role === "rowheader" ? "th" : "td", { role, ...attributes }, ...content);
  const row = (state) => make("tr", { role: "row" },
    cell("rowheader", { scope: "row" }, stateSign(state)), cell("cell", {}, String(state.count)));
  return make("table", { role: "table", "aria-label": "How many nodes are in which state" },
    make("tbody", { role: "rowgroup" }, states.map(row)));
}

function render({ model, el }) {
  const player = new Player(model);
  const update = () => player.update();
  const busy = () => player.busy();
  const far = () => player.far();
  update();
  busy();
  el.append(player.el);
  model.on("change:scene", update);
  model.on("change:busy", busy);
  model.on("change:stage", far);
  return () => {
    model.off("change:scene", update);
    model.off("change:busy", busy);
    model.off("change:stage", far);
    player.courier.close();
  };
}

export default { render };
