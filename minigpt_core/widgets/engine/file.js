// The way back from a model to a file: what the page has trained can be kept.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { VERSION, PLAIN, tensorsOf } = minigpt;

  // A model as the bytes of a file, which `Model` and load_model_file of minigpt_core.widgets.export read: each tensor as
  // it is, in float32. A plain GPT's settings go without the parts that `read` adds to them. Numbers that are none are kept by
  // nobody.
  minigpt.modelFile = ({ config, tokenizer, weights }) => {
    const settings = Object.entries(config).filter(([name]) => config.kind !== "gpt" || !(name in PLAIN));
    const tensors = [];
    let size = 0;
    for (const [name, shape] of tensorsOf({ ...PLAIN, ...config })) {
      if (!weights[name].every(Number.isFinite))
        throw new Error("the model has numbers that are not finite, since its training diverged: train again with a lower learning rate");
      tensors.push({ name, shape, offset: size });
      size += weights[name].byteLength;
    }
    const header = { config: Object.fromEntries(settings), tokenizer, tensors, bytes: size };
    const raw = new TextEncoder().encode(JSON.stringify(header)), begin = 12 + raw.length;
    const file = new Uint8Array(begin + size), view = new DataView(file.buffer);
    file.set(new TextEncoder().encode("MGPT"));
    view.setUint32(4, VERSION, true);
    view.setUint32(8, raw.length, true);
    file.set(raw, 12);
    for (const { name, offset } of tensors) {
      const { buffer, byteOffset, byteLength } = weights[name];
      file.set(new Uint8Array(buffer, byteOffset, byteLength), begin + offset);
    }
    return file;
  };
})();
