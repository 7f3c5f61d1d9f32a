// A prediction: what answers it, the outputs of the cells after it up to the one that compares, stays folded until the reader
// has guessed, or skips it. Their code stays; without scripts and on paper all is seen.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, button, newId, fill } = minigpt.parts;
  const { rich, recall, keep } = minigpt.reader;

  // All predictions of the page, and the line before each place that one of them folds. A place may lie between two questions.
  const asked = [], lines = new Map();

  const ends = (part) => Boolean(part) && (part.matches(".mg-folded") || ends(part.lastElementChild));

  const refold = () => {
    for (const [place, line] of lines) {
      const shutBy = asked.find(({ open, places }) => !open && places.includes(place));
      place.classList.toggle("mg-folded", Boolean(shutBy));
      line.hidden = !shutBy || ends(line.previousElementSibling); // one line for neighbours
      if (shutBy) line.firstElementChild.href = `#${shutBy.root.id}`;
    }
  };

  // What hides in a cell: its outputs; all of it, if it shows no code or is a folded check, whose line would tell the answer.
  const places = (cell) => {
    const whole = cell.closest("details.receipt") ?? (cell.querySelector(".cell_input") ? null : cell);
    const found = whole ? [whole] : [...cell.querySelectorAll(".cell_output")];
    return found.filter((place) => !place.querySelector("[data-minigpt=predict]"));
  };

  const between = (first, last) => {
    const cells = [...document.querySelectorAll("div.cell")];
    return cells.slice(cells.indexOf(first) + 1, cells.indexOf(last) + 1).flatMap(places);
  };

  // A link that leads into a folded place unfolds it.
  const follow = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    const shut = asked.filter(({ open, places }) => !open && places.some((place) => place.contains(target)));
    for (const each of shut) each.show("Unfolded, since a link led here.");
    if (shut.length) target.scrollIntoView();
  };

  class Prediction {
    constructor(root, { id, choices, unit }) {
      Object.assign(this, { root, id, choices, unit, open: false });
      root.id ||= `predict-${id}`;
      this.answer = document.querySelector(`[data-answer-of="${id}"]`);
      this.still = this.answer ? [...this.answer.childNodes] : [];
      this.places = this.answer ? between(root.closest("div.cell"), this.answer.closest("div.cell")) : [];
      for (const place of this.places)
        if (!lines.has(place)) {
          const link = make("a", { textContent: "guess" });
          lines.set(place, make("p", { className: "mg-fold-line" }, "Folded until you ", link, "."));
          place.before(lines.get(place));
        }
      asked.push(this);
      this.draw(root.querySelector(".mg-question"));
      const guess = recall("predict", id);
      if (guess === null) this.show();
      else if (this.holds(guess)) this.show(this.told(guess));
      else refold();
    }

    holds(guess) {
      return this.choices.length ? this.choices.includes(guess) : typeof guess === "string" && guess !== "" && isFinite(guess);
    }

    draw(question) {
      const id = newId("predict");
      const option = (choice, i) => {
        const input = make("input", { type: "radio", name: id, id: `${id}-${i}`, value: choice });
        return make("div", { className: "mg-option" }, input, make("label", { htmlFor: input.id }, ...rich(choice)));
      };
      const number = () => [
        make("label", { htmlFor: id }, "your guess"),
        make("input", { type: "number", step: "any", id }),
        make("span", {}, this.unit),
      ];
      const fields = this.choices.length ? this.choices.map(option) : [make("div", { className: "mg-number" }, ...number())];
      const skip = button("Skip", () => this.commit(null));
      this.fields = make("div", {}, ...fields, make("div", { className: "mg-checks" }, make("button", { textContent: "Guess" }), skip));
      // It appears where "Guess" was: the second half of a double click on that is not meant for it.
      this.again = button("Guess again", ({ detail }) => detail < 2 && this.forget());
      this.status = make("p", { role: "status" });
      const set = make("fieldset", {}, make("legend", {}, ...question.childNodes), this.fields, this.status, this.again);
      this.form = make("form", { noValidate: true }, set);
      this.again.hidden = true;
      this.form.onsubmit = (event) => {
        event.preventDefault();
        const chosen = this.choices.length ? this.form.querySelector(":checked")?.value : this.form.querySelector("input").value;
        if (this.holds(chosen)) this.commit(chosen);
        else this.status.textContent = this.choices.length ? "Choose one first, or skip it." : "Type a number first, or skip it.";
      };
      fill(this.root, this.form);
      this.root.classList.add("mg-predict");
      this.root.style.minHeight = "";
    }

    commit(guess) {
      keep(guess, "predict", this.id);
      this.show(guess === null ? undefined : this.told(guess));
      this.again.focus();
    }

    // How the guess compares, in the words of notebook/predict.py.
    told(guess) {
      if (!this.answer) return `You said ${guess}.`;
      const { value } = this.answer.dataset;
      if (this.choices.length) return guess === value ? `You said ${guess}. That is right.` : `You said ${guess}. It is ${value}.`;
      const digits = value.split(".")[1]?.length ?? 0;
      const shown = (number) => number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
      const off = +(value - guess).toFixed(digits), it = shown(+value) + (["", "%"].includes(this.unit) ? "" : " ") + this.unit;
      if (!off) return `You said ${guess}. That is right: it is ${it}.`;
      return `You said ${guess}. It is ${it}: ${shown(Math.abs(off))} too ${off > 0 ? "low" : "high"}.`;
    }

    show(words = "Skipped.") {
      this.open = true;
      this.fields.hidden = true;
      this.again.hidden = false;
      this.status.replaceChildren(...rich(words));
      if (words.startsWith("You said")) this.answer?.replaceChildren(...rich(words));
      refold();
    }

    forget() {
      keep(undefined, "predict", this.id);
      this.answer?.replaceChildren(...this.still);
      this.form.reset();
      this.open = this.fields.hidden = false;
      this.again.hidden = true;
      this.status.textContent = "";
      refold();
      this.form.querySelector("input").focus();
    }
  }

  addEventListener("hashchange", follow);

  minigpt.widgets.predict = (root, state) => {
    new Prediction(root, state);
    follow();
  };
})();
