// The model: from token ids to logits, with a key-value cache. The same arithmetic as minigpt_core/model.py.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const VERSION = 1;

  // The same for one row of x, which begins at `a`; its results begin at `b`. Each number of x serves eight rows of W
  // at once.
  function one(x, a, weight, bias, rows, columns, y, b) {
    let row = 0;
    for (; row + 8 <= rows; row += 8) {
      const w0 = row * columns, w1 = w0 + columns, w2 = w1 + columns, w3 = w2 + columns;
      const w4 = w3 + columns, w5 = w4 + columns, w6 = w5 + columns, w7 = w6 + columns;
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
      for (let i = 0; i < columns; i++) {
        const v = x[a + i];
        s0 += weight[w0 + i] * v;
        s1 += weight[w1 + i] * v;
        s2 += weight[w2 + i] * v;
        s3 += weight[w3 + i] * v;
        s4 += weight[w4 + i] * v;
        s5 += weight[w5 + i] * v;
        s6 += weight[w6 + i] * v;
        s7 += weight[w7 + i] * v;
      }
      y.set([s0, s1, s2, s3, s4, s5, s6, s7], b + row);
    }
    for (; row < rows; row++) {
      let sum = 0;
      for (let i = 0; i < columns; i++) sum += weight[row * columns + i] * x[a + i];
      y[b + row] = sum;
    }
    if (bias) for (row = 0; row < rows; row++) y[b + row] += bias[row];
  }

  // y = x W^T + b for T rows of x: (T, columns) -> (T, rows). Four sums at a time keep the processor busy.
  function linear(x, T, weight, bias, rows, columns, y) {
    let t = 0;
    for (; t + 4 <= T; t += 4) {
      const a = t * columns, b = a + columns, c = b + columns, d = c + columns;
      for (let row = 0, w = 0; row < rows; row++, w += columns) {
        let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (let i = 0; i < columns; i++) {
          const v = weight[w + i];
          s0 += v * x[a + i];
          s1 += v * x[b + i];
          s2 += v * x[c + i];
          s3 += v * x[d + i];
        }
        const add = bias ? bias[row] : 0;
        y[t * rows + row] = s0 + add;
        y[(t + 1) * rows + row] = s1 + add;
        y[(t + 2) * rows + row] = s2 + add;
        y[(t + 3) * rows + row] = s3 + add;
      }
    }
    for (; t < T; t++) one(x, t * columns, weight, bias, rows, columns, y, t * rows);
    return y;
  }

  // Each row of x, mean 0 and standard deviation 1, then stretched and shifted.
  function layerNorm(x, T, C, weight, bias, y) {
    for (let t = 0, a = 0; t < T; t++, a += C) {
      let mean = 0, variance = 0;
      for (let i = 0; i < C; i++) mean += x[a + i];
      mean /= C;
      for (let i = 0; i < C; i++) variance += (x[a + i] - mean) ** 2;
      const scale = 1 / Math.sqrt(variance / C + 1e-5);
      for (let i = 0; i < C; i++) y[a + i] = (x[a + i] - mean) * scale * weight[i] + bias[i];
    }
    return y;
  }

  // Keys and values of the positions that were already read, per layer (block_size, C).
  class Cache {
    constructor(config) {
      const size = config.block_size * config.n_embd;
      this.keys = Array.from({ length: config.n_layer }, () => new Float32Array(size));
      this.values = Array.from({ length: config.n_layer }, () => new Float32Array(size));
      this.length = 0;
    }
  }

  class Model {
    // `bytes` is what minigpt_core.widgets.export wrote: "MGPT", version, length of the header, header, numbers.
    constructor(bytes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(0, 4)) !== "MGPT")
        throw new Error("this is no model file of minigpt_core");
      if (view.getUint32(4, true) !== VERSION)
        throw new Error(
          `the model file has version ${view.getUint32(4, true)}, this page reads ${VERSION}: export it again`,
        );
      const begin = 12 + view.getUint32(8, true);
      if (bytes.length < begin) throw new Error("the model file is truncated: load the page again");
      const header = JSON.parse(new TextDecoder().decode(bytes.subarray(12, begin)));
      if (bytes.length !== begin + header.bytes) throw new Error("the model file is truncated: load the page again");
      this.config = header.config;
      this.tokenizer = header.tokenizer;
      this.weights = {};
      for (const { name, shape, offset, scale } of header.tensors) {
        const count = shape.reduce((a, b) => a * b, 1);
        const place = bytes.byteOffset + begin + offset;
        if (scale === undefined) {
          this.weights[name] = new Float32Array(bytes.buffer.slice(place, place + 4 * count));
          continue;
        }
        const at = bytes.byteOffset + begin + scale;
        const scales = new Float32Array(bytes.buffer.slice(at, at + 4 * shape[0]));
        const narrow = new Int8Array(bytes.buffer, place, count);
        const wide = new Float32Array(count);
        for (let i = 0; i < count; i++) wide[i] = narrow[i] * scales[Math.floor(i / shape[1])];
        this.weights[name] = wide;
      }
    }

    newCache() {
      return new Cache(this.config);
    }

    // The logits (V) after the last of `ids`, which follow what is in `cache`. To `blocks`, an array, each block
    // appends what it computes on the way, by name: numbers, and the attention weights as arrays [head][t][s]. The
    // heads of `muted`, pairs of layer and head, pass on nothing, as in knocked_out of minigpt_core/study/ablation.py.
    forward(ids, cache, { blocks, muted = [] } = {}) {
      const { n_embd: C, n_head: H, n_layer, block_size } = this.config;
      const W = this.weights, T = ids.length, start = cache.length, D = C / H;
      if (start + T > block_size)
        throw new Error(`${start + T} tokens do not fit into the context window of ${block_size}`);
      const x = new Float32Array(T * C), h = new Float32Array(T * C), y = new Float32Array(T * C);
      const q = new Float32Array(T * C), wide = new Float32Array(4 * T * C);
      const tokens = W["token_embedding.weight"], positions = W["position_embedding.weight"];
      for (let t = 0; t < T; t++)
        for (let i = 0; i < C; i++) x[t * C + i] = tokens[ids[t] * C + i] + positions[(start + t) * C + i];
      for (let layer = 0; layer < n_layer; layer++) {
        const of = (name) => W[`blocks.${layer}.${name}`], block = blocks && { weights: [] };
        const note = (name, numbers) => block && (block[name] = numbers.slice());
        note("entering", x);
        const K = cache.keys[layer], U = cache.values[layer];
        layerNorm(x, T, C, of("norm1.weight"), of("norm1.bias"), h);
        note("norm1", h);
        linear(h, T, of("attention.query.weight"), of("attention.query.bias"), C, C, q);
        linear(h, T, of("attention.key.weight"), of("attention.key.bias"), C, C, K.subarray(start * C));
        linear(h, T, of("attention.value.weight"), of("attention.value.bias"), C, C, U.subarray(start * C));
        note("query", q);
        note("key", K.subarray(0, (start + T) * C));
        note("value", U.subarray(0, (start + T) * C));
        this.attend(q, K, U, T, start, y, block?.weights);
        for (const [at, head] of muted)
          if (at === layer) for (let t = 0; t < T; t++) y.fill(0, t * C + head * D, t * C + (head + 1) * D);
        note("joined", y);
        linear(y, T, of("attention.output.weight"), of("attention.output.bias"), C, C, h);
        note("attention", h);
        for (let i = 0; i < T * C; i++) x[i] += h[i];
        note("between", x);
        layerNorm(x, T, C, of("norm2.weight"), of("norm2.bias"), h);
        note("norm2", h);
        linear(h, T, of("feed_forward.widen.weight"), of("feed_forward.widen.bias"), 4 * C, C, wide);
        note("widen", wide);
        for (let i = 0; i < 4 * T * C; i++) if (wide[i] < 0) wide[i] = 0;
        linear(wide, T, of("feed_forward.narrow.weight"), of("feed_forward.narrow.bias"), C, 4 * C, h);
        note("feed_forward", h);
        for (let i = 0; i < T * C; i++) x[i] += h[i];
        note("leaving", x);
        blocks?.push(block);
      }
      cache.length = start + T;
      return this.unembed(x.subarray((T - 1) * C)).logits;
    }

    // What becomes of the last block's stream (T, C): the stream after its norm, (T, C), and the logits (T, V).
    unembed(stream) {
      const { n_embd: C, vocab_size: V } = this.config, W = this.weights, T = stream.length / C;
      const norm = layerNorm(stream, T, C, W["norm.weight"], W["norm.bias"], new Float32Array(T * C));
      return { norm, logits: linear(norm, T, W["head.weight"], null, V, C, new Float32Array(T * V)) };
    }

    // What happens between `ids` and the logits of every position, with the inside of one block, by the names of the
    // modules in Python. Shapes: token_embedding, position_embedding, norm1, query, key, value, joined (the heads side
    // by side), attention, norm2, feed_forward, norm and the stream (entering the block, between its two parts, leaving
    // it, and after the last block: stream) are (T, C), widen is (T, 4 C), products (query times key, before scale and
    // mask) is (H, T, T), logits are (T, V); weights is an array [head][t][s] up to s = t.
    inside(ids, layer) {
      const { n_embd: C, n_head: H } = this.config, W = this.weights, T = ids.length, D = C / H, blocks = [];
      this.forward(ids, this.newCache(), { blocks });
      const stream = blocks.at(-1).leaving, block = blocks[layer];
      const token_embedding = new Float32Array(T * C), products = new Float32Array(H * T * T);
      const rowOf = (id) => W["token_embedding.weight"].subarray(id * C, (id + 1) * C);
      ids.forEach((id, t) => token_embedding.set(rowOf(id), t * C));
      const position_embedding = W["position_embedding.weight"].slice(0, T * C);
      const { query, key } = block;
      for (let head = 0, at = 0; head < H; head++)
        for (let t = 0; t < T; t++)
          for (let s = 0; s < T; s++, at++)
            for (let i = head * D; i < (head + 1) * D; i++) products[at] += query[t * C + i] * key[s * C + i];
      return { token_embedding, position_embedding, ...block, products, stream, ...this.unembed(stream) };
    }

    // Each position takes values from itself and those before it, by how well its query fits their keys. To `weights`,
    // an array, it appends the shares of each head.
    attend(q, K, U, T, start, y, weights) {
      const { n_embd: C, n_head: H } = this.config, D = C / H, scale = 1 / Math.sqrt(D);
      const shares = new Float32Array(start + T);
      y.fill(0);
      for (let head = 0; head < H; head++) {
        const map = [];
        for (let t = 0; t < T; t++) {
          const S = start + t + 1, at = t * C + head * D;
          let most = -Infinity, sum = 0;
          for (let s = 0; s < S; s++) {
            let fit = 0;
            for (let i = 0, k = s * C + head * D; i < D; i++) fit += q[at + i] * K[k + i];
            shares[s] = fit * scale;
            if (shares[s] > most) most = shares[s];
          }
          for (let s = 0; s < S; s++) sum += shares[s] = Math.exp(shares[s] - most);
          for (let s = 0; s < S; s++) {
            const share = (shares[s] /= sum);
            for (let i = 0, v = s * C + head * D; i < D; i++) y[at + i] += share * U[v + i];
          }
          if (weights) map.push(Array.from(shares.subarray(0, S)));
        }
        weights?.push(map);
      }
    }
  }

  minigpt.Model = Model;
})();
