// Why is my validation loss high? The same causes and levels as minigpt_core/study/clinic.py, in the same order, with
// the same limits and the same sentences. Why the limits are what they are is told there.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const PIECE = 50, BEST = "best count";

  const finding = (name, symptom, diagnosis, cure) => ({ name, symptom, diagnosis, cure });

  // Numbers as Python writes them: of two that are equally near, toFixed takes the one further from 0, Python the even.
  const fixed = (value, digits) => {
    const text = value.toFixed(digits), between = Math.abs(value * 2 ** (digits + 1)) % 2 === 1; // 0.125, but not 0.135
    return between && text.at(-1) % 2 ? (value * (1 - 2 ** -52)).toFixed(digits) : text;
  };
  const nats = (value) => fixed(value, 2);

  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

  // All that the examination looks at. `split` is "documents", "blocks" or "tail"; null, as with `dropout`: not known.
  const newRun = ({ training, validation, references, trainIds, heldOutIds, split = null, dropout = null }) => {
    if (training.length < 2 || !validation.length)
      throw new Error("a run needs at least two training losses and one validation loss to be examined");
    const rows = [...validation].sort(([a], [b]) => a - b), best = Math.min(...Object.values(references));
    return {
      training, references, trainIds, heldOutIds, dropout, best,
      steps: rows.map(([step]) => step),
      heldOut: rows.map(([, loss]) => loss),
      trainingEnd: mean(training.slice(-Math.max(2, Math.floor(training.length / 20)))),
      validationEnd: rows.at(-1)[1],
      gain: Math.max(0, references["1-gram"] - best),
      spread: split === "documents" || split === "blocks",
    };
  };

  // The findings of a run, gravest first: each { name, symptom, diagnosis, cure }. `training` has the losses of steps
  // 1, 2, 3 and so on, `validation` pairs [step, loss]; `references` is what counting reaches on the same text.
  function examine(about) {
    const run = newRun(about), found = CAUSES.map((cause) => cause(run)).filter(Boolean);
    if (found[0]?.name === "diverged") return found.slice(0, 1); // numbers that are none say nothing else
    return found.length ? found : [LEVELS.map((level) => level(run)).find(Boolean)];
  }

  // What may be wrong with a run, gravest first. More than one may be found.

  function diverged(run) {
    if ([...run.training, ...run.heldOut].every(Number.isFinite)) return null;
    return finding("diverged",
      "A loss is infinite or no number.",
      "The steps were so long that the weights ran away; or, if the losses before were sound, a batch had no target (0/0).",
      "a lower learning rate, a longer warm-up.");
  }

  function distributionShift(run) {
    const counts = new Map();
    for (const id of run.trainIds) counts.set(id, (counts.get(id) ?? 0) + 1);
    const unseen = 1 - share(run.heldOutIds.filter((id) => counts.has(id)).length, run.heldOutIds.length);
    const expected = [...counts.values()].filter((count) => count === 1).length / run.trainIds.length;
    if (unseen <= 0.01 + 3 * expected) return null;
    const [seen, usual] = [unseen, expected].map((value) => `${fixed(100 * value, 1)}%`);
    return finding("distribution shift",
      `${seen} of the held-out tokens never occur in the training part, where ${usual} would be usual.`,
      "The two parts are of different kinds, and no training can close that gap.",
      run.spread
        ? "more text of each kind that it holds: the parts already come from all over it."
        : 'hold out pieces from all over the text: how="documents", or how="blocks" if it has no end marks.');
  }

  function dataLeakage(run) {
    const copies = standsIn(run.heldOutIds, run.trainIds);
    if (copies <= 0.3) return null;
    return finding("data leakage",
      `${fixed(100 * copies, 0)}% of the held-out pieces of ${PIECE} tokens stand word for word in the training part.`,
      "The text repeats itself. Who recites it does well on both parts, so a low validation loss means nothing.",
      "a text without the copies, or with all copies of a piece in the same part.");
  }

  function initialWeightsTooLarge(run) {
    const first = run.training[0], blind = run.references["ln V"];
    if (first <= blind + 0.5) return null;
    return finding("initial weights too large",
      `The first loss is ${nats(first)}, blind guessing is ${nats(blind)}.`,
      "The model is sure from the start, and wrong: it begins with strong opinions.",
      "smaller initial weights, such as N(0, 0.02).");
  }

  function targetLeakage(run) {
    if (run.validationEnd >= 0.6 * run.best || run.best - run.validationEnd <= 0.1) return null;
    return finding("target leakage",
      `It ends at ${nats(run.validationEnd)}, the best count at ${nats(run.best)}: too good to be true.`,
      "The model probably sees the answer: a mask that leaks, targets that are not moved on, or text that is in both parts.",
      "change one late token and see whether an earlier prediction moves (chapter 06); compare x with y.");
  }

  function overfitting(run) {
    const low = Math.min(...run.heldOut), end = run.trainingEnd;
    if (run.validationEnd <= 1.03 * low || end >= low) return null;
    const at = run.steps[run.heldOut.indexOf(low)];
    return finding("overfitting",
      `Validation was lowest, ${nats(low)}, at step ${at} and rose to ${nats(run.validationEnd)}; training went down to ${nats(end)}.`,
      "The model is large for this text, and learns it by heart.",
      `more text; a smaller model; ${dropoutAdvice(run)}; or stop at step ${at}.`);
  }

  function overfittingBegins(run) {
    if (run.trainingEnd >= 0.7 * run.validationEnd || overfitting(run)) return null;
    return finding("overfitting begins",
      `Training ends at ${nats(run.trainingEnd)}, validation at ${nats(run.validationEnd)}: a wide gap, though no rise.`,
      `The model begins to learn its text by heart${run.spread ? "." : ", or the parts differ."}`,
      `more text; ${dropoutAdvice(run)}; fewer steps${run.spread ? "." : "; another split, to see whether the gap stays."}`);
  }

  function noisyValidationLoss(run) {
    const held = run.heldOut, changes = held.slice(1).map((loss, i) => loss - held[i]);
    const jump = changes.map(Math.abs).sort((a, b) => a - b)[changes.length >> 1]; // the median
    const turns = changes.slice(1).filter((change, i) => change * changes[i] < 0).length;
    if (held.length < 6 || turns <= held.length / 2 || jump <= 0.015 * held.at(-1)) return null;
    return finding("noisy validation loss",
      `Validation goes up and down by about ${nats(jump)} from one time to the next.`,
      "It is measured on too little text, or the learning rate is too high.",
      "measure on the whole held-out part; if it was, a lower learning rate.");
  }

  const CAUSES = [
    diverged, distributionShift, dataLeakage, targetLeakage, initialWeightsTooLarge, overfitting, overfittingBegins,
    noisyValidationLoss,
  ];

  // How far a run has come in which none of that was found: the first that holds, and the last always does.

  function stalled(run) {
    const pastPairs = run.validationEnd < run.references["2-gram"];
    if (!owes(run, 1 / 2) || fell(run) > (pastPairs ? 0.05 : 0.115) * run.gain) return null;
    return finding("stalled",
      `${lessThan("half", run)}, and training fell by no more than ${nats(fell(run))} in the last four fifths of the steps.`,
      "The steps are too long or too short, the model is far too small, or something in it is broken.",
      "another learning rate first, tenfold up and down; then a batch learned by heart (chapter 08).");
  }

  function undertrained(run) {
    if (!owes(run, 1 / 2) || stalled(run)) return null;
    return finding("undertrained",
      `${lessThan("half", run)}, and training still fell by ${nats(fell(run))} in the last four fifths of the steps.`,
      "The run was stopped too early, or each step was too small.",
      "more steps; a higher learning rate.");
  }

  function underfitting(run) {
    if (!owes(run, 1 / 4) || owes(run, 1 / 2)) return null;
    return finding("underfitting",
      `${lessThan("three quarters", run)}.`,
      "The model is too small and cannot hold more, or it has not had the time.",
      `${run.dropout ? "less dropout; " : ""}more steps; then a wider or deeper model.`);
  }

  function validationBelowTraining(run) {
    if (run.trainingEnd <= 1.07 * run.validationEnd) return null;
    const [diagnosis, cure] =
      run.dropout === null
        ? [
            "Usual with dropout, which is on in training only; without dropout the held-out part is easier.",
            "nothing, if there is dropout; otherwise another split.",
          ]
        : run.dropout
          ? ["Usual: dropout is on in training only.", "nothing."]
          : ["There is no dropout, so the held-out part is easier than the rest.", "another split."];
    const symptom = `Training ends ${nats(run.trainingEnd - run.validationEnd)} above validation.`;
    return finding("validation below training", symptom, diagnosis, cure);
  }

  function healthy(run) {
    const held = run.validationEnd, beats = Object.keys(run.references).filter((name) => held < run.references[name]);
    const loses = beats.includes(BEST) ? "" : `, and loses to the best count by ${nats(held - run.best)}`;
    return finding("healthy",
      `It ends at ${nats(held)}, and beats ${beats.join(", ") || "no reference line"}${loses}.`,
      loses ? "A sound run that could go on." : "It knows more of the text than counting can.",
      "more steps, a wider model, more text, in this order.");
  }

  const LEVELS = [stalled, undertrained, underfitting, validationBelowTraining, healthy];

  // Whether the run misses more than that part of what counting gains; a twentieth of a nat is no miss.
  const owes = (run, part) => run.validationEnd > run.best + Math.max(part * run.gain, 0.05);

  const lessThan = (part, run) =>
    `It ends at ${nats(run.validationEnd)}, and has learned less than ${part} of what counting gains from the 1-gram ` +
    `(${nats(run.references["1-gram"])}) to the best count (${nats(run.best)})`;

  // How far the training loss fell in the last four fifths of the steps; each end is a mean over a tenth of them.
  const fell = ({ training }) => {
    const n = training.length, part = Math.max(1, Math.floor(n / 10)), begin = Math.floor(n / 5);
    return mean(training.slice(begin, begin + part)) - mean(training.slice(-part));
  };

  const dropoutAdvice = (run) => (run.dropout ? "more dropout" : "dropout");

  // Rounded to 32 bits, as Python's are.
  const share = (count, all) => Math.fround(count / all);

  // The share of the pieces of `ids` that stand word for word in `source`. A table holds where each different piece of
  // the source begins, in the slot that its hash names or in the next free one. Two hashes may collide: pieces are the
  // same only where all their tokens are, else the search goes one slot further, so that the answer is exact.
  function standsIn(ids, source) {
    if (Math.min(ids.length, source.length) < PIECE) return 0;
    const all = new Int32Array(source.length + ids.length), bits = Math.ceil(Math.log2(source.length)) + 1;
    all.set(source);
    all.set(ids, source.length);
    const table = new Int32Array(2 ** bits).fill(-1), FACTOR = 0x2c1b3c6d, SPREAD = 0x9e3779b1; // any large odd numbers
    let copies = 0, leaving = 1; // what a token has been multiplied by when it leaves the piece
    for (let i = 0; i < PIECE; i++) leaving = Math.imul(leaving, FACTOR);
    const same = (a, b) => {
      for (let i = 0; i < PIECE; i++) if (all[a + i] !== all[b + i]) return false;
      return true;
    };
    for (let end = 0, hash = 0; end < all.length; end++) {
      const at = end - PIECE + 1;
      hash = (Math.imul(hash, FACTOR) + all[end] - Math.imul(leaving, at > 0 ? all[at - 1] : 0)) | 0;
      if (at < 0 || (at < source.length && end >= source.length)) continue; // no piece yet, or one of both parts
      let slot = Math.imul(hash, SPREAD) >>> (32 - bits);
      while (table[slot] >= 0 && !same(table[slot], at)) slot = (slot + 1) % table.length;
      if (at < source.length) table[slot] = at;
      else copies += table[slot] >= 0;
    }
    return share(copies, ids.length - PIECE + 1);
  }

  Object.assign(minigpt, { examine });
})();
