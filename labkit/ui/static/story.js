// The head of the player and what is told: where we are, what just happened, what is asked next.

import { make, onChange, put, rich } from "./dom.js";

const WELCOME = [
  "**Next** takes a step in a real lab: real keys, real certificates, a real connection.",
  "Before a surprising step you are asked what you expect. Guess: that is how it sticks.",
  "**Click** any box in the picture to look inside. Point at it to see its way to the root.",
];
const THE_END = "That was the last step. The lesson goes on below, in Python. Back shows each step again.";
const QUICK_MS = 120; // what is done by then needs no spinner
const PATIENCE_MS = 10000;
const PATIENCE = "This takes long. If the kernel was restarted, run the cell again.";

// Back, Next, Reset and the progress. `act(verb)` is called for an enabled button.
export class Head {
  constructor(act) {
    const button = (verb, label, more = {}) => make("button",
      { type: "button", "data-do": verb, click: () => this.press(verb), ...more }, label);
    this.act = act;
    this.scenario = make("span", { class: "lk-scenario" });
    this.place = make("span", { class: "lk-place" });
    this.track = make("span", { class: "lk-track", "aria-hidden": "true" });
    this.back = button("back", "← Back");
    this.next = button("next", "Next →", { class: "lk-primary" });
    this.reset = button("reset", "↺ Reset", { class: "lk-quiet", title: "Begin again, in an empty lab" });
    this.wait = make("p", { class: "lk-wait", role: "status" });
    this.stage = make("p", { class: "lk-stage" });
    this.el = make("header", { class: "lk-head" },
      make("div", { class: "lk-where" }, this.scenario, this.track, this.place),
      make("div", { class: "lk-row" }, this.reset, this.back, this.next), this.stage, this.wait);
  }

  update(scene) {
    this.scene = scene;
    this.scenario.textContent = scene.scenario;
    this.place.textContent = `Step ${scene.step} of ${scene.steps}`;
    const dots = Array.from({ length: scene.steps }, (_, i) =>
      make("i", { class: i + 1 < scene.step ? "past" : i + 1 === scene.step ? "now" : null }));
    this.track.replaceChildren(...dots);
    this.enable();
  }

  // Not `disabled`: a button that is would lose the focus, and the keyboard its place.
  enable() {
    const { working, scene } = this;
    const waits = scene.prediction?.open && !scene.prediction.chosen;
    put(this.back, "aria-disabled", String(Boolean(working || !scene.can_back)));
    put(this.next, "aria-disabled", String(Boolean(working || !scene.can_next)));
    put(this.reset, "aria-disabled", String(Boolean(working)));
    put(this.next, "title", waits ? "Answer the question first" : null);
  }

  setBusy(busy) {
    if (busy === this.busy) return;
    this.busy = busy;
    this.timers?.forEach(clearTimeout);
    this.timers = [];
    put(this.el, "aria-busy", String(busy));
    if (busy) {
      this.timers = [
        setTimeout(() => this.showWorking(true), QUICK_MS),
        setTimeout(() => { this.wait.textContent = PATIENCE; }, PATIENCE_MS),
      ];
    } else this.showWorking(false);
  }

  // How far long work is: { doing, done, whole }; {} while there is none.
  setStage(stage) {
    if (!stage.whole) return this.stage.replaceChildren();
    const { doing, done, whole } = stage;
    if (!this.stage.firstChild) this.stage.append(make("progress", { "aria-label": doing }), make("span"));
    const [bar, words] = this.stage.children;
    put(bar, "aria-label", doing);
    put(bar, "max", whole);
    put(bar, "value", done);
    words.textContent = `${doing}: ${done} of ${whole}`;
  }

  showWorking(working) {
    this.working = working;
    this.wait.textContent = "";
    const label = working ? [make("span", { class: "lk-spinner" }), "Working…"] : ["Next →"];
    this.next.replaceChildren(...label);
    if (this.scene) this.enable();
  }

  press(verb) {
    if (this.busy) return;
    if (this[verb].getAttribute("aria-disabled") === "true") this.act("refused");
    else this.act(verb);
  }
}

// The narration, what to look at, how a prediction turned out, and the next question.
export class Story {
  constructor({ look, choose, why }) {
    this.look = look;
    this.why = why;
    this.question = new Question(choose);
    this.told = make("div", { class: "lk-told" });
    this.aside = make("div", { class: "lk-aside" });
    this.el = make("div", { class: "lk-story" }, this.told, this.aside);
    this.tell = onChange((scene) => this.narrate(scene));
    this.answer = onChange((scene) => this.outcome(scene));
  }

  update({ step, title, narration, told, look, failure, feedback, explanation, prediction, steps }) {
    this.tell({ step, title, narration, told, look, failure, steps });
    this.answer({ step, feedback, explanation });
    this.question.update(prediction, step);
    this.aside.append(this.question.el);
    this.aside.hidden = Boolean(step) && !feedback && !explanation && !prediction;
  }

  narrate({ step, title, narration, told, look, failure, steps }) {
    const chips = look.map(({ id, label, kind }) =>
      make("button", { type: "button", class: "lk-chip", click: () => this.look(id) },
        label, make("small", {}, kind)));
    this.told.replaceChildren(
      make("h3", { tabindex: "-1" }, step ? title : "Before the first step"),
      make("p", { class: "lk-narration" }, rich(narration)),
      told ? make("p", { class: "lk-note lk-outcome", role: "note", "aria-label": "What came of it" }, told) : "",
      failure ? make("p", { class: "lk-note lk-bad" }, failure) : "",
      chips.length ? make("p", { class: "lk-look" }, make("span", {}, "Look at"), chips) : "",
      step === steps ? make("p", { class: "lk-soft" }, THE_END) : "");
  }

  // The keyboard goes where the eye does.
  point() {
    this.told.querySelector("h3").focus({ preventScroll: true });
  }

  outcome({ step, feedback, explanation }) {
    const parts = [!step && welcome(), explanation && bareAnswer(explanation, this.why),
      feedback && verdict(feedback)];
    this.aside.replaceChildren(...parts.filter(Boolean));
  }
}

function welcome() {
  const lines = WELCOME.map((line) => make("li", {}, rich(line)));
  const label = "How to use the player";
  return make("section", { class: "lk-note lk-tip", "aria-label": label }, make("ul", {}, lines));
}

function verdict({ right, question, chosen, answer, why }) {
  const said = right ? [make("strong", {}, "✓ Right: "), chosen, ". "]
    : [make("strong", {}, "✗ Not quite. "), "You said: ", chosen, ". It is: ",
      make("strong", {}, answer), ". "];
  const tone = right ? "lk-good" : "lk-wrong";
  return make("section", { class: `lk-note ${tone}`, "aria-label": "Your prediction" },
    make("p", { class: "lk-soft" }, question), make("p", {}, said, why));
}

function bareAnswer({ label, says, answer }, why) {
  return make("section", { class: "lk-note lk-bare", "aria-label": label },
    make("p", { class: "lk-soft" }, says),
    make("code", {}, answer),
    make("p", {}, make("button", { type: "button", class: "lk-link", click: why }, "Why? What was checked, and what cures it")));
}

const LEGEND = { false: "Predict before you press Next", true: "Decide before you press Next" };

// What Next waits for: `choose(decides, option)` is called with the answer.
class Question {
  constructor(choose) {
    this.choose = choose;
    this.hint = make("p", { class: "lk-soft lk-hint" });
    this.options = make("div", { class: "lk-options" });
    this.text = make("p", { class: "lk-question" });
    this.legend = make("legend", {}, LEGEND.false);
    this.el = make("fieldset", { class: "lk-predict" }, this.legend, this.text, this.options, this.hint);
    this.ask = onChange(({ prediction }) => this.build(prediction));
    this.name = `lk-${Math.random().toString(36).slice(2)}`;
  }

  update(prediction, step) {
    this.el.hidden = !prediction;
    if (!prediction) return;
    const { question, options, decides } = prediction;
    this.ask({ step, prediction: { question, options, decides } });
    for (const input of this.options.querySelectorAll("input")) {
      input.checked = input.value === prediction.chosen;
      input.disabled = !prediction.open;
    }
    put(this.el, "data-answered", String(Boolean(prediction.chosen)));
    this.hint.textContent = hintFor(prediction);
  }

  build({ question, options, decides }) {
    this.legend.textContent = LEGEND[decides];
    this.text.textContent = question;
    this.options.replaceChildren(...options.map((option) => make("label", {},
      make("input", { type: "radio", name: this.name, value: option, change: () => this.choose(decides, option) }),
      make("span", {}, option))));
  }

  // What Next waits for.
  point() {
    this.el.classList.remove("lk-nudge");
    void this.el.offsetWidth; // restarts the animation
    this.el.classList.add("lk-nudge");
    this.options.querySelector("input")?.focus();
  }
}

function hintFor({ chosen, open, decides }) {
  if (!open) return chosen ? "That is what you answered." : "The story has gone on without an answer.";
  if (chosen) return decides ? "Press Next to do it." : "Press Next to see.";
  return "Next waits for your answer.";
}
