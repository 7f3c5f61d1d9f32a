// Runs the page's engine under Node: a question as JSON on standard input, the answer as JSON on standard output.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const folder = path.join(__dirname, "..", "minigpt_core", "widgets", "engine");
const TRAINING = ["random.js", "data.js", "counting.js", "clinic.js", "train.js", "file.js", "classroom.js"];
for (const name of ["kernel.js", "model.js", "sampling.js", "tokenizer.js", "worker.js", ...TRAINING, "../scaling.js"])
  vm.runInThisContext(fs.readFileSync(path.join(folder, name), "utf8"), { filename: name });
const { minigpt } = globalThis;

const refused = (action) => {
  try {
    return action();
  } catch (error) {
    return { refused: error.message };
  }
};
const ask = JSON.parse(fs.readFileSync(0, "utf8"));
const load = (file) => new minigpt.Model(minigpt.readModel(new Uint8Array(fs.readFileSync(file))));

const answers = {
  logits: ({ model, prompts, muted }) => {
    const engine = load(model);
    return prompts.map((ids) => Array.from(engine.forward(ids, engine.newCache(), { muted })));
  },
  // The logits after each of these parts of a text, with one cache.
  parts: ({ model, parts }) => {
    const engine = load(model), cache = engine.newCache();
    return parts.map((ids) => Array.from(engine.forward(ids, cache)));
  },
  maps: ({ model, ids }) => {
    const engine = load(model), blocks = [];
    engine.forward(ids, engine.newCache(), { blocks });
    return blocks.map((block) => block.weights);
  },
  inside: ({ model, ids, layer }) => {
    const plain = ([name, value]) => [name, value instanceof Float32Array ? Array.from(value) : value];
    return Object.fromEntries(Object.entries(load(model).inside(ids, layer)).map(plain));
  },
  loss: ({ model, windows }) => {
    const engine = load(model);
    let sum = 0, count = 0;
    for (const ids of windows) {
      const cache = engine.newCache();
      for (let t = 0; t + 1 < ids.length; t++, count++) sum -= Math.log(minigpt.softmax(engine.forward([ids[t]], cache))[ids[t + 1]]);
    }
    return sum / count;
  },
  draws: ({ cases }) =>
    cases.map(({ logits, generated, knobs, seed }) => {
      const z = logits.map((value) => value ?? -Infinity), random = new minigpt.Mulberry32(seed);
      const shaped = minigpt.shapeLogits(z, generated, knobs);
      return Array.from({ length: 10 }, () => minigpt.draw(shaped, random.uniform()));
    }),
  generate: ({ model, cases }) => {
    const engine = load(model);
    return cases.map(({ ids, count, knobs, seed }) => Array.from(minigpt.generate(engine, ids, count, knobs, seed), (step) => step.id));
  },
  encode: ({ model, about, texts }) => {
    const tokenizer = new minigpt.Tokenizer(about ?? load(model).tokenizer);
    return texts.map((text) => refused(() => tokenizer.encode(text)));
  },
  names: ({ model, about }) => {
    const tokenizer = new minigpt.Tokenizer(about ?? load(model).tokenizer);
    return tokenizer.pieces.map((_, id) => tokenizer.name(id));
  },
  decode: ({ model, about, ids }) => {
    const tokenizer = new minigpt.Tokenizer(about ?? load(model).tokenizer);
    return ids.map((each) => tokenizer.decode(each));
  },
  // How things are at first and after each merge that is learned from the text: the pieces, and each pair with its count.
  learned: ({ texts }) =>
    texts.map((text) =>
      Array.from(minigpt.learnMerges(text), ({ words, pairs }) => ({ words, pairs: pairs.map(({ left, right, count }) => [left, right, count]) })),
    ),
  // What the worker sends in answer to each message, message by message.
  work: async ({ model, messages }) => {
    const bytes = new Uint8Array(fs.readFileSync(model)), answers = [];
    for (const data of [{ action: "load", bytes }, ...messages]) {
      const sent = [];
      globalThis.postMessage = (message) => sent.push(message);
      await globalThis.onmessage({ data: { name: "model", ...data } });
      answers.push(sent);
    }
    return answers.slice(1);
  },
  // A B by the kernel, of numbers that the question brings row by row; each of the two may lie turned.
  products: ({ cases, kind }) =>
    cases.map(({ m, k, n, a, b, turnedA, turnedB }) => {
      const { Workspace, matrix, turned, padded } = minigpt;
      const space = new Workspace({ C: m * n, row: padded(n), own: padded(n) * k }, { depth: k, widest: padded(n) * k, width: n }, kind);
      const A = turnedA ? turned(matrix(Float64Array.from(a), k, m)) : matrix(Float64Array.from(a), m, k);
      const B = turnedB ? turned(matrix(Float64Array.from(b), n, k)) : matrix(Float64Array.from(b), k, n);
      space.multiply(matrix(space.arrays.C, m, n), A, B);
      return Array.from(space.arrays.C);
    }),
  // Steps of training from a model file, each on windows that stand one after the other: the losses, and the gradients of the last one.
  learn: ({ model, windows, schedule, kind, heldOut }) => {
    const { config, weights } = minigpt.readModel(new Uint8Array(fs.readFileSync(model)));
    const long = config.block_size + 1, starts = Array.from({ length: windows[0].length / long }, (_, b) => b * long);
    const trainer = new minigpt.Trainer(config, weights, starts.length, kind);
    const losses = windows.map((ids, n) => trainer.learn(Int32Array.from(ids), starts, minigpt.learningRateAt(n + 1, schedule)));
    const gradients = Object.fromEntries(trainer.names.map((name) => [name, Array.from(trainer.a[`d ${name}`])]));
    const evaluated = heldOut && [Infinity, 7].map((some) => trainer.evaluate(Int32Array.from(heldOut), some));
    return { kind: trainer.space.kind, losses, gradients, evaluated };
  },
  rates: ({ schedules }) =>
    schedules.map((schedule) => Array.from({ length: schedule.steps }, (_, n) => minigpt.learningRateAt(n + 1, schedule))),
  // What the worker sends in answer to each message, without a model; a message may name a step of its run, at which another one
  // is sent `amid`. `world` changes the browser that it finds.
  lessons: async ({ messages, world }) => {
    const answers = [], now = performance.now.bind(performance), changes = {
      slow: () => (performance.now = () => 40 * now()),
      "no memory": () => (WebAssembly.Memory = function () { throw new RangeError("could not allocate memory"); }),
      "no WebAssembly": () => (WebAssembly.Module = function () { throw new WebAssembly.CompileError("no SIMD"); }),
    };
    changes[world]?.();
    const send = ({ times = 1, asleep, amid, ...data }) => {
      const sent = [], others = [], job = answers.push({ sent, asleep, amid, others });
      if (data.bytes) data.bytes = Uint8Array.from(Buffer.from(data.bytes, "base64"));
      if (data.text) data.text = data.text.repeat(times);
      return globalThis.onmessage({ data: { job, ...data } }).then(() => Promise.all(others));
    };
    globalThis.postMessage = (message) => {
      const { sent, asleep, amid, others } = answers[message.job - 1], step = message.part?.step;
      if (step && step === asleep) performance.now = () => now() + 3600_000; // an hour, in the middle of step asleep + 1
      if (message.done?.bytes) message.done.bytes = Buffer.from(message.done.bytes).toString("base64");
      sent.push(message);
      if (step && step === amid?.step) others.push(send(amid.message));
    };
    for (const message of messages) await send(message);
    return answers.map(({ sent }) => sent);
  },
  // What each budget buys: the report, the valley, and the costs of the runs.
  budgets: ({ cases, runs }) =>
    cases.map(({ law, device, hours }) => {
      const report = minigpt.scaling.report(law, device, hours);
      return { ...report, valley: minigpt.scaling.valley(law, report.flops), costs: minigpt.scaling.costs(runs, device) };
    }),
  words: ({ values }) =>
    values.map((value) => ["amount", "power", "duration", "memory"].map((name) => minigpt.scaling[name](value))),
  // Numbers of the Mersenne Twister: whole ones below `n`, or else shares.
  twister: ({ cases }) =>
    cases.map(({ seed, n, count }) => {
      const random = new minigpt.MersenneTwister(seed);
      return Array.from({ length: count }, () => (n ? random.below(n) : random.uniform()));
    }),
  normals: ({ seed, count }) => {
    const random = new minigpt.MersenneTwister(seed);
    return Array.from({ length: count }, () => random.normal());
  },
  stepSeeds: ({ cases }) => cases.map(([seed, step]) => minigpt.stepSeed(seed, step)),
  splits: ({ texts, cases }) => cases.map(({ text, ...choice }) => refused(() => minigpt.splitText(texts[text], choice))),
  batches: ({ cases }) => cases.map((each) => refused(() => Array.from(minigpt.batchStarts(...each)))),
  looks: ({ texts }) => texts.map((text) => minigpt.lookAt(text)),
  // The bytes come in base 64.
  decodings: ({ cases }) =>
    cases.map(({ bytes, encoding }) => {
      try {
        return minigpt.decodeText(new Uint8Array(Buffer.from(bytes, "base64")), encoding);
      } catch (error) {
        return { refused: error.message, guesses: error.guesses };
      }
    }),
  // As texts, so that an endless loss can be told.
  ngrams: ({ cases, narrow }) =>
    cases.map(({ train, held_out, n, V }) => {
      const [one, other] = [train, held_out].map((ids) => (narrow ? Uint16Array : Int32Array).from(ids));
      return refused(() => Array.from(minigpt.ngramLosses(one, other, n, V), String));
    }),
  // Writes what was read from a model file, as the page does with a model that it trained; with these settings, if given.
  rewrite: ({ model, out, ...settings }) => fs.writeFileSync(out, minigpt.modelFile({ ...load(model), ...settings })) ?? null,
  // What the clinic finds in each run. A loss that JSON has no word for comes as "NaN", "Infinity" or "-Infinity".
  examine: ({ texts, runs }) => {
    const ids = texts.map(([trainIds, heldOutIds]) => ({ trainIds: Int32Array.from(trainIds), heldOutIds: Int32Array.from(heldOutIds) }));
    return runs.map(({ text, training, validation, ...known }) => {
      const losses = { training: training.map(Number), validation: validation.map(([step, loss]) => [step, Number(loss)]) };
      return refused(() => minigpt.examine({ ...known, ...ids[text], ...losses }));
    });
  },
  open: ({ model }) => refused(() => Object.keys(load(model).weights).length),
};
Promise.resolve(answers[ask.task](ask)).then((answer) => process.stdout.write(JSON.stringify(answer)));
