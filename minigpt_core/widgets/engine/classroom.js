// What a worker can do besides writing: look at a text, plan a run for this device, train, hand over the model.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { actions, models, breathe, running } = minigpt;
  const END_OF_TEXT = "<|endoftext|>";
  const COUNTED = 500_000; // tokens that are counted at most: a few seconds
  const LONGEST = 9; // tokens of the longest runs that are counted
  const WINDOWS = 128; // of the held-out part that are read at each evaluation; at the end it is read whole
  const LOOKS = 20; // times in a run that the page is shown a text and a map
  const SHOWN = 200; // tokens of such a text
  const LEAST = 20; // steps, however slow the device
  const WIDTHS = [128, 96, 64, 48, 32]; // from the book's own to what a slow phone can train
  const SLEEP = 10; // steps: who takes as long as that for one was asleep

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

  const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

  // What counting reaches on the held-out part, in nats per token: counted once for several runs on one text.
  let last = null;
  const counted = (text, { train, heldOut, config: { vocab_size: V } }) => {
    if (last?.text === text && last.V === V) return last.found;
    const losses = minigpt.ngramLosses(train.subarray(0, COUNTED), heldOut.subarray(0, COUNTED), LONGEST, V);
    const best = Math.min(...losses), references = { "ln V": Math.log(V) };
    for (const n of [1, 2, 3, 5]) references[`${n}-gram`] = losses[n - 1];
    references["best count"] = best;
    last = { text, V, found: { references, best_order: losses.indexOf(best) + 1 } };
    return last.found;
  };

  // One run: the text as ids, the plan, the model that learns, and what was seen so far.
  class Run {
    constructor(text, { recipe, settings = {}, seed, from }) {
      const look = minigpt.lookAt(text);
      if (!look.usable) throw new Error(look.advice.at(-1));
      const split = minigpt.splitText(text, {}), before = from && models.get(from).model;
      const tokenizer = before ? before.tokenizer : { kind: "char", characters: characters(text) };
      const coder = new minigpt.Tokenizer(tokenizer), stranger = coder.stranger(text);
      if (stranger)
        throw new Error(`the opened model does not know the character “${stranger}”, which the text has: train a new one on it`);
      const [train, heldOut] = [split.train, split.heldOut].map((part) => Int32Array.from(coder.encode(part)));
      const { config, training } = RECIPES[recipe];
      this.config = before ? before.config : { ...config, vocab_size: coder.pieces.length, end_id: 0 };
      this.checkConfig();
      const { block_size: T, vocab_size: V } = this.config;
      if (Math.min(train.length, heldOut.length) < T + 1)
        throw new Error(
          `a window of ${T} tokens and the next one need ${T + 1}, but the held-out part has ${heldOut.length}: take a longer text`,
        );
      const rate = before ? training.learning_rate / 3 : training.learning_rate; // what is trained already is disturbed less
      const plan = { ...training, learning_rate: rate, ...settings };
      const most = V <= 256 ? 60 : 30; // readings of the text, after which it would only be known by heart
      const steps = Math.max(LEAST, Math.floor((most * train.length) / (plan.batch_size * T)));
      plan.steps = Math.min(plan.steps, steps);
      const first = before?.weights;
      Object.assign(this, { look, split, tokenizer, coder, train, heldOut, plan, seed, first, training: [], validation: [], times: [] });
      // What the samples go on from: the beginning of a document, or some words of the held-out part.
      const words = heldOut.indexOf(coder.ids.get(" "), 16) + 1 || 16;
      this.opening = split.how === "documents" ? [0] : Array.from(heldOut.subarray(0, Math.min(words, this.config.block_size >> 1)));
    }

    checkConfig() {
      const unknown = minigpt.untrainable(this.config);
      if (unknown)
        throw new Error(`the opened model has ${unknown}: the page trains the plain GPT and the fast one of chapter 14, Python all of them`);
    }

    get summary() {
      const { look, split, config, plan, coder, references, best_order } = this;
      const n_parameters = this.trainer.names.reduce((sum, name) => sum + this.trainer.a[`w ${name}`].length, 0);
      const { how } = split, [train, held_out] = [this.train.length, this.heldOut.length];
      return {
        look, split: { how, train, held_out }, config, n_parameters, vocab_size: coder.pieces.length, references, best_order, plan,
        names: coder.pieces.map((_, id) => coder.name(id)),
      };
    }

    begin() {
      const { config, plan, seed, first } = this;
      this.trainer = new minigpt.Trainer(config, first ?? minigpt.firstWeights(config, seed), plan.batch_size);
    }

    batch(step) {
      const { train, config, plan, seed } = this, { block_size: T } = config, B = plan.batch_size;
      const windows = new Int32Array(B * (T + 1));
      minigpt.batchStarts(train.length, T, B, seed, step).forEach((start, b) =>
        windows.set(train.subarray(start, start + T + 1), b * (T + 1)));
      return windows;
    }

    // Milliseconds of a step: the fastest of a few, since the first ones are still being compiled.
    time() {
      this.begin();
      const times = [];
      for (let n = 0; n < 6; n++) {
        const began = performance.now();
        this.trainer.learn(this.batch(1), this.plan.batch_size, 0);
        times.push(performance.now() - began);
        if (times[n] > 2000) break;
      }
      return Math.min(...times);
    }

    // The largest model that this device trains in so many seconds; one that is given gets fewer steps instead.
    fit(seconds) {
      const { plan } = this, B = plan.batch_size, whole = operations(this.config, B), speed = whole / this.time(); // a millisecond
      const needed = (config) => (plan.steps * operations(config, B)) / speed / 1000;
      const gflops = speed / 1e6, own = this.config.n_embd;
      if (!this.first) {
        const widths = WIDTHS.filter((width) => width <= own), fits = (n_embd) => needed({ ...this.config, n_embd }) <= seconds;
        this.config = { ...this.config, n_embd: widths.find(fits) ?? widths.at(-1) };
      }
      const { n_embd } = this.config, smaller = [];
      if (n_embd < own) smaller.push(`the model is ${n_embd} wide in place of ${own}`);
      if (needed(this.config) > seconds) {
        const steps = Math.max(LEAST, Math.floor((plan.steps * seconds) / needed(this.config)));
        smaller.push(`the run has ${steps} steps in place of ${plan.steps}`);
        plan.steps = steps;
      }
      plan.note = smaller.length ? `This device computes ${gflops.toPrecision(2)} GFLOP/s, so ${smaller.join(" and ")}.` : "";
      plan.warmup_steps = Math.min(plan.warmup_steps, plan.steps);
      plan.eval_every = Math.max(1, Math.round(plan.steps / 13));
      Object.assign(plan, { seconds: needed(this.config), gflops });
      this.begin();
    }

    // A step, with what is due after it.
    advance(name) {
      const { trainer, plan } = this, began = performance.now(), step = trainer.step + 1;
      const learning_rate = minigpt.learningRateAt(step, plan);
      const { loss, norm } = trainer.learn(this.batch(step), plan.batch_size, learning_rate);
      const last = step === plan.steps, part = { step, learning_rate, train_loss: loss, grad_norm: norm, val_loss: null };
      if (last || step % plan.eval_every === 0) {
        part.val_loss = trainer.evaluate(this.heldOut, plan.batch_size, last ? Infinity : WINDOWS);
        this.validation.push([step, part.val_loss]);
      }
      this.training.push(loss);
      const every = Math.max(1, Math.round(plan.steps / LOOKS));
      Object.assign(part, last || step === 1 || step % every === 0 ? this.show(name) : { sample: null, map: null });
      this.times.push(performance.now() - began);
      return Object.assign(part, this.clock());
    }

    // Seconds so far, and those to go; what a sleeping machine missed counts for nothing.
    clock() {
      const { times, plan } = this, usual = median(times.slice(-50));
      const awake = times.filter((time) => time < SLEEP * usual + 3000);
      const elapsed = awake.reduce((a, b) => a + b, 0) / 1000;
      return { elapsed, left: (elapsed / awake.length) * (plan.steps - times.length) };
    }

    // The model as it is now: the worker writes with it, and the page sees what it writes, and where one head looks.
    show(name) {
      const { config, tokenizer, coder, opening, heldOut } = this, { block_size } = config;
      const model = new minigpt.Model({ config, tokenizer, weights: this.trainer.weights() });
      models.set(name, { model, tokenizer: coder });
      const ids = [], blocks = [];
      const knobs = { temperature: 0.8, top_p: 0.95 };
      while (ids.length < SHOWN) // on past an end mark, where there is one
        for (const { id } of minigpt.generate(model, [...opening, ...ids], SHOWN - ids.length, knobs, 1 + ids.length)) ids.push(id);
      const inside = Math.min(200, heldOut.length - 24); // past a title, from the beginning of a word where words have one
      const at = heldOut.indexOf(coder.ids.get(" "), inside) + 1 || inside;
      const read = Array.from(heldOut.subarray(at, at + Math.min(24, block_size)));
      model.forward(read, model.newCache(), { blocks });
      const map = { names: read.map((id) => coder.name(id)), rows: blocks.at(-1).weights[0] };
      return { sample: coder.decode(ids).replaceAll(END_OF_TEXT, "\n"), map };
    }

    verdict() {
      const { training, validation, references, train, heldOut, split } = this;
      if (training.length < 2 || !validation.length) return null;
      const file = { training, validation, references, trainIds: train, heldOutIds: heldOut, split: split.how, dropout: 0 };
      return minigpt.examine(file)[0];
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

    // A run that is ready to begin: the text looked at, cut and counted, the device timed.
    prepare: async ({ job, name, text, seconds, ...chosen }) => {
      const doing = (doing) => {
        postMessage({ job, part: { doing } });
        return breathe();
      };
      running.add(job);
      await doing("counting");
      const run = new Run(text, chosen);
      Object.assign(run, counted(text, run));
      await doing("timing");
      run.fit(seconds);
      if (running.delete(job)) runs.set(name, run); // else it was stopped meanwhile
      return run.summary;
    },

    // Step by step, each told, until the last one or until it is paused.
    train: async ({ job, name }) => {
      const run = runOf(name);
      run.paused = false;
      running.add(job);
      while (run.trainer.step < run.plan.steps && !run.paused && running.has(job)) {
        postMessage({ job, part: run.advance(name) });
        await breathe();
      }
      const ended = run.trainer.step === run.plan.steps;
      running.delete(job);
      const shown = ended ? {} : run.show(name); // after the last step it was shown already
      return { why: ended ? "end" : "paused", verdict: run.verdict(), seconds: run.clock().elapsed, ...shown };
    },

    pause: ({ name }) => void (runOf(name).paused = true),

    turn: ({ name, learning_rate }) => void (runOf(name).plan.learning_rate = learning_rate),

    keep: ({ name }) => {
      const { config, tokenizer, trainer } = runOf(name);
      return { bytes: minigpt.modelFile({ config, tokenizer, weights: trainer.weights() }) };
    },

    forget: ({ name }) => {
      runs.delete(name);
      models.delete(name);
    },
  });
})();
