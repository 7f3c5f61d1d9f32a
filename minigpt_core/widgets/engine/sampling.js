// From logits to tokens, in the order of minigpt_core/sampling.py: penalties, temperature, top-k, top-p, min-p, draw.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});

  function penalize(logits, generated, frequency, presence) {
    const counts = new Map();
    for (const id of generated) counts.set(id, (counts.get(id) ?? 0) + 1);
    const out = Float64Array.from(logits), most = Number.MAX_VALUE;
    for (const [id, count] of counts)
      if (out[id] > -Infinity) out[id] = Math.max(-most, Math.min(most, out[id] - (count * frequency + presence)));
    return out;
  }

  // Ids from the most likely to the least, ties to the lower id.
  function ranked(logits) {
    return Array.from(logits.keys()).sort((a, b) => (logits[b] > logits[a]) - (logits[b] < logits[a]) || a - b);
  }

  function softmax(logits) {
    let most = -Infinity, sum = 0;
    for (const z of logits) if (z > most) most = z;
    const p = Float64Array.from(logits, (z) => Math.exp(z - most));
    for (const value of p) sum += value;
    return p.map((value) => value / sum);
  }

  function keepTopK(logits, k) {
    const out = Float64Array.from(logits);
    for (const id of ranked(logits).slice(k)) out[id] = -Infinity;
    return out;
  }

  function scaleTemperature(logits, temperature) {
    if (temperature <= 1e-6) return keepTopK(logits, 1);
    const scaled = Float64Array.from(logits, (z) => z / temperature);
    if (scaled.every((z, id) => Number.isFinite(z) === Number.isFinite(logits[id]))) return scaled;
    const most = logits.reduce((a, b) => Math.max(a, b)); // moved to 0, which changes no probability
    return Float64Array.from(logits, (z) => (z - most) / temperature);
  }

  // The smallest set of most likely tokens whose probability reaches p.
  function keepTopP(logits, p) {
    if (p === 1) return logits;
    const out = Float64Array.from(logits), probability = softmax(logits);
    let sum = 0;
    for (const id of ranked(logits)) {
      sum += probability[id];
      if (sum - probability[id] >= p) out[id] = -Infinity;
    }
    return out;
  }

  function keepMinP(logits, p) {
    if (p === 0) return logits;
    const probability = softmax(logits);
    let most = 0;
    for (const value of probability) if (value > most) most = value;
    return Float64Array.from(logits, (z, id) => (probability[id] < p * most ? -Infinity : z));
  }

  const KNOBS = { temperature: 1, top_k: null, top_p: 1, min_p: 0, frequency_penalty: 0, presence_penalty: 0 };

  // The logits after each step: [name, logits], in this order. A knob that is off hands on what it was given.
  function stages(logits, generated, knobs) {
    const k = { ...KNOBS, ...knobs }, steps = [];
    let z = logits;
    const step = (name, next) => steps.push([name, (z = next)]);
    const { frequency_penalty: frequency, presence_penalty: presence } = k;
    step("penalties", frequency || presence ? penalize(z, generated, frequency, presence) : z);
    step("temperature", scaleTemperature(z, k.temperature));
    step("top-k", k.top_k === null ? z : keepTopK(z, k.top_k));
    step("top-p", keepTopP(z, k.top_p));
    step("min-p", keepMinP(z, k.min_p));
    return steps;
  }

  function shapeLogits(logits, generated, knobs) {
    return stages(logits, generated, knobs).at(-1)[1];
  }

  // Random numbers that Python can repeat: Tommy Ettinger's mulberry32.
  class Mulberry32 {
    constructor(seed) {
      this.state = seed;
    }
    uniform() {
      this.state = (this.state + 0x6d2b79f5) | 0;
      let t = this.state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    }
  }

  // The token at which the cumulated probability first exceeds u in [0, 1).
  function draw(logits, u) {
    let most = -Infinity, sum = 0, last = 0;
    for (const z of logits) if (z > most) most = z;
    const cumulated = Float64Array.from(logits, (z, id) => {
      const weight = Math.exp(z - most);
      if (weight > 0) last = id;
      return (sum += weight);
    });
    const target = u * sum;
    for (let id = 0; id <= last; id++) if (cumulated[id] > target) return id;
    return last;
  }

  // Continue the prompt: yields { id, logits, shaped, read } for one token after the other, after `read` tokens that
  // the model read; the end token ends it. `said` are the last of `ids`, which an earlier call generated: penalties
  // count them.
  function* generate(model, ids, count, knobs = {}, seed = 42, said = []) {
    const { block_size, end_id } = model.config, random = new Mulberry32(seed), generated = [...said];
    let window = ids.slice(-block_size), fresh = window, cache = null;
    for (let n = 0; n < count; n++) {
      cache ??= model.newCache();
      const logits = model.forward(fresh, cache);
      const shaped = shapeLogits(logits, generated, knobs);
      const id = draw(shaped, random.uniform());
      yield { id, logits, shaped, read: window.length };
      if (id === end_id) return;
      generated.push(id);
      window = [...window, id];
      fresh = [id];
      if (window.length > block_size) {
        window = window.slice(-Math.max(1, block_size >> 1));
        cache = null;
        fresh = window;
      }
    }
  }

  Object.assign(minigpt, { KNOBS, ranked, softmax, stages, shapeLogits, Mulberry32, draw, generate });
})();
