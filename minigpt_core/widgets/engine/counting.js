// What mere counting can do, the honest rival of a small GPT: n-gram models with Kneser-Ney smoothing. The twin of
// ngram_probabilities in minigpt_core/study/counting.py, which says what is computed.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});

  // From the runs of k - 1 tokens to those of k. Each different run of the training part gets a number. `train` and
  // `asked` hold the number of the run that begins at each place of the training and of the held-out part; -1 is a run
  // that was never seen in training. For each number, `context` is that of the run without its last token, `counts`
  // says how often the run was seen, and `kinds` after how many different tokens: the next call fills it in. `before`
  // is `asked` of the shorter runs, `contexts` says how many different ones there are.
  function lengthen(shorter, trainIds, heldOutIds) {
    const k = shorter.k + 1, N = trainIds.length - k + 1, M = heldOutIds.length - k + 1;
    const context = new Int32Array(N), last = new Int32Array(N), counts = new Int32Array(N);
    const bits = Math.ceil(Math.log2(N)) + 1, mask = 2 ** bits - 1;
    const table = new Int32Array(2 ** bits); // a hash table: the number of a run plus 1, or 0 where nothing is
    let size = 0;
    // Where in the table the run of this context and this last token stands, or would stand.
    const find = (c, token) => {
      let slot = Math.imul(Math.imul(c, 0x9e3779b1) + token, 0x85ebca6b) >>> (32 - bits);
      for (; table[slot]; slot = (slot + 1) & mask)
        if (context[table[slot] - 1] === c && last[table[slot] - 1] === token) break;
      return slot;
    };
    const train = new Int32Array(N), asked = new Int32Array(M);
    for (let i = 0; i < N; i++) {
      const c = shorter.train[i], token = trainIds[i + k - 1], slot = find(c, token);
      if (!table[slot]) {
        context[size] = c;
        last[size] = token;
        table[slot] = ++size;
        shorter.kinds[shorter.train[i + 1]]++;
      }
      train[i] = table[slot] - 1;
      counts[train[i]]++;
    }
    for (let j = 0; j < M; j++) {
      const c = shorter.asked[j];
      asked[j] = c < 0 ? -1 : table[find(c, heldOutIds[j + k - 1])] - 1;
    }
    return {
      k,
      train,
      asked,
      context: context.subarray(0, size),
      counts: counts.subarray(0, size),
      kinds: new Int32Array(size),
      before: shorter.asked,
      contexts: shorter.kinds.length,
    };
  }

  // What to take from counts of 0, 1, 2, and 3 or more (Chen and Goodman 1999, equation 17); where so little was
  // counted that the estimate fails, 0.5, 1 and 1.5.
  function discounts(counts) {
    const found = [0, 0, 0, 0, 0];
    for (const count of counts) if (count < 5) found[count]++;
    const [, n1, n2, n3, n4] = found;
    if (Math.min(n1, n2, n3) > 0) {
      const Y = n1 / (n1 + 2 * n2);
      const D = [0, 1 - (2 * Y * n2) / n1, 2 - (3 * Y * n3) / n2, 3 - (4 * Y * n4) / n3];
      if (D.every((d, k) => 0 <= d && d <= k)) return D;
    }
    return [0, 0.5, 1, 1.5];
  }

  // The probability of each held-out token: `p`, by the shorter context, mixed with what was counted after the longer.
  function mix({ k, context, asked, before, contexts }, counts, p) {
    const D = discounts(counts), total = new Float64Array(contexts), freed = new Float64Array(contexts);
    for (let run = 0; run < counts.length; run++) {
      total[context[run]] += counts[run];
      freed[context[run]] += D[Math.min(counts[run], 3)];
    }
    const mixed = p.slice();
    for (let j = 0; j < asked.length; j++) {
      const c = before[j], at = j + k - 1;
      if (c < 0 || total[c] === 0) continue;
      const count = asked[j] < 0 ? 0 : counts[asked[j]];
      mixed[at] = (count - D[Math.min(count, 3)] + freed[c] * p[at]) / total[c];
    }
    return mixed;
  }

  // Mean loss in nats per token over the held-out part, of the models of orders 1 to n that have counted the training
  // part.
  minigpt.ngramLosses = (trainIds, heldOutIds, n, V) => {
    const N = trainIds.length, M = heldOutIds.length, longest = Math.min(n, N, M), losses = new Float64Array(n);
    if (!longest) throw new Error(`there is nothing to count: ${N} training and ${M} validation tokens`);
    const none = { k: 0, train: new Int32Array(N + 1), asked: new Int32Array(M + 1), kinds: new Int32Array(1) };
    let runs = lengthen(none, trainIds, heldOutIds), p = new Float64Array(M).fill(1 / V);
    for (let k = 1; ; k++) {
      losses[k - 1] = mix(runs, runs.counts, p).reduce((sum, each) => sum - Math.log(each), 0) / M;
      if (k === longest) return losses.fill(losses[k - 1], k);
      const longer = lengthen(runs, trainIds, heldOutIds);
      p = mix(runs, runs.kinds, p);
      runs = longer;
    }
  };
})();
