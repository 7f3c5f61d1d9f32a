// Training: the forward pass of a batch, the backward pass by the chain rule, and AdamW. The same arithmetic as PyTorch does for
// minigpt_core/model.py and for the fast recipe of minigpt_core/beyond/fast.py. A gradient is called d and what it belongs to: dx is the
// slope of the loss with x, as in the chapter on backpropagation. Like there, gradients of what is used twice are added up.
//
// B windows of T tokens, N = B T rows; C channels, H heads of D = C / H, M = 4 C in the feed-forward network, V tokens.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { matrix, turned, padded, standardise, rotate } = minigpt;
  const BETAS = [0.9, 0.99], DECAY = 0.1, CLIP = 1, EPSILON = 1e-8;

  // What this file cannot train, in words; nothing ("") where it can.
  minigpt.untrainable = ({ norm, feed_forward, bias, n_kv_head, qk_norm, n_hidden, softcap, tied }) => {
    if (norm === "rms") return "RMSNorm";
    if (!["relu", "squared-relu"].includes(feed_forward)) return `the feed-forward network “${feed_forward}”`;
    if (n_kv_head) return "shared keys";
    if (qk_norm) return "normalised queries";
    if (!bias) return "no biases";
    if (n_hidden) return "a feed-forward network of its own width";
    if (softcap) return "a soft cap";
    return tied ? "a tied head" : "";
  };

  // The learning rate of a step (1 to steps): a straight rise over the warm-up, then half a cosine down to zero.
  minigpt.learningRateAt = (step, { steps, learning_rate, warmup_steps }) => {
    if (step <= warmup_steps) return (learning_rate * step) / warmup_steps;
    return (learning_rate * (1 + Math.cos((Math.PI * (step - warmup_steps)) / (steps - warmup_steps)))) / 2;
  };

  // The weights that training begins with, by name: those of `start="normal"` of minigpt_core/beyond/composed.py, or for the fast
  // recipe of `start="zero"`, drawn by our own generator.
  minigpt.firstWeights = (config, seed) => {
    const random = new minigpt.MersenneTwister(seed), zero = config.start === "zero", weights = {};
    for (const [name, shape] of minigpt.tensorsOf(config)) {
      const w = (weights[name] = new Float32Array(shape.reduce((a, b) => a * b)));
      const writes = /(output|narrow|head)\.weight$/.test(name); // to the stream, or to the logits
      if (shape.length === 1) w.fill(name.endsWith("bias") ? 0 : 1);
      else if (!zero || !writes) {
        const std = !zero ? 0.02 : name.includes("embedding") ? 0.3 : 0.6 / Math.sqrt(config.n_embd);
        for (let i = 0; i < w.length; i++) w[i] = std * random.normal();
      }
    }
    return weights;
  };

  // dx += what dy, the slope with y, says of x: without the part that would only move the row, and the part that would stretch it.
  function standardiseBackward(y, scale, dy, N, C, dx) {
    for (let t = 0, a = 0; t < N; t++, a += C) {
      let moved = 0, stretched = 0;
      for (let i = a; i < a + C; i++) {
        moved += dy[i];
        stretched += dy[i] * y[i];
      }
      moved /= C;
      stretched /= C;
      for (let i = a, by = scale[t]; i < a + C; i++) dx[i] += by * (dy[i] - moved - y[i] * stretched);
    }
  }

  // max(0, v), without a branch, which the processor would guess wrong half of the time.
  const relu = (v) => (v + Math.abs(v)) / 2;

  // A model that learns. `weights` are Float32Arrays by name, which are copied; `windows` is the number of windows that are read at
  // once; `kind` says what computes, as for `Workspace`.
  class Trainer {
    constructor(config, weights, windows, kind) {
      const { vocab_size: V, block_size: T, n_layer, n_head: H, n_embd: C } = config;
      const N = windows * T, M = 4 * C, sizes = {}, names = Object.keys(weights);
      Object.assign(this, { config, names, windows, step: 0 });
      for (const name of names)
        for (const part of ["w", "d", "mean", "square"]) sizes[`${part} ${name}`] = weights[name].length;
      // What the backward pass needs of the forward pass, of each layer:
      const kept = { query: N * C, key: N * C, value: N * C, joined: N * C, widen: N * M, wide: N * M, shares: N * H * T };
      for (let layer = 0; layer < n_layer; layer++) {
        for (const [name, size] of Object.entries(kept)) sizes[`${name} ${layer}`] = size;
        for (const norm of ["norm1", "norm2"]) this.normSizes(`blocks.${layer}.${norm}`, N, C, sizes);
      }
      this.normSizes("norm", N, C, sizes);
      this.normSizes("input", N, C, sizes);
      for (const name of ["x", "dx", "dh", "dquery", "dkey", "dvalue", "djoined"]) sizes[name] = N * C;
      Object.assign(sizes, { dwide: N * M, logits: N * V, dshares: T * T });
      const widest = Math.max(N * padded(M), padded(V) * padded(C), M * padded(C)); // numbers in B
      this.space = new minigpt.Workspace(sizes, { depth: Math.max(N, M, V), widest, width: Math.max(M, V, T) }, kind);
      this.a = this.space.arrays;
      for (const name of names) this.a[`w ${name}`].set(weights[name]);
    }

    normSizes(name, N, C, sizes) {
      Object.assign(sizes, { [`${name} standard`]: N * C, [`${name} scale`]: N, [`${name} out`]: N * C });
    }

    // y = x W^T + b, for N rows of x.
    linear(name, x, N, y) {
      const w = this.a[`w ${name}.weight`], b = this.a[`w ${name}.bias`], rows = b?.length ?? this.config.vocab_size;
      const columns = w.length / rows;
      for (let t = 0; t < N; t++) b ? y.set(b, t * rows) : y.fill(0, t * rows, (t + 1) * rows);
      this.space.multiply(matrix(y, N, rows), matrix(x, N, columns), turned(matrix(w, rows, columns)));
    }

    // dW = dy^T x, db = the sum of the rows of dy, dx += dy W.
    linearBackward(name, x, N, dy, dx) {
      const w = this.a[`w ${name}.weight`], db = this.a[`d ${name}.bias`], rows = db?.length ?? this.config.vocab_size;
      const columns = w.length / rows, slopes = matrix(dy, N, rows);
      this.space.multiply(matrix(this.a[`d ${name}.weight`], rows, columns), turned(slopes), matrix(x, N, columns));
      if (db) for (let t = 0, at = 0; t < N; t++) for (let i = 0; i < rows; i++, at++) db[i] += dy[at];
      this.space.multiply(matrix(dx, N, columns), slopes, matrix(w, rows, columns));
    }

    // The standardised rows of x, stretched by the gain and moved by the bias.
    norm(name, x, N) {
      const { n_embd: C, norm_eps } = this.config, gain = this.a[`w ${name}.weight`], bias = this.a[`w ${name}.bias`];
      const standard = this.a[`${name} standard`], y = this.a[`${name} out`];
      standardise(x, N, C, norm_eps, standard, this.a[`${name} scale`]);
      for (let t = 0, at = 0; t < N; t++) for (let i = 0; i < C; i++, at++) y[at] = standard[at] * gain[i] + bias[i];
      return y;
    }

    // dgain and dbias; dx += what dy says of x. dy is used up.
    normBackward(name, dy, N, dx) {
      const { n_embd: C } = this.config, gain = this.a[`w ${name}.weight`];
      const dgain = this.a[`d ${name}.weight`], dbias = this.a[`d ${name}.bias`], standard = this.a[`${name} standard`];
      for (let t = 0, at = 0; t < N; t++)
        for (let i = 0; i < C; i++, at++) {
          dbias[i] += dy[at];
          dgain[i] += dy[at] * standard[at];
          dy[at] *= gain[i];
        }
      standardiseBackward(standard, this.a[`${name} scale`], dy, N, C, dx);
    }

    // Where in x the embeddings of each token, of its position, and of the tokens before it are added: `use(table, row, at)` for each
    // of them. The tables are the weights ("w") or their gradients ("d").
    embeddings(part, ids, B, T, use) {
      const { vocab_size: V, n_embd: C, previous_tokens = 0 } = this.config;
      const table = (name) => this.a[`${part} ${name}.weight`];
      const tokens = table("token_embedding"), positions = table("position_embedding");
      const previous = Array.from({ length: previous_tokens }, (_, i) => table(`previous_embeddings.${i}`));
      for (let b = 0, n = 0; b < B; b++)
        for (let t = 0; t < T; t++, n++) {
          use(tokens, ids[n] * C, n * C);
          if (positions) use(positions, t * C, n * C);
          previous.forEach((each, i) => use(each, (t > i ? ids[n - i - 1] : V) * C, n * C)); // before the window there is the row V
        }
    }

    // The logits of B windows of T tokens each, whose ids stand one after the other: (N, V), in `logits`.
    forward(ids, B, T) {
      const { vocab_size: V, n_layer, n_head: H, n_embd: C, norm_input, rope_base, feed_forward, logit_scale } = this.config;
      const { a } = this, { x } = a, N = B * T, M = 4 * C, squared = feed_forward === "squared-relu";
      x.fill(0, 0, N * C);
      this.embeddings("w", ids, B, T, (w, row, at) => {
        for (let i = 0; i < C; i++) x[at + i] += w[row + i];
      });
      if (norm_input) {
        standardise(x, N, C, 1e-5, a["input standard"], a["input scale"]);
        x.set(a["input standard"].subarray(0, N * C));
      }
      const add = (h) => {
        for (let i = 0; i < N * C; i++) x[i] += h[i];
      };
      for (let layer = 0; layer < n_layer; layer++) {
        const at = `blocks.${layer}`, of = (name) => a[`${name} ${layer}`];
        const h = this.norm(`${at}.norm1`, x, N);
        for (const part of ["query", "key", "value"]) this.linear(`${at}.attention.${part}`, h, N, of(part));
        if (rope_base) for (const part of ["query", "key"]) rotate(of(part).subarray(0, N * C), C, T, 0, C / H, rope_base);
        this.attend(layer, B, T);
        this.linear(`${at}.attention.output`, of("joined"), N, a.dx); // dx is free until the backward pass
        add(a.dx);
        this.linear(`${at}.feed_forward.widen`, this.norm(`${at}.norm2`, x, N), N, of("widen"));
        const widen = of("widen"), wide = of("wide");
        for (let i = 0; i < N * M; i++) {
          const v = relu(widen[i]);
          wide[i] = squared ? v * v : v;
        }
        this.linear(`${at}.feed_forward.narrow`, wide, N, a.dx);
        add(a.dx);
      }
      this.linear("head", this.norm("norm", x, N), N, a.logits);
      if (logit_scale !== 1) for (let i = 0; i < N * V; i++) a.logits[i] *= logit_scale;
    }

    // The T rows of one window, and of them the columns of one head.
    part(x, b, T, head) {
      const { n_embd: C, n_head: H } = this.config, D = C / H;
      return matrix(x, T, D, b * T * C + head * D, C);
    }

    // The shares of one head in one window: (T, T).
    sharesOf(layer, b, T, head) {
      return matrix(this.a[`shares ${layer}`], T, T, (b * this.config.n_head + head) * T * T);
    }

    // In each head: scores = q k^T / sqrt(D), shares = softmax of the scores up to the position itself, joined = shares v.
    attend(layer, B, T) {
      const { n_embd: C, n_head: H } = this.config, { a, space } = this, scale = 1 / Math.sqrt(C / H);
      const [q, k, v, y, shares] = ["query", "key", "value", "joined", "shares"].map((name) => a[`${name} ${layer}`]);
      y.fill(0, 0, B * T * C);
      shares.fill(0, 0, B * H * T * T);
      for (let b = 0; b < B; b++)
        for (let head = 0; head < H; head++) {
          const own = (x) => this.part(x, b, T, head), P = this.sharesOf(layer, b, T, head);
          space.multiply(P, own(q), turned(own(k)));
          for (let t = 0, row = P.at; t < T; t++, row += T) {
            let most = -Infinity, sum = 0;
            for (let s = row; s <= row + t; s++) if (shares[s] > most) most = shares[s];
            for (let s = row; s <= row + t; s++) sum += shares[s] = Math.exp((shares[s] - most) * scale);
            for (let s = row; s <= row + t; s++) shares[s] /= sum;
            shares.fill(0, row + t + 1, row + T);
          }
          space.multiply(own(y), P, own(v));
        }
    }

    // From djoined to dquery, dkey and dvalue.
    attendBackward(layer, B, T) {
      const { n_embd: C, n_head: H } = this.config, { a, space } = this, scale = 1 / Math.sqrt(C / H);
      const [q, k, v, shares] = ["query", "key", "value", "shares"].map((name) => a[`${name} ${layer}`]);
      const { djoined, dquery, dkey, dvalue, dshares } = a, dP = matrix(dshares, T, T);
      for (const d of [dquery, dkey, dvalue]) d.fill(0, 0, B * T * C);
      for (let b = 0; b < B; b++)
        for (let head = 0; head < H; head++) {
          const own = (x) => this.part(x, b, T, head), P = this.sharesOf(layer, b, T, head);
          space.multiply(own(dvalue), turned(P), own(djoined));
          dshares.fill(0, 0, T * T);
          space.multiply(dP, own(djoined), turned(own(v)));
          for (let t = 0, row = 0; t < T; t++, row += T) {
            let mean = 0;
            for (let s = 0; s <= t; s++) mean += shares[P.at + row + s] * dshares[row + s];
            for (let s = 0; s < T; s++) dshares[row + s] = shares[P.at + row + s] * (dshares[row + s] - mean) * scale; // now dscores
          }
          space.multiply(own(dquery), dP, own(k));
          space.multiply(own(dkey), turned(dP), own(q));
        }
    }

    // The sum of the losses of all targets, in nats; `logits` becomes dlogits, the slopes of their mean.
    loss(targets, N) {
      const { vocab_size: V, logit_scale } = this.config, { logits } = this.a;
      let total = 0;
      for (let n = 0, row = 0; n < N; n++, row += V) {
        const target = row + targets[n], own = logits[target];
        let most = -Infinity, sum = 0;
        for (let i = row; i < row + V; i++) if (logits[i] > most) most = logits[i];
        for (let i = row; i < row + V; i++) sum += logits[i] = Math.exp(logits[i] - most);
        total += Math.log(sum) + most - own;
        for (let i = row; i < row + V; i++) logits[i] *= logit_scale / sum / N;
        logits[target] -= logit_scale / N;
      }
      return total;
    }

    // The gradients of all weights, in `d name`, from dlogits.
    backward(ids, B, T) {
      const { n_layer, n_head: H, n_embd: C, norm_input, rope_base, feed_forward } = this.config;
      const { a } = this, { dx, dh, djoined, dquery, dkey, dvalue, dwide } = a, N = B * T, M = 4 * C;
      const squared = feed_forward === "squared-relu";
      for (const name of this.names) a[`d ${name}`].fill(0);
      dx.fill(0);
      dh.fill(0);
      this.linearBackward("head", a["norm out"], N, a.logits, dh);
      this.normBackward("norm", dh, N, dx);
      for (let layer = n_layer - 1; layer >= 0; layer--) {
        const at = `blocks.${layer}`, of = (name) => a[`${name} ${layer}`];
        // The feed-forward network, and with it the residual connection: dx goes both ways.
        dwide.fill(0);
        this.linearBackward(`${at}.feed_forward.narrow`, of("wide"), N, dx, dwide);
        const widen = of("widen");
        for (let i = 0; i < N * M; i++) dwide[i] *= squared ? 2 * relu(widen[i]) : Math.sign(relu(widen[i])); // now dwiden
        dh.fill(0);
        this.linearBackward(`${at}.feed_forward.widen`, a[`${at}.norm2 out`], N, dwide, dh);
        this.normBackward(`${at}.norm2`, dh, N, dx);
        // Attention, likewise.
        djoined.fill(0);
        this.linearBackward(`${at}.attention.output`, of("joined"), N, dx, djoined);
        this.attendBackward(layer, B, T);
        if (rope_base) for (const d of [dquery, dkey]) rotate(d, C, T, 0, C / H, rope_base, -1);
        dh.fill(0);
        const parts = { query: dquery, key: dkey, value: dvalue };
        for (const [part, d] of Object.entries(parts))
          this.linearBackward(`${at}.attention.${part}`, a[`${at}.norm1 out`], N, d, dh);
        this.normBackward(`${at}.norm1`, dh, N, dx);
      }
      if (norm_input) {
        dh.fill(0);
        standardiseBackward(a["input standard"], a["input scale"], dx, N, C, dh);
        dx.set(dh);
      }
      this.embeddings("d", ids, B, T, (d, row, at) => {
        for (let i = 0; i < C; i++) d[row + i] += dx[at + i];
      });
    }

    // One step, on the windows of `ids` that begin at `starts`. Gives the loss before the step.
    learn(ids, starts, rate) {
      const { block_size: T } = this.config, B = starts.length, [inputs, targets] = cut(ids, starts, T);
      this.forward(inputs, B, T);
      const loss = this.loss(targets, B * T) / (B * T);
      this.backward(inputs, B, T);
      const norm = this.gradientNorm();
      if (!Number.isFinite(loss + norm))
        throw new Error(
          `at step ${this.step + 1} the loss is ${loss} and the norm of its gradient ${norm}: ` +
            "train again with a lower learning rate, or more warm-up",
        );
      this.update(rate, Math.min(1, CLIP / (norm + 1e-6)));
      return loss;
    }

    gradientNorm() {
      let squares = 0;
      for (const name of this.names) for (const d of this.a[`d ${name}`]) squares += d * d;
      return Math.sqrt(squares);
    }

    // AdamW: of each weight, the running means of its gradient and of its square; the matrices of linear layers decay towards zero.
    update(rate, clip) {
      const step = ++this.step, [beta1, beta2] = BETAS;
      const size = rate / (1 - beta1 ** step), spread = Math.sqrt(1 - beta2 ** step);
      for (const name of this.names) {
        const [w, d, mean, square] = ["w", "d", "mean", "square"].map((part) => this.a[`${part} ${name}`]);
        const stay = /(attention\.\w+|feed_forward\.\w+|head)\.weight$/.test(name) ? 1 - rate * DECAY : 1;
        for (let i = 0; i < w.length; i++) {
          const g = d[i] * clip;
          mean[i] += (1 - beta1) * (g - mean[i]);
          square[i] = beta2 * square[i] + (1 - beta2) * g * g;
          w[i] = w[i] * stay - (size * mean[i]) / (Math.sqrt(square[i]) / spread + EPSILON);
        }
      }
    }

    // The mean loss over `ids`, in windows side by side, so that every token but the first is predicted exactly once. Or over so
    // many `windows`, evenly spread. As `evaluate` of minigpt_core/training.py.
    evaluate(ids, windows = Infinity) {
      const { block_size: T } = this.config, full = Math.floor((ids.length - 1) / T), some = windows < full;
      const starts = Array.from({ length: some ? windows : full }, (_, i) =>
        T * (some ? Math.round((i * (full - 1)) / Math.max(1, windows - 1)) : i));
      let total = 0, count = 0;
      const add = (starts, T) => {
        const [inputs, targets] = cut(ids, starts, T);
        this.forward(inputs, starts.length, T);
        total += this.loss(targets, targets.length);
        count += targets.length;
      };
      for (let i = 0; i < starts.length; i += this.windows) add(starts.slice(i, i + this.windows), T);
      const rest = ids.length - 1 - full * T; // the last window is shorter
      if (!some && rest) add([full * T], rest);
      return total / count;
    }

    // The weights by name, as Float32Arrays that stay as they are now.
    weights() {
      return Object.fromEntries(this.names.map((name) => [name, Float32Array.from(this.a[`w ${name}`])]));
    }
  }

  // The windows of T ids that begin at `starts`, one after the other; and the same one token further on.
  const cut = (ids, starts, T) =>
    [0, 1].map((move) => {
      const windows = new Int32Array(starts.length * T);
      starts.forEach((start, b) => windows.set(ids.subarray(start + move, start + move + T), b * T));
      return windows;
    });

  minigpt.Trainer = Trainer;
})();
