// A quiz: one question after the other, in the browser's own fields. After a check the chosen answer is explained; the other
// explanations come once the answer was right, or when they are asked for, so that a second try is worth something.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, newId, fill } = minigpt.parts;
  const { rich, recall, keep, keeps } = minigpt.reader;

  const verdict = (right, words) => make("b", { className: right ? "mg-right" : "mg-wrong", textContent: words });
  const judged = ({ correct }) => verdict(correct, correct ? "✓ Right:" : "✗ Wrong:");

  // The first answer of a numeric question that a number falls under, as in quiz.py.
  const meant = (answers, number) => {
    const near = (value) => Math.abs(value - number) <= Math.max(1e-12, 1e-9 * Math.max(Math.abs(value), Math.abs(number)));
    const fits = ({ type, value, range }) =>
      type === "value" ? near(value) : type === "range" && range[0] <= number && number <= range[1];
    return answers.find(fits) ?? answers.find(({ type }) => type === "default");
  };

  const called = ({ answer, type, value, range }) => {
    if (answer) return rich(answer);
    const written = (number) => number.toLocaleString("en", { maximumFractionDigits: 12 });
    return [type === "default" ? "any other number" : (range ?? [value]).map(written).join(" to ")];
  };

  class Question {
    constructor(asked, number, id, told) {
      Object.assign(this, { asked, told, inputs: [], places: [] });
      this.before = make("span", { className: "mg-before" });
      this.status = make("div", { className: "mg-told", role: "status", id: `${id}-told` });
      this.all = make("button", { type: "button", textContent: "Show all explanations", hidden: true });
      this.all.onclick = () => this.explain();
      const legend = make("legend", {}, `${number}. `, ...rich(asked.question), " ", this.before);
      const code = asked.code ? [make("pre", {}, make("code", { textContent: asked.code }))] : [];
      const fields = asked.type === "numeric" ? this.field(id) : this.options(id);
      const buttons = make("div", { className: "mg-checks" }, make("button", { textContent: "Check" }), this.all);
      const set = make("fieldset", {}, legend, ...code, ...fields, buttons, this.status);
      this.form = make("form", { noValidate: true }, set);
      this.form.onsubmit = (event) => {
        event.preventDefault();
        this.check();
      };
    }

    options(id) {
      const many = this.asked.type === "many_choice";
      const rows = this.asked.answers.map(({ answer }, i) => {
        const input = make("input", { type: many ? "checkbox" : "radio", name: id, id: `${id}-${i}` });
        const sign = make("span", { className: "mg-sign" }), place = make("p", { className: "mg-why" });
        sign.ariaHidden = "true"; // the status says it in words
        this.inputs.push(input);
        this.places.push({ sign, place });
        const label = make("label", { htmlFor: input.id }, make("span", {}, ...rich(answer)), sign);
        return make("div", { className: "mg-option" }, input, label, place);
      });
      return many ? [make("p", { className: "mg-hint", textContent: "More than one may be right." }), ...rows] : rows;
    }

    field(id) {
      const input = make("input", { type: "number", step: "any", id });
      input.setAttribute("aria-describedby", this.status.id);
      this.inputs.push(input);
      const list = make("ul", { className: "mg-why" });
      this.places.push({ place: list });
      return [make("div", { className: "mg-number" }, make("label", { htmlFor: id }, "your answer"), input), list];
    }

    check() {
      this.clear();
      const { type, answers } = this.asked, numeric = type === "numeric";
      const [field] = this.inputs, ticked = (_, i) => this.inputs[i].checked;
      const chosen = !numeric ? answers.filter(ticked) : field.value === "" ? [] : [meant(answers, Number(field.value))];
      if (!chosen.length) {
        this.status.textContent = numeric ? "Type a number first." : "Choose an answer first.";
        return;
      }
      const right = numeric ? Boolean(chosen[0].correct) : answers.every((answer, i) => answer.correct === ticked(answer, i));
      this.chosen = chosen;
      if (!numeric)
        for (const answer of chosen) this.places[answers.indexOf(answer)].sign.textContent = answer.correct ? "✓" : "✗";
      const sentence = verdict(right, right ? "✓ Right." : "✗ Not yet.");
      if (type === "many_choice") {
        const missing = !right && chosen.every(({ correct }) => correct) ? " Something that is right is missing." : "";
        const each = chosen.map((a) => make("li", {}, judged(a), " ", ...called(a), make("br"), ...rich(a.feedback)));
        this.status.append(make("p", {}, sentence, missing), make("ul", {}, ...each));
      } else this.status.append(make("p", {}, sentence, " ", ...rich(chosen[0].feedback)));
      if (right && !numeric) this.explain();
      else this.all.hidden = false;
      this.told(right ? "right" : "wrong");
    }

    // What is to be said to the answers that were not chosen.
    explain() {
      const { type, answers } = this.asked;
      const others = answers.filter((answer) => !this.chosen.includes(answer));
      for (const answer of others)
        if (type === "numeric")
          this.places[0].place.append(make("li", {}, judged(answer), " ", ...called(answer), make("br"), ...rich(answer.feedback)));
        else this.places[answers.indexOf(answer)].place.replaceChildren(judged(answer), " ", ...rich(answer.feedback));
      if (this.all === this.all.ownerDocument.activeElement) this.inputs[0].focus();
      this.all.hidden = true;
    }

    clear() {
      for (const { sign, place } of this.places) {
        sign?.replaceChildren();
        place.replaceChildren();
      }
      this.status.replaceChildren();
      this.all.hidden = true;
    }

    // How it was answered before.
    mark(result) {
      const right = result === "right", mark = result && !this.status.hasChildNodes(); // which says it better
      this.before.replaceChildren(...(mark ? [verdict(right, right ? "✓ answered right" : "✗ not yet right")] : []));
    }

    reset() {
      this.clear();
      this.form.reset();
    }
  }

  class Quiz {
    constructor(root, { name, questions }) {
      const id = newId("quiz");
      this.name = name;
      this.results = { ...recall("quiz", name) }; // here too, where the browser keeps nothing
      this.questions = questions.map((asked, i) =>
        new Question(asked, i + 1, `${id}-${i}`, (result) => this.answered(asked.id, result)));
      this.count = make("span", { role: "status" });
      const forget = make("button", { type: "button", textContent: "Forget my answers", onclick: () => this.forget() });
      const kept = keeps() ? [make("span", { textContent: "Remembered in this browser only." })] : [];
      const foot = make("div", { className: "mg-foot" }, this.count, ...kept, forget);
      fill(root, ...this.questions.map(({ form }) => form), foot);
      root.classList.add("mg-quiz");
      root.style.minHeight = ""; // it is drawn
      this.show();
    }

    answered(question, result) {
      this.results[question] = result;
      keep(result, "quiz", this.name, question);
      this.show();
    }

    forget() {
      this.results = {};
      keep(undefined, "quiz", this.name);
      for (const question of this.questions) question.reset();
      this.show();
    }

    show() {
      for (const question of this.questions) question.mark(this.results[question.asked.id]);
      const right = this.questions.filter(({ asked }) => this.results[asked.id] === "right").length;
      this.count.textContent = `${right} of ${this.questions.length} answered right`;
    }
  }

  minigpt.widgets.quiz = (root, state) => new Quiz(root, state);
})();
