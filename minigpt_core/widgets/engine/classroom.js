// What a worker can do besides writing: look at a text, plan a run for this device, train, hand over the model.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { END_OF_TEXT, END_ID, actions, models, breathe, running } = minigpt;
  const COUNTED = 500_000; // tokens that are counted at most: a few seconds
  const LONGEST = 9; // tokens of the longest runs that are counted
  const WINDOWS = 128; // of the held-out part that are read at each evaluation; at the end it is read whole
  const EVALUATIONS = 13; // in a run
  const LOOKS = 20; // times in a run that the page is shown a text and a map
  const SHOWN = 200, MAPPED = 24; // tokens of such a text, and of such a map
  const WORDS = 16; // tokens that such a text goes on from, or a few more, to where a word begins
  const TITLE = 200; // tokens at the beginning of the held-out part that no map shows: they may be a title
  const LEAST = 20; // steps, however slow the device
  const WIDTHS = [128, 96, 64, 48, 32]; // from the book's own to what a slow phone can train
  const SLEEP = 10, DOZE = 3000; // a step that takes ten usual ones, and three seconds more, was interrupted: the machine slept

  // The book's two recipes: the settings of FastConfig and fast_recipe in minigpt_core/beyond/fast.py, and a small plain model.
  const RECIPES = {
    fast: {
      config: {
        kind: "fast", block_size: 64, n_layer: 1, n_head: 2, n_embd: 128, dropout: 0, fused: true, norm: "layer",
        norm_eps: 1e-5, rope_base: 10_000, n_kv_head: null, qk_norm: false, feed_forward: "squared-relu", n_hidden: null,
        bias: true, tied: false, softcap: null, start: "zero", previous_tokens: 3, norm_input: true, logit_scale: 3,
      },
      training: { steps: 260, batch_size: 16, learning_rate: 6e-3, warmup_steps: 10 },
    },
    plain: {
      config: { ...minigpt.PLAIN, kind: "gpt", block_size: 64, n_layer: 2, n_head: 4, n_embd: 64, dropout: 0, fused: true },
      training: { steps: 500, batch_size: 16, learning_rate: 1e-2, warmup_steps: 50 },
    },
  };

  const runs = new Map(); // by name

  // The tokenizer of minigpt_core's CharTokenizer.train: the characters of the text, sorted.
  const characters = (text) =>
    [...new Set(text.replaceAll(END_OF_TEXT, ""))].sort((a, b) => a.codePointAt() - b.codePointAt());

  // Floating-point operations of a step, as step_operations of minigpt_core/study/planning.py counts them.
  const operations = ({ vocab_size: V, n_layer, n_embd: C, block_size: T }, windows) =>
    6 * windows * T * (n_layer * (12 * C * C + 13 * C) + V * C + 2 * n_layer * C * T);

  // A run of so many steps, of which there may be at most so many.
  const shortened = (steps, most) => Math.min(steps, Math.max(LEAST, Math.floor(most)));

  const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

  // What counting reaches on the held-out part, in nats per token: counted once for several runs on one text.
  let before = null;
  const counted = (text, { train, heldOut, config: { vocab_size: V } }) => {
    if (before?.text === text && before.V === V) return before.references;
    const losses = minigpt.ngramLosses(train.subarray(0, COUNTED), heldOut.subarray(0, COUNTED), LONGEST, V);
    const references = { "ln V": Math.log(V) };
    for (const n of [1, 2, 3, 5]) references[`${n}-gram`] = losses[n - 1];
    references["best count"] = Math.min(...losses);
    before = { text, V, references };
    return references;
  };

  // One run: the text as ids, the plan, the model that learns, and what was seen so far. `from` is the model that is trained
  // further, if one is. Settings may name a width and a number of steps, those of a run that this one is compared with.
  class Run {
    constructor(text, { recipe, settings: { n_embd, ...settings } = {}, seed }, from) {
      const look = minigpt.lookAt(text), unknown = from && minigpt.untrainable(from.config);
      if (!look.usable) throw new Error(look.advice.at(-1));
      if (unknown)
        throw new Error(`the opened model has ${unknown}: the page trains the plain GPT and the fast one of chapter 14, Python all of them`);
      const tokenizer = from?.tokenizer ?? { kind: "char", characters: characters(text) };
      const coder = new minigpt.Tokenizer(tokenizer), stranger = coder.stranger(text), V = coder.pieces.length;
      if (V < 2) throw new Error("the text is nothing but end marks: there is nothing to learn");
      if (stranger)
        throw new Error(`the opened model does not know the character “${stranger}”, which the text has: train a new one on it`);
      const { how, ...parts } = minigpt.splitText(text);
      const [train, heldOut] = [parts.train, parts.heldOut].map((part) => Int32Array.from(coder.encode(part)));
      const { config, training } = RECIPES[recipe], first = from?.weights;
      this.config = from?.config ?? { ...config, n_embd: n_embd ?? config.n_embd, vocab_size: V, end_id: END_ID };
      const { block_size: T } = this.config, shorter = Math.min(train.length, heldOut.length);
      if (shorter <= T)
        throw new Error(
          `a window of ${T} tokens and the next one need ${T + 1}, but a part of the text has ${shorter}: take a longer text`,
        );
      const rate = from ? training.learning_rate / 3 : training.learning_rate; // what is trained already is disturbed less
      const plan = { ...training, learning_rate: rate, ...settings };
      const most = V <= 256 ? 60 : 30; // readings of the text, after which it would only be known by heart
      plan.steps = settings.steps ?? shortened(plan.steps, (most * train.length) / (plan.batch_size * T));
      Object.assign(this, { look, how, tokenizer, coder, train, heldOut, plan, seed, first, training: [], validation: [], times: [] });
      // What the samples go on from: the beginning of a document, or some words of the held-out part.
      const half = Math.ceil(T / 2), words = this.wordFrom(Math.min(WORDS, half), half);
      this.opening = how === "documents" ? [END_ID] : Array.from(heldOut.subarray(0, words));
    }

    // Where in the held-out part a word begins, between these two places; where none does, the first of them.
    wordFrom(first, end) {
      return first + this.heldOut.subarray(first, end).indexOf(this.coder.ids.get(" ")) + 1;
    }

    get summary() {
      const { look, how, config, plan, coder, references, trainer } = this;
      const split = { how, train: this.train.length, held_out: this.heldOut.length };
      const n_parameters = trainer.names.reduce((sum, name) => sum + trainer.a[`w ${name}`].length, 0);
      const names = coder.pieces.map((_, id) => coder.name(id));
      return { look, split, config, kind: coder.kind, n_parameters, vocab_size: names.length, references, plan, names };
    }

    begin() {
      const { config, plan, seed, first } = this;
      this.trainer = new minigpt.Trainer(config, first ?? minigpt.firstWeights(config, seed), plan.batch_size);
    }

    // Where the windows of a step begin.
    starts(step) {
      const { train, config, plan, seed } = this;
      return minigpt.batchStarts(train.length, config.block_size, plan.batch_size, seed, step);
    }

    // Milliseconds of a step: the fastest of a few, since the first ones are still being compiled.
    time() {
      this.begin();
      const times = [];
      for (let n = 0; n < 6; n++) {
        const began = performance.now();
        this.trainer.learn(this.train, this.starts(1), 0);
        times.push(performance.now() - began);
        if (times[n] > 2000) break;
      }
      return Math.min(...times);
    }

    // The largest model that this device trains in so many seconds; one that is given gets fewer steps instead.
    fit(seconds) {
      const { plan } = this, B = plan.batch_size, whole = operations(this.config, B), speed = whole / this.time(); // a millisecond
      const needed = (config) => (plan.steps * operations(config, B)) / speed / 1000;
      const gflops = speed / 1e6, own = this.config.n_embd, { steps } = plan;
      if (!this.first) {
        const widths = WIDTHS.filter((width) => width <= own), fits = (n_embd) => needed({ ...this.config, n_embd }) <= seconds;
        this.config = { ...this.config, n_embd: widths.find(fits) ?? widths.at(-1) };
      }
      const { n_embd } = this.config, smaller = [];
      if (n_embd < own) smaller.push(`the model is ${n_embd} wide in place of ${own}`);
      plan.steps = shortened(steps, (steps * seconds) / needed(this.config));
      if (plan.steps < steps) smaller.push(`the run has ${plan.steps} steps in place of ${steps}`);
      plan.note = smaller.length ? `This device computes ${gflops.toPrecision(2)} GFLOP/s, so ${smaller.join(" and ")}.` : "";
      plan.warmup_steps = Math.min(plan.warmup_steps, plan.steps >> 1);
      plan.eval_every = Math.max(1, Math.round(plan.steps / EVALUATIONS));
      Object.assign(plan, { seconds: needed(this.config), gflops });
      this.begin();
      this.model = new minigpt.Model({ config: this.config, tokenizer: this.tokenizer, weights: this.trainer.weights() });
    }

    // A step, with what is due after it.
    advance() {
      const { trainer, plan } = this, step = trainer.step + 1, learning_rate = minigpt.learningRateAt(step, plan);
      const train_loss = trainer.learn(this.train, this.starts(step), learning_rate);
      const last = step === plan.steps, part = { step, learning_rate, train_loss, val_loss: null };
      if (last || step % plan.eval_every === 0) {
        part.val_loss = trainer.evaluate(this.heldOut, last ? Infinity : WINDOWS);
        this.validation.push([step, part.val_loss]);
      }
      this.training.push(train_loss);
      const every = Math.max(1, Math.round(plan.steps / LOOKS));
      Object.assign(part, last || step === 1 || step % every === 0 ? this.show() : { sample: null, map: null });
      const before = this.since;
      this.since = performance.now();
      this.times.push(this.since - before);
      return Object.assign(part, this.clock());
    }

    // Seconds so far, and those to go; what a sleeping machine missed counts for nothing.
    clock() {
      const { times, plan } = this, usual = median(times.slice(-50));
      const awake = times.filter((time) => time < SLEEP * usual + DOZE);
      const elapsed = awake.reduce((a, b) => a + b, 0) / 1000;
      return { elapsed, left: (elapsed / awake.length) * (plan.steps - times.length) };
    }

    // The model as it is now: the worker writes with it, and the page sees what it writes, and where one head looks.
    show() {
      const { model, coder, opening, heldOut } = this, ids = [], blocks = [];
      const knobs = { temperature: 0.8, top_p: 0.95 };
      model.weights = this.trainer.weights();
      model.pack();
      while (ids.length < SHOWN) // on past an end mark, where there is one
        for (const { id } of minigpt.generate(model, [...opening, ...ids], SHOWN - ids.length, knobs, 1 + ids.length)) ids.push(id);
      const long = Math.min(MAPPED, this.config.block_size), latest = heldOut.length - long;
      const at = this.wordFrom(Math.min(TITLE, latest), latest), read = Array.from(heldOut.subarray(at, at + long));
      model.forward(read, model.newCache(), { blocks });
      const map = { names: read.map((id) => coder.name(id)), rows: blocks.at(-1).weights[0] };
      return { sample: coder.decode(ids).replaceAll(END_OF_TEXT, "\n"), map };
    }

    // What the clinic finds, gravest first.
    verdict() {
      const { training, validation, references, train, heldOut, how } = this;
      return minigpt.examine({ training, validation, references, trainIds: train, heldOutIds: heldOut, split: how, dropout: 0 })[0];
    }
  }

  const runOf = (name) => {
    if (!runs.has(name)) throw new Error("this run is not there any more: train again");
    return runs.get(name);
  };

  Object.assign(actions, {
    look: ({ text }) => minigpt.lookAt(text),

    // The text of a file, or why it is none, and in which encodings it might be one.
    decode: ({ bytes, encoding }) => {
      try {
        return minigpt.decodeText(bytes, encoding);
      } catch ({ message, guesses = [] }) {
        return { refused: message, guesses };
      }
    },

    // A run that is ready to begin: the text looked at, cut and counted, the device timed. From now on the worker can write with
    // its model, too.
    prepare: async ({ job, name, text, seconds, from, ...chosen }) => {
      const doing = (doing) => {
        postMessage({ job, part: { doing } });
        return breathe();
      };
      if (from && !models.has(from)) throw new Error("the opened model is not there any more: open it again");
      await doing("counting");
      const run = new Run(text, chosen, models.get(from)?.model);
      run.references = counted(text, run);
      await doing("timing");
      run.fit(seconds);
      if (running.has(job)) {
        runs.set(name, run);
        models.set(name, { model: run.model, tokenizer: run.coder });
      }
      return run.summary;
    },

    // Step by step, each told, until the last one or until it is paused. Of one run there is one job: the last that was asked for.
    train: async ({ job, name }) => {
      const run = runOf(name);
      running.delete(run.job);
      Object.assign(run, { job, since: performance.now() });
      while (run.trainer.step < run.plan.steps && running.has(job)) {
        postMessage({ job, part: run.advance() });
        await breathe();
      }
      const { elapsed: seconds } = run.clock();
      if (run.trainer.step < run.plan.steps) return { why: "paused", verdict: null, seconds, ...run.show() };
      return { why: "end", verdict: run.verdict(), seconds }; // after the last step it was shown already
    },

    pause: ({ name }) => void running.delete(runOf(name).job),

    turn: ({ name, learning_rate }) => void (runOf(name).plan.learning_rate = learning_rate),

    keep: ({ name }) => {
      const { config, tokenizer, trainer } = runOf(name);
      return { bytes: minigpt.modelFile({ config, tokenizer, weights: trainer.weights() }) };
    },

    forget: ({ name }) => {
      running.delete(runs.get(name)?.job);
      runs.delete(name);
      models.delete(name);
    },
  });
})();
