// The model: from token ids to logits, with a key-value cache. The same arithmetic as minigpt_core/model.py, and, where its
// settings choose other parts, as minigpt_core/beyond/composed.py.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { matrix, turned } = minigpt;
  const VERSION = 2;
  // The parts of a plain GPT; what is not named here is absent: rope_base, n_kv_head, qk_norm, n_hidden, softcap,
  // previous_tokens, norm_input.
  const PLAIN = { norm: "layer", norm_eps: 1e-5, feed_forward: "relu", bias: true, logit_scale: 1 };

  // Each of N rows of x, mean 0 and standard deviation 1; `scale`, if it is given, keeps what each was multiplied by.
  function standardise(x, N, C, eps, y, scale = []) {
    for (let t = 0, a = 0; t < N; t++, a += C) {
      let mean = 0, variance = 0;
      for (let i = a; i < a + C; i++) mean += x[i];
      mean /= C;
      for (let i = a; i < a + C; i++) variance += (x[i] - mean) ** 2;
      const by = (scale[t] = 1 / Math.sqrt(variance / C + eps));
      for (let i = a; i < a + C; i++) y[i] = (x[i] - mean) * by;
    }
    return y;
  }

  // Each row of x, divided by its root mean square, then stretched.
  function rmsNorm(x, T, C, weight, eps, y) {
    for (let t = 0, a = 0; t < T; t++, a += C) {
      let squares = 0;
      for (let i = 0; i < C; i++) squares += x[a + i] ** 2;
      const scale = 1 / Math.sqrt(squares / C + eps);
      for (let i = 0; i < C; i++) y[a + i] = x[a + i] * scale * weight[i];
    }
    return y;
  }

  // RoPE: in each head of D numbers, neighbouring numbers are the point of a plane, turned by an angle that grows with the
  // position. x has rows of C numbers, and T rows for each window, which begins at position `start`; `way` is -1 to turn
  // them back. The angles are rounded as PyTorch rounds them.
  function rotate(x, C, T, start, D, base, way = 1) {
    for (let i = 0; i < D; i += 2) {
      const speed = Math.fround(base ** Math.fround(-i / D));
      for (let t = 0; t < T; t++) {
        const angle = Math.fround((start + t) * speed), cos = Math.cos(angle), sin = way * Math.sin(angle);
        for (let row = t * C + i; row < x.length; row += T * C)
          for (let a = row; a < row + C; a += D) {
            const u = x[a], v = x[a + 1];
            x[a] = u * cos - v * sin;
            x[a + 1] = u * sin + v * cos;
          }
      }
    }
  }

  // Of x from a on and y from b on, D numbers each, multiplied and summed: in four sums, since a single one waits for itself.
  function dot(x, a, y, b, D) {
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0, i = 0;
    for (; i + 3 < D; i += 4) {
      s0 += x[a + i] * y[b + i];
      s1 += x[a + i + 1] * y[b + i + 1];
      s2 += x[a + i + 2] * y[b + i + 2];
      s3 += x[a + i + 3] * y[b + i + 3];
    }
    for (; i < D; i++) s0 += x[a + i] * y[b + i];
    return s0 + s1 + s2 + s3;
  }

  // Four neighbouring columns of S rows of U, each row `step` after the last, weighted by their shares and summed; into y the first
  // `n` of them, since a head may end within the four.
  function mix(shares, S, U, u, step, y, at, n) {
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let s = 0; s < S; s++, u += step) {
      const share = shares[s];
      s0 += share * U[u];
      s1 += share * U[u + 1];
      s2 += share * U[u + 2];
      s3 += share * U[u + 3];
    }
    y[at] = s0;
    if (n > 1) y[at + 1] = s1;
    if (n > 2) y[at + 2] = s2;
    if (n > 3) y[at + 3] = s3;
  }

  // What a feed-forward network does to each number of its wide row; in "swiglu", to each number of its gate.
  const ACTIVATIONS = {
    relu: (v) => (v < 0 ? 0 : v),
    "squared-relu": (v) => (v < 0 ? 0 : v * v),
    gelu: (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v))),
    swiglu: (v) => v / (1 + Math.exp(-v)),
  };

  // The ids that were already read, and their keys and values, per layer (block_size, n_kv_head D).
  class Cache {
    constructor({ block_size, n_layer, n_embd, n_head, n_kv_head }) {
      const size = (block_size * n_embd * (n_kv_head ?? n_head)) / n_head;
      const numbers = () => Array.from({ length: n_layer }, () => new Float32Array(size));
      try {
        Object.assign(this, { keys: numbers(), values: numbers(), ids: [] });
      } catch {
        throw minigpt.noMemory(8 * n_layer * size);
      }
    }

    get length() {
      return this.ids.length;
    }
  }

  const damaged = (what) => new Error(`the model file is damaged, ${what}: export it again`);

  // The header of a model file, which is JSON: settings, tokenizer, the places of the tensors, how many bytes follow it.
  function read(bytes) {
    try {
      const { config, tokenizer, tensors, bytes: size } = JSON.parse(new TextDecoder().decode(bytes));
      const places = new Map(tensors.map((each) => [each.name, each]));
      return { config: { ...PLAIN, ...config }, tokenizer, size, places };
    } catch {
      throw damaged("its header cannot be read");
    }
  }

  // The name and the shape of each tensor of a model of these settings.
  function* tensorsOf(config) {
    const { vocab_size: V, block_size, n_layer, n_head: H, n_embd: C, n_kv_head, n_hidden } = config;
    const { previous_tokens = 0 } = config, D = C / H, KC = D * (n_kv_head ?? H), M = n_hidden ?? 4 * C;
    function* norm(name) {
      yield [`${name}.weight`, [C]];
      if (config.norm === "layer" && config.bias) yield [`${name}.bias`, [C]];
    }
    function* linear(name, rows, columns) {
      yield [`${name}.weight`, [rows, columns]];
      if (config.bias) yield [`${name}.bias`, [rows]];
    }
    yield ["token_embedding.weight", [V, C]];
    if (!config.rope_base) yield ["position_embedding.weight", [block_size, C]];
    for (let back = 0; back < previous_tokens; back++) yield [`previous_embeddings.${back}.weight`, [V + 1, C]];
    for (let layer = 0; layer < n_layer; layer++) {
      const at = `blocks.${layer}`;
      yield* norm(`${at}.norm1`);
      for (const [part, rows] of [["query", C], ["key", KC], ["value", KC], ["output", C]])
        yield* linear(`${at}.attention.${part}`, rows, C);
      if (config.qk_norm)
        for (const part of ["query_norm", "key_norm"]) yield [`${at}.attention.${part}.weight`, [D]];
      yield* norm(`${at}.norm2`);
      yield* linear(`${at}.feed_forward.widen`, M, C);
      if (config.feed_forward === "swiglu") yield* linear(`${at}.feed_forward.gate`, M, C);
      yield* linear(`${at}.feed_forward.narrow`, C, M);
    }
    yield* norm("norm");
    if (!config.tied) yield ["head.weight", [V, C]];
  }

  // What a model file holds: { config, tokenizer, weights }. `bytes` is what minigpt_core.widgets.export wrote: "MGPT", version,
  // length of the header, header, numbers.
  function readModel(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(0, 4)) !== "MGPT")
      throw new Error("this is no model file of minigpt_core: take one that minigpt export or a page wrote");
    if (view.getUint32(4, true) !== VERSION)
      throw new Error(
        `the model file has version ${view.getUint32(4, true)}, this page reads ${VERSION}: export it again`,
      );
    const begin = 12 + view.getUint32(8, true);
    const truncated = new Error("the model file is truncated: load it again, or export it again");
    if (bytes.length < begin) throw truncated;
    const { config, tokenizer, size, places } = read(bytes.subarray(12, begin));
    if (bytes.length < begin + size) throw truncated;
    if (bytes.length !== begin + size) throw damaged("its length is not what its header says");
    const { vocab_size, block_size, n_layer, n_head, n_embd, n_kv_head, feed_forward } = config;
    const { n_hidden, previous_tokens, rope_base, softcap, norm_eps, logit_scale } = config;
    const whole = [vocab_size, block_size, n_layer, n_head, n_embd, n_embd / n_head, n_head / (n_kv_head ?? n_head), n_hidden ?? 1, 1 + (previous_tokens ?? 0)];
    const real = [norm_eps, logit_scale, rope_base || 1, softcap || 1];
    const sound = whole.every(Number.isInteger) && real.every(Number.isFinite) && [...whole, ...real].every((number) => number > 0);
    if (!sound || !Object.hasOwn(ACTIVATIONS, feed_forward)) throw damaged("its settings are of no model that this page knows");
    const { kind, characters, pieces, chat = [] } = tokenizer ?? {}, named = kind === "char" ? characters : pieces;
    if (!Array.isArray(named) || (kind === "char" ? 1 + chat.length : 0) + named.length !== vocab_size)
      throw damaged("its tokenizer has another size than the model");
    if (!named.every((piece) => typeof piece === "string" || (kind === "bpe" && (piece === null || Number.isInteger(piece)))))
      throw damaged("its tokenizer holds what is no text");
    const weights = {};
    for (const [name, shape] of tensorsOf(config)) {
      const there = places.get(name);
      if (!there) throw damaged(`${name} is missing`);
      if (`${there.shape}` !== `${shape}`)
        throw damaged(`${name} has the shape (${there.shape}), expected (${shape})`);
      const cut = (offset, length) => {
        if (!Number.isInteger(offset) || offset < 0 || offset + length > size)
          throw damaged(`${name} lies outside of it`);
        const at = bytes.byteOffset + begin + offset;
        return bytes.buffer.slice(at, at + length);
      };
      const count = shape.reduce((a, b) => a * b, 1);
      if (there.scale === undefined) weights[name] = new Float32Array(cut(there.offset, 4 * count));
      else {
        const scales = new Float32Array(cut(there.scale, 4 * shape[0])), narrow = new Int8Array(cut(there.offset, count));
        const wide = (weights[name] = new Float32Array(count));
        for (let i = 0; i < count; i++) wide[i] = narrow[i] * scales[Math.floor(i / shape[1])];
      }
      if (!weights[name].every(Number.isFinite))
        throw new Error(
          `the model file has weights that are not finite, in ${name}, its training may have diverged: train or export it again`,
        );
    }
    return { config, tokenizer, weights };
  }

  class Model {
    constructor({ config, tokenizer, weights }) {
      Object.assign(this, { config, tokenizer, weights, space: null });
    }

    // The rows of each linear layer's matrix, packed for the kernel: when the first token is read, and when the weights change.
    pack() {
      const { block_size: T } = this.config, weights = { ...this.weights }, sizes = {};
      weights["head.weight"] ??= weights["token_embedding.weight"]; // tied: each token is scored by its embedding
      const matrices = [...tensorsOf(this.config), ["head.weight", [this.config.vocab_size, this.config.n_embd]]].filter(
        ([name, shape]) => shape.length === 2 && !name.includes("embedding"));
      let deep = 0, wide = 0;
      for (const [name, [rows, columns]] of matrices) {
        sizes[name] = minigpt.padded(rows) * columns;
        [deep, wide] = [Math.max(deep, columns), Math.max(wide, rows)];
      }
      const out = T * minigpt.padded(wide);
      this.space ??= new minigpt.Workspace({ ...sizes, in: T * deep, out }, { depth: deep, widest: 0, width: wide });
      for (const [name, [rows, columns]] of matrices)
        this.space.pack(turned(matrix(weights[name], rows, columns)), this.space.arrays[name]);
    }

    // y = x W^T + b for T rows of x: (T, columns) -> (T, rows).
    linear(name, x, T, rows, y) {
      if (!this.space) this.pack();
      const { space } = this, packed = space.arrays[`${name}.weight`], bias = this.weights[`${name}.bias`];
      const { in: input, out } = space.arrays, columns = x.length / T, wide = T === 1 ? minigpt.padded(rows) : rows;
      input.set(x);
      out.fill(0, 0, T * wide);
      if (bias) for (let t = 0; t < T; t++) out.set(bias, t * wide);
      if (T === 1) space.multiplyRow(out, input, columns, rows, packed);
      else space.multiplyPacked(matrix(out, T, rows), matrix(input, T, columns), packed);
      y.set(out.subarray(0, T * rows));
      return y;
    }

    newCache() {
      return new Cache(this.config);
    }

    // The logits (V) after the last of `ids`, which follow what is in `cache`. To `blocks`, an array, each block
    // appends what it computes on the way, by name: numbers, and the attention weights as arrays [head][t][s]. The
    // heads of `muted`, pairs of layer and head, pass on nothing, as in knocked_out of minigpt_core/study/ablation.py.
    forward(ids, cache, { blocks, muted = [] } = {}) {
      const { n_embd: C, n_head: H, n_layer, block_size, n_kv_head, n_hidden, feed_forward } = this.config;
      const T = ids.length, start = cache.length, D = C / H;
      const KC = D * (n_kv_head ?? H), M = n_hidden ?? 4 * C; // the widths of keys and of the feed-forward network
      const activate = ACTIVATIONS[feed_forward];
      if (start + T > block_size)
        throw new Error(`${start + T} tokens do not fit into the context window of ${block_size}`);
      const h = new Float32Array(T * C), y = new Float32Array(T * C), q = new Float32Array(T * C);
      const wide = new Float32Array(T * M), gate = feed_forward === "swiglu" ? new Float32Array(T * M) : null;
      cache.ids.push(...ids);
      const x = this.embed(cache.ids, start);
      for (let layer = 0; layer < n_layer; layer++) {
        const at = `blocks.${layer}`, block = blocks && { weights: [] };
        const note = (name, numbers) => block && (block[name] = numbers.slice());
        const project = (part, x, rows, y) => this.linear(`${at}.${part}`, x, T, rows, y);
        note("entering", x);
        const K = cache.keys[layer], U = cache.values[layer];
        const k = K.subarray(start * KC, (start + T) * KC), v = U.subarray(start * KC, (start + T) * KC);
        this.norm(`${at}.norm1`, x, T, h);
        note("norm1", h);
        project("attention.query", h, C, q);
        project("attention.key", h, KC, k);
        project("attention.value", h, KC, v);
        this.prepare(at, q, k, T, start);
        note("query", q);
        note("key", K.subarray(0, (start + T) * KC));
        note("value", U.subarray(0, (start + T) * KC));
        this.attend(q, K, U, T, start, y, block?.weights);
        for (const [place, head] of muted)
          if (place === layer) for (let t = 0; t < T; t++) y.fill(0, t * C + head * D, t * C + (head + 1) * D);
        note("joined", y);
        project("attention.output", y, C, h);
        note("attention", h);
        for (let i = 0; i < T * C; i++) x[i] += h[i];
        note("between", x);
        this.norm(`${at}.norm2`, x, T, h);
        note("norm2", h);
        project("feed_forward.widen", h, M, wide);
        note("widen", wide);
        if (gate) {
          project("feed_forward.gate", h, M, gate);
          for (let i = 0; i < T * M; i++) wide[i] *= activate(gate[i]);
        } else for (let i = 0; i < T * M; i++) wide[i] = activate(wide[i]);
        project("feed_forward.narrow", wide, C, h);
        note("feed_forward", h);
        for (let i = 0; i < T * C; i++) x[i] += h[i];
        note("leaving", x);
        blocks?.push(block);
      }
      return this.unembed(x.subarray((T - 1) * C)).logits;
    }

    // What the first block reads of `ids` from the place `start` on, (T, C): of each the sum of the embeddings of its
    // token, of its position, where those are learned, and of the tokens before it, where they have some.
    embed(ids, start) {
      const { n_embd: C, vocab_size: V, previous_tokens = 0, norm_input } = this.config;
      const W = this.weights, T = ids.length - start, x = new Float32Array(T * C);
      const tokens = W["token_embedding.weight"], positions = W["position_embedding.weight"];
      for (let t = 0; t < T; t++) {
        const add = (table, row) => {
          for (let i = 0; i < C; i++) x[t * C + i] += table[row * C + i];
        };
        add(tokens, ids[start + t]);
        if (positions) add(positions, start + t);
        for (let back = 1; back <= previous_tokens; back++) // before the text there is the row V
          add(W[`previous_embeddings.${back - 1}.weight`], ids[start + t - back] ?? V);
      }
      return norm_input ? standardise(x, T, C, 1e-5, x) : x;
    }

    // The norm of that name, of T rows of x.
    norm(name, x, T, y) {
      const { n_embd: C, norm, norm_eps } = this.config;
      const weight = this.weights[`${name}.weight`], bias = this.weights[`${name}.bias`];
      if (norm === "rms") return rmsNorm(x, T, C, weight, norm_eps, y);
      standardise(x, T, C, norm_eps, y);
      for (let t = 0, at = 0; t < T; t++) for (let i = 0; i < C; i++, at++) y[at] = y[at] * weight[i] + (bias?.[i] ?? 0);
      return y;
    }

    // What becomes of T rows of queries and of keys before they meet: heads of one length, turned with their position.
    prepare(block, q, k, T, start) {
      const { n_embd: C, n_head: H, qk_norm, norm_eps, rope_base } = this.config, D = C / H;
      for (const [x, name] of [[q, "query_norm"], [k, "key_norm"]]) {
        if (qk_norm) rmsNorm(x, x.length / D, D, this.weights[`${block}.attention.${name}.weight`], norm_eps, x);
        if (rope_base) rotate(x, x.length / T, T, start, D, rope_base);
      }
    }

    // What becomes of the last block's stream (T, C): the stream after its norm, (T, C), and the logits (T, V).
    unembed(stream) {
      const { n_embd: C, vocab_size: V, logit_scale, softcap } = this.config, T = stream.length / C;
      const norm = this.norm("norm", stream, T, new Float32Array(T * C));
      const logits = this.linear("head", norm, T, V, new Float32Array(T * V));
      if (logit_scale !== 1) for (let i = 0; i < T * V; i++) logits[i] *= logit_scale;
      if (softcap) for (let i = 0; i < T * V; i++) logits[i] = softcap * Math.tanh(logits[i] / softcap);
      return { norm, logits };
    }

    // What happens between `ids` and the logits of every position, with the inside of one block, by the names of the
    // modules in Python. Shapes: token_embedding, position_embedding, norm1, query, key, value, joined (the heads side
    // by side), attention, norm2, feed_forward, norm and the stream (entering the block, between its two parts, leaving
    // it, and after the last block: stream) are (T, C), widen is (T, 4 C), products (query times key, before scale and
    // mask) is (H, T, T), logits are (T, V); weights is an array [head][t][s] up to s = t. Of the plain GPT only.
    inside(ids, layer) {
      const { n_embd: C, n_head: H, kind } = this.config, W = this.weights, T = ids.length, D = C / H, blocks = [];
      if (kind !== "gpt") throw new Error("only the plain GPT is taken apart here: choose another model");
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

    // Each position takes values from itself and those before it, by how well its query fits their keys. Neighbouring
    // heads may share a key and a value. To `weights`, an array, it appends the shares of each head.
    attend(q, K, U, T, start, y, weights) {
      const { n_embd: C, n_head: H, n_kv_head } = this.config, D = C / H, scale = 1 / Math.sqrt(D);
      const KH = n_kv_head ?? H, KC = KH * D;
      const shares = new Float32Array(start + T);
      for (let head = 0; head < H; head++) {
        const map = [], own = Math.floor((head * KH) / H) * D; // where its key and value begin
        for (let t = 0; t < T; t++) {
          const S = start + t + 1, at = t * C + head * D;
          let most = -Infinity, sum = 0;
          for (let s = 0; s < S; s++) {
            shares[s] = scale * dot(q, at, K, s * KC + own, D);
            if (shares[s] > most) most = shares[s];
          }
          for (let s = 0; s < S; s++) sum += shares[s] = Math.exp(shares[s] - most);
          for (let s = 0; s < S; s++) shares[s] /= sum;
          for (let i = 0; i < D; i += 4) mix(shares, S, U, own + i, KC, y, at + i, Math.min(4, D - i));
          if (weights) map.push(Array.from(shares.subarray(0, S)));
        }
        weights?.push(map);
      }
    }
  }

  Object.assign(minigpt, { VERSION, PLAIN, Model, readModel, tensorsOf, standardise, rotate });
})();
