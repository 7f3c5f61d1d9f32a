// A model that learns in the page: the reader presses Train and sees the loss fall, the text turn from noise into words, and
// the map of one head come into being. Then the model writes, and can be kept as a file. The text is the book's or the
// reader's own.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, button, slider, field, choice, sentence, count, alone, calm, newId, fill } = minigpt.parts;
  const { LARGEST_MODEL, bytesOf, fileField, droppable } = minigpt.parts;
  const { Run, Chart, HeadMap, Says, seconds } = minigpt.learning;
  const { OwnText, save, shelf, size } = minigpt.own;
  const OWN = "own"; // the choice that is no text of the book
  const TIME = 30; // seconds that a training may take on the reader's device
  const PACE = 100, CALM = 2000; // milliseconds from one picture to the next; for readers who want less motion
  const FIRST = 24; // letters of a text
  const HIGH = 236, LOW = 150; // pixels: the chart, and the one of the small panel
  const LETTERS = ["A", "B"];
  const RATES = [0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003, 0.006, 0.01, 0.02, 0.03, 0.06, 0.1];
  const RECIPES = { fast: "fast (chapter 14)", plain: "plain (chapter 07)" };
  const USUAL = {
    fast: { learning_rate: 0.006, warmup_steps: 10, batch_size: 16 },
    plain: { learning_rate: 0.01, warmup_steps: 50, batch_size: 16 },
  };
  const MAIN = { idle: "Train", preparing: "Stop", training: "Pause", paused: "Go on", ended: "Write with it" };
  const END_OF_TEXT = "<|endoftext|>"; // between two documents
  const DOING = { counting: "Counting the text, to have something to compare with…", timing: "Timing this device…" };
  // What the chart shows; of letters, trainer.py says the same of the recorded run.
  const guide = (unit) =>
    `The loss says how badly it guesses the next ${unit}: lower is better. It is told for the text that it learns from (training) and ` +
    "for a part that is hidden from it (held out). The grey lines are what counting alone reaches.";
  const KEPT = "This browser keeps the last model that was trained here, without its text, until another one takes its place. ";
  const STALE = "What you see belongs to the run before. Press Train again, to train with what is chosen now.";

  // What a model may begin with that learned from this text: the first words of the first long line, since a title is short.
  const opening = (text) => {
    const begins = text.replaceAll(END_OF_TEXT, "\n").trimStart().slice(0, 5000);
    const lines = begins.split("\n").map((line) => line.trim()).filter(Boolean);
    const line = Array.from(lines.find((line) => line.length > FIRST) ?? lines[0]), words = line.slice(0, FIRST);
    return words.includes(" ") ? words.slice(0, words.lastIndexOf(" ")).join("") : words.slice(0, FIRST / 3).join("");
  };

  // The sliders of one run. Its learning rate may be turned while it goes on.
  class Settings {
    constructor(id, letter, turned) {
      this.rate = slider(`${id}-rate`, ["learning rate", 0, 1, 1, 0], (place) => turned(RATES[place]));
      this.warmup = slider(`${id}-warmup`, ["warm-up steps", 0, 100, 5, 0]);
      this.batch = slider(`${id}-batch`, ["batch (windows)", 4, 32, 4, 4]);
      this.panel = make("div", { className: "mg-knobs" }, this.rate.row, this.warmup.row, this.batch.row);
      this.panel.setAttribute("role", "group");
      this.panel.setAttribute("aria-label", `settings of run ${letter}`);
      this.panel.dataset.title = letter === "B" ? "B (broken lines)" : letter;
    }

    take({ learning_rate, warmup_steps, batch_size }) {
      this.rate.among(RATES, learning_rate);
      this.warmup.set(warmup_steps);
      this.batch.set(batch_size);
    }

    get values() {
      const [rate, warmup_steps, batch_size] = [this.rate, this.warmup, this.batch].map(({ input }) => +input.value);
      return { learning_rate: RATES[rate], warmup_steps, batch_size };
    }

    // While a run is prepared nothing can be set any more, and while it goes on the rate alone.
    lock(mode) {
      this.rate.input.disabled = mode === "preparing";
      this.warmup.input.disabled = this.batch.input.disabled = mode === "preparing" || mode === "training";
    }
  }

  class Trainer {
    constructor(root, state, engine, tell) {
      const id = newId("trainer"), { small = false } = state;
      Object.assign(this, { id, root, state, engine, tell, runs: [], made: 0, begun: 0, drawn: 0, frame: null });
      const still = root.querySelector(".mg-learning"); // the recorded run stands there until another one begins
      this.text = choice(`${id}-text`, { ...state.texts, [OWN]: "your own text" }, state.own ? OWN : state.text);
      this.recipe = choice(`${id}-recipe`, RECIPES, state.recipe);
      this.compare = button("", () => this.beside(!this.two));
      this.main = button(MAIN.idle, () => this.press());
      this.main.className = "mg-main";
      this.again = button("Train again", () => this.start());
      this.writing = button("Write with it", () => this.write());
      this.keeping = button("Save", () => this.keep());
      this.status = make("p", { className: "mg-status", role: "status" });
      this.ticker = make("p", { className: "mg-status", ariaHidden: "true" }); // too fast to be spoken
      this.progress = make("progress");
      this.progress.setAttribute("aria-label", "training");
      this.guide = make("p", { className: "mg-note" });
      this.smaller = make("p", { className: "mg-status" }); // why the plan is a smaller one
      this.stale = make("p", { className: "mg-status", ariaLive: "polite" });
      this.chart = new Chart(small ? LOW : HIGH);
      this.says = LETTERS.map((letter) => new Says(letter));
      this.map = new HeadMap(small);
      const beside = make("div", { className: "mg-beside" }, ...this.says.map(({ root }) => root), this.map.root);
      this.stage = make("div", { className: "mg-learning" }, this.chart.root, this.guide, beside);
      this.shown = make("div", {}, still ?? this.stage);
      this.own = new OwnText(id, root, engine, () => this.changed());
      const set = (letter, i) => new Settings(`${id}-${letter}`, letter, (rate) => this.turn(i, rate));
      this.settings = state.compare ? LETTERS.map(set) : [];
      this.writer = make("section", { className: "mg-writer", hidden: true });
      this.writer.setAttribute("aria-label", "Write with your model");
      this.offer = make("p", { className: "mg-note", hidden: true });
      this.alone = alone(root, (error) => this.speak(sentence(error)));
      const choices = [field("text", this.text), field("model", this.recipe), ...(state.compare ? [this.compare] : [])];
      const sliders = this.settings.map(({ panel }) => panel);
      fill(
        root,
        make("div", { className: "mg-pair", hidden: small }, ...choices),
        ...(small ? [] : [this.own.root]),
        make("div", { className: "mg-settings" }, ...sliders),
        make("div", { className: "mg-buttons" }, this.main, this.again, this.writing, this.keeping),
        make("div", { className: "mg-now" }, this.stale, this.status, this.ticker, this.progress, this.smaller),
        this.shown,
        this.writer,
        this.files(),
        this.opened,
        this.uses,
        this.offer,
      );
      root.classList.add("mg-trainer");
      root.classList.toggle("mg-small", small);
      root.style.minHeight = "";
      this.text.onchange = () => (this.own.root.hidden = !small && this.text.value !== OWN);
      this.recipe.onchange = () => this.usual();
      this.text.onchange();
      this.usual();
      this.beside(false);
      droppable(root, (file) => this.drop(file));
      const learned = small ? state.texts[state.text] : "the chosen text";
      const words = `Press Train. A small GPT reads ${learned} and learns to guess the next letter. So it learns to write.`;
      const time = `That takes about half a minute${state.compare ? ", with two settings twice as long" : ""}.`;
      this.invitation = small ? words : `${words} ${time}`;
      for (const event of ["input", "change"]) root.addEventListener(event, () => this.changed());
      this.enter("idle", this.invitation);
      this.remember();
    }

    // What is there for those who ask for it: models in files, and where the panel is small, a text of their own.
    files() {
      const { small } = this.state, file = fileField(`${this.id}-model`, "Open a model: choose a file, or drop it on this panel", ".mgpt",
        (file) => this.open(file));
      this.train = button("Train on this text", () => (this.own.value ? this.start() : this.own.area.focus()));
      const command = make("code", { textContent: "minigpt generate --model FILE" });
      const note = make("p", { className: "mg-note" }, "Everything happens in this page: your text and your model are sent nowhere. ");
      this.kept = make("p", { className: "mg-note" });
      this.promise();
      note.append("On the command line ", command, " writes with the file, too.");
      this.opened = make("p", { className: "mg-status", role: "status" });
      this.uses = make("div", { className: "mg-buttons" });
      this.opening = alone(this.root, (error) => (this.opened.textContent = sentence(error)));
      const summary = make("summary", { textContent: small ? "Your own text, and models in files" : "Models in files" });
      const own = small ? [this.own.root, make("div", { className: "mg-buttons" }, this.train)] : [];
      return (this.fold = make("details", {}, summary, ...own, file, note, this.kept));
    }

    // What this browser keeps, and how to be rid of it.
    promise() {
      this.keeps = true;
      this.kept.replaceChildren(KEPT, button("Delete it", () => this.forgetKept()));
    }

    // A file that is let go over the panel: a model, or a text, for which a run makes way.
    drop(file) {
      if (file.name.toLowerCase().endsWith(".mgpt")) return this.open(file);
      if (this.works) this.press();
      this.root.classList.add("mg-asked");
      this.fold.open ||= this.state.small; // there the field for a text is in it
      this.text.value = OWN;
      this.text.onchange();
      this.own.take(file);
    }

    // The settings of the chosen recipe, or those that the page asks for. B begins with another rate.
    usual() {
      const usual = { ...USUAL[this.recipe.value], ...(this.recipe.value === this.state.recipe && this.state.knobs) };
      const [a, b] = this.settings;
      a?.take(usual);
      b?.take({ ...usual, learning_rate: usual.learning_rate > 0.001 ? 0.0003 : 0.01 });
    }

    // One setting, or two side by side.
    beside(two) {
      this.two = two;
      this.compare.textContent = two ? "Back to one setting" : "Compare two settings";
      this.settings.forEach(({ panel }, i) => (panel.hidden = i === 1 && !two));
      this.root.classList.toggle("mg-comparing", two);
      if (!this.runs.length) this.arrange(two);
      this.changed();
    }

    // Room for what one run shows, or two.
    arrange(two) {
      for (const says of this.says) says.name(two);
      this.says[1].root.hidden = !two;
      this.map.root.hidden = two;
    }

    // All that a run depends on. The rate can be turned while it goes on.
    get choice() {
      const { text, recipe, two, settings, own, state } = this, is = state.small && !own.value ? state.text : text.value;
      const values = settings.slice(0, two ? 2 : 1).map((each) => each.values);
      return { text: is, words: is === OWN ? own.value?.text : "", recipe: recipe.value, two, values };
    }

    // The reader has changed something: an old complaint goes; and where a run is shown, it is said if it is another one than that
    // which would be trained now.
    changed() {
      if (!this.mode || this.works) return;
      if (this.mode === "idle") return this.speak(this.invitation);
      const same = JSON.stringify(this.choice) === JSON.stringify(this.chose);
      if (same === (this.stale.textContent !== "")) this.stale.textContent = same ? "" : STALE;
    }

    // The controls as they were when the run began.
    restore() {
      const { text, recipe, two, values } = this.chose;
      if (!this.state.small) this.text.value = text;
      this.recipe.value = recipe;
      this.text.onchange();
      values.forEach((each, i) => this.settings[i].take(each));
      this.beside(two);
    }

    get works() {
      return this.mode === "preparing" || this.mode === "training";
    }

    // Into another state: what is said, what the buttons do, and what may be changed.
    enter(mode, words) {
      this.mode = this.root.dataset.mode = mode;
      this.words = words;
      const { works } = this, rests = mode === "paused" || mode === "ended";
      this.main.textContent = MAIN[mode];
      this.again.hidden = this.keeping.hidden = !rests;
      this.writing.hidden = mode !== "paused";
      if (mode === "preparing") this.progress.removeAttribute("value");
      this.progress.hidden = !works || (mode === "preparing" && calm()); // it would move all the time
      this.ticker.hidden = mode !== "training";
      this.smaller.hidden = mode === "ended" || mode === "idle";
      this.stale.textContent = "";
      this.status.classList.toggle("mg-unseen", mode === "training"); // the ticker says the same, more often
      for (const control of [this.text, this.recipe, this.compare, this.train, this.further]) if (control) control.disabled = works;
      for (const each of this.settings) each.lock(mode);
      if (rests) this.root.classList.add("mg-asked");
      this.speak(words);
    }

    speak(words) {
      this.status.textContent = words;
    }

    press() {
      const { mode } = this;
      if (mode === "preparing") this.control.abort();
      else if (mode === "training") this.pause();
      else if (mode === "paused") this.go();
      else if (mode === "ended") this.write();
      else this.start();
    }

    // Learn the chosen text: anew, each time with another seed; or on from the model of that name. If that cannot begin, all
    // stays as it was.
    async start(from) {
      if (this.works) return;
      const { mode } = this, { signal } = (this.control = new AbortController()), runs = [];
      const { choice, words } = this, { recipe } = choice, seed = this.state.seed + this.begun;
      this.enter("preparing", "Reading the text…");
      this.main.scrollIntoView({ block: "nearest" }); // the button that was pressed may be far below
      try {
        const learned = await this.chosen(signal);
        for (const [i, letter] of (this.two ? LETTERS : [""]).entries()) {
          signal.throwIfAborted();
          const run = new Run(this.engine, `${this.id}-run-${++this.made}`, letter), { text } = learned, [first] = runs;
          const same = first && { n_embd: first.config.n_embd, steps: first.plan.steps }; // else two things would differ
          const settings = { ...this.settings[i]?.values, ...same };
          runs.push(run);
          const question = { text, recipe, settings, seed, seconds: first ? Infinity : TIME, from };
          await run.prepare(question, signal, ({ doing }) => this.speak(DOING[doing]));
        }
        this.forget();
        Object.assign(this, { runs, learned, chose: choice, begun: this.begun + 1 });
        this.promise();
      } catch (error) {
        for (const run of runs) run.forget();
        this.root.classList.add("mg-asked"); // another text may be wanted
        const stopped = mode === "idle" ? "Stopped: press Train to begin again." : `Stopped. The run before is still here. ${words}`;
        return this.enter(mode, signal.aborted ? stopped : sentence(error));
      }
      const [{ plan, unit }] = runs;
      this.guide.textContent = guide(unit);
      this.smaller.textContent = this.state.small ? "" : plan.note;
      this.map.name(unit);
      this.progress.max = plan.steps;
      this.offer.hidden = true;
      this.shown.replaceChildren(this.stage);
      this.arrange(runs.length > 1);
      this.report();
      await this.go();
    }

    // The text that is to be learned, its name, and that of the model's file.
    async chosen(signal) {
      const { small, texts, text } = this.state, own = this.own.value, file = small ? (own ? OWN : text) : this.text.value;
      if (file !== OWN) return { label: texts[file], file, text: await this.engine.read(`text-${file}`, signal) };
      if (!own) throw new Error("there is no text yet: paste one, or choose a file");
      return own;
    }

    // Until the runs end, or are paused.
    async go() {
      const { signal } = (this.control = new AbortController());
      this.tenth = null;
      this.restore();
      this.enter("training", "");
      this.draw();
      try {
        await Promise.all(this.runs.map((run) => run.why === "end" || run.train(signal, (part) => this.hear(run, part))));
        if (this.root.contains(this.main)) this.rest();
      } catch (error) {
        this.forget();
        this.enter("idle", `${sentence(error)} Press Train to begin again.`);
      }
    }

    rest() {
      const { runs } = this, ended = runs.every(({ why }) => why === "end");
      const { small } = this.state, room = runs.length === 1 && this.root.clientWidth > 620;
      const said = runs.map((run) => (ended ? run.judged(small, room) : `${run.where}: ${run.standing}.`));
      this.draw();
      this.enter(ended ? "ended" : "paused", said.join("\n"));
      this.chart.say();
      this.map.say();
      this.shelve(runs[0]);
    }

    hear(run, { val_loss }) {
      if (!this.root.contains(this.main)) return run.forget(); // Python has had the panel drawn anew
      if (val_loss !== null && run === this.runs[0]) this.shelve(run);
      if (performance.now() - this.drawn < (calm() ? CALM : PACE) || (calm() && val_loss === null)) return;
      this.frame ??= requestAnimationFrame(() => {
        this.frame = null;
        if (this.mode === "training") this.draw();
      });
    }

    draw() {
      const { runs } = this, [{ plan, map }] = runs, step = Math.min(...runs.map(({ step }) => step));
      const left = Math.max(...runs.map(({ left }) => left)), rest = left >= 0 ? `, about ${seconds(left)} to go` : "";
      this.drawn = performance.now();
      this.chart.show(runs);
      runs.forEach(({ samples }, i) => this.says[i].show(samples));
      if (runs.length === 1) this.map.show(map);
      this.progress.value = step;
      this.ticker.textContent = `${runs.map(({ where }) => where).join(", ")}${rest}.`;
      const tenth = Math.floor((10 * step) / plan.steps); // of the way: worth a spoken word
      if (this.tenth !== tenth) this.speak(this.ticker.textContent);
      this.tenth = tenth;
    }

    pause() {
      this.ticker.textContent = "Pausing after this step…";
      for (const run of this.runs) run.tell("pause");
    }

    turn(i, learning_rate) {
      if ((this.mode !== "training" && this.mode !== "paused") || !this.chose.values[i]) return;
      this.chose.values[i].learning_rate = learning_rate;
      this.runs[i].tell("turn", { learning_rate });
    }

    // The runs before make room.
    forget() {
      for (const run of this.runs) run.forget();
      this.runs = [];
      this.writer.hidden = true;
      this.chart.show([]);
      for (const says of this.says) says.show([]);
      this.map.show(null);
    }

    // The playground, with what was trained here, or with a model from a file.
    write(models, prompt = "") {
      if (!models) {
        models = Object.fromEntries(this.runs.map(({ name, letter }) => [name, letter ? `model ${letter}` : "your model"]));
        prompt = opening(this.learned.text);
      }
      const [model, second] = Object.keys(models), { writer } = this;
      if (writer.hidden || writer.dataset.model !== model) {
        const child = make("div"), textContent = `Write with your model${second ? "s: model A, or under Knobs model B" : ""}`;
        writer.replaceChildren(make("p", { className: "mg-caption", textContent }), child);
        writer.dataset.model = model;
        writer.hidden = false;
        minigpt.widgets.playground(child, { models, model, prompt, folded: true, knobs: {} }, this.engine, () => {});
      }
      const main = writer.querySelector(".mg-main");
      if (main.textContent === "Write") main.click();
      writer.scrollIntoView({ block: "nearest" }); // the button that was pressed may be far from it
    }

    keep() {
      return this.alone(async (signal) => {
        const names = [];
        for (const run of this.runs) {
          const { bytes } = await run.ask("keep", {}, signal), name = `${this.learned.file}${run.letter && `-${run.letter}`}.mgpt`;
          save(bytes, name);
          names.push(name);
        }
        this.speak(`${this.words} Saved among your downloads as ${names.join(" and ")}, to be opened here, below, or in Python.`);
      });
    }

    // Into the browser's shelf: the model, never the text.
    async shelve(run) {
      try {
        const { label } = this.learned, { step, plan } = run, { bytes } = await run.ask("keep");
        if (this.keeps) await shelf("readwrite", (models) => models.put({ label, step, steps: plan.steps, date: Date.now(), bytes }, "last"));
      } catch {
        // without a shelf all else works
      }
    }

    // A model of an earlier visit is offered.
    async remember() {
      const found = await shelf("readonly", (models) => models.get("last")).catch(() => null);
      const { label, step, steps, date, bytes } = found ?? {};
      const sound = typeof label === "string" && [step, steps, date].every(Number.isFinite) && bytes instanceof Uint8Array;
      if (!sound || this.mode !== "idle") return;
      const day = new Date(date).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
      const title = `${label}, step ${step} of ${steps}, ${day}`;
      const open = button("Open it", () => {
        this.offer.hidden = true;
        this.opening((signal) => this.add(title, bytes, signal));
      });
      this.offer.replaceChildren(
        `A model that you trained here (${title}) is still in this browser. `,
        open, " ", button("Delete it", () => this.forgetKept()));
      this.offer.hidden = false;
    }

    async forgetKept() {
      const { works } = this;
      this.keeps = false; // that of the run which may go on is not kept either
      try {
        await shelf("readwrite", (models) => models.delete("last"));
        this.kept.textContent = `This browser keeps no model now${works ? ", and does not keep this run's" : ""}.`;
      } catch {
        this.kept.textContent = "This browser did not delete it: delete what it stores for this page, in its settings.";
      }
      this.offer.textContent = this.kept.textContent;
      this.main.focus(); // the button that was pressed is gone
    }

    open(file) {
      return this.opening(async (signal) => {
        if (file.size > LARGEST_MODEL)
          throw new Error(`the file ${file.name} has ${size(file.size)}, and this page reads up to ${size(LARGEST_MODEL)}`);
        await this.add(file.name, await bytesOf(file), signal);
      });
    }

    // A model that came as bytes: what it is, and what can be done with it.
    async add(title, bytes, signal) {
      const name = `${this.id}-file-${++this.made}`;
      this.uses.replaceChildren();
      await this.engine.add(name, bytes, signal);
      if (this.file) this.release(this.file);
      this.file = name;
      const { config, names } = await this.engine.load(name, signal), { n_layer, n_head, n_embd, block_size } = config;
      const some = `${names.slice(0, 100).join(" ")}${names.length > 100 ? " …" : ""}`;
      this.opened.textContent =
        `${title}: ${size(bytes.length)}, ${count(n_layer, "layer")} of ${count(n_head, "head")}, ${n_embd} wide, ` +
        `a window of ${block_size} tokens. ${count(names.length, "token")}: ${some}`;
      const write = button("Write with it", () => this.write({ [name]: title }));
      this.further = button("Train it further on the chosen text", () => this.start(name));
      this.further.disabled = this.works;
      this.uses.replaceChildren(write, this.further);
      if (this.fold.contains(document.activeElement) || document.activeElement === document.body) write.focus();
    }

    // A model from a file that another one has followed: its memory is given back.
    release(name) {
      if (this.writer.dataset.model === name) this.writer.hidden = true;
      this.engine.forget(name);
    }

    report() {
      const { state } = this, text = this.text.value, own = text === OWN, knobs = this.settings[0]?.values ?? state.knobs;
      this.tell({ state: { ...state, text: own ? state.text : text, own, recipe: this.recipe.value, knobs } });
    }
  }

  minigpt.widgets.trainer = (root, state, engine, tell) => new Trainer(root, state, engine, tell);
})();
