// Runs the page's engine under Node: a question as JSON on standard input, the answer as JSON on standard output.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const folder = path.join(__dirname, "..", "minigpt_core", "widgets", "engine");
for (const name of ["model.js", "sampling.js", "tokenizer.js", "worker.js", "clinic.js", "../scaling.js"])
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
const load = (file) => new minigpt.Model(new Uint8Array(fs.readFileSync(file)));

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
  // What each budget buys: the report, the valley, and the costs of the runs.
  budgets: ({ cases, runs }) =>
    cases.map(({ law, device, hours }) => {
      const report = minigpt.scaling.report(law, device, hours);
      return { ...report, valley: minigpt.scaling.valley(law, report.flops), costs: minigpt.scaling.costs(runs, device) };
    }),
  words: ({ values }) =>
    values.map((value) => ["amount", "power", "duration", "memory"].map((name) => minigpt.scaling[name](value))),
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
