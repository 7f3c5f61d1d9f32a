// What a budget buys, by a law of the loss: the same as minigpt_core/study/scaling.py and widgets/budget.py, in words and numbers.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const AROUND = 30, POINTS = 61; // the valley: from a thirtieth of the best size to thirty times it
  const BYTES = 16; // a parameter in training: weight, gradient and AdamW's two moments, each of four bytes

  const terms = ({ E, A, alpha, B, beta }, N, D) => [E, A / N ** alpha, B / D ** beta];

  const loss = (law, N, D) => terms(law, N, D).reduce((a, b) => a + b);

  // The size and the text of lowest loss, of those with 6 N D = C.
  const best = ({ A, alpha, B, beta }, C) => {
    const both = alpha + beta, ratio = ((alpha * A) / (beta * B)) ** (1 / both);
    return [ratio * (C / 6) ** (beta / both), (C / 6) ** (alpha / both) / ratio];
  };

  const within = (value, [least, most]) => least <= value && value <= most;

  // All sizes near the best one: size, loss, and whether size and text lie where the law was measured.
  const valley = (law, C) => {
    const [N] = best(law, C);
    return Array.from({ length: POINTS }, (_, i) => {
      const size = N * AROUND ** ((2 * i) / (POINTS - 1) - 1), text = C / 6 / size;
      return [size, loss(law, size, text), within(size, law.sizes) && within(text, law.tokens)];
    });
  };

  // Numbers in words: to some digits, with a name for the thousands of thousands.
  const rounded = (value, digits) => {
    const number = +value.toPrecision(digits);
    return number < 10 ? String(number) : number.toLocaleString("en", { maximumFractionDigits: digits });
  };

  const amount = (value) => {
    const names = [[1e12, " trillion"], [1e9, " billion"], [1e6, " million"], [1, ""]];
    const [unit, name] = names.find(([unit]) => +value.toPrecision(3) >= unit) ?? names.at(-1);
    return rounded(value / unit, 3) + name;
  };

  const power = (value) => {
    const [digits, exponent] = value.toExponential(1).split("e");
    return `${digits} × 10${[...exponent.replace("+", "")].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("")}`;
  };

  const duration = (hours) => {
    const seconds = 3600 * hours;
    if (seconds < 0.01) return "under 0.01 s";
    if (seconds < 100) return `${rounded(seconds, 2)} s`;
    if (seconds < 3600) return `${rounded(seconds / 60, 2)} min`;
    if (hours < 48) return `${rounded(hours, 2)} h`;
    return hours < 730 * 24 ? `${rounded(hours / 24, 2)} days` : `${rounded(hours / 24 / 365.25, 2)} years`;
  };

  const memory = (bytes) => {
    const units = [[1e12, " TB"], [1e9, " GB"], [1e6, " MB"], [1e3, " kB"]];
    const [unit, name] = units.find(([unit]) => bytes >= unit) ?? units.at(-1);
    return rounded(bytes / unit, 2) + name;
  };

  const whole = (value) => Math.floor(value + 0.5);

  // Layers and width of about N parameters, 12 layers width², with `aspect` numbers of width for each layer.
  const shape = (N, aspect) => {
    const layers = Math.max(1, whole((N / 12 / aspect ** 2) ** (1 / 3)));
    return [layers, 8 * Math.max(1, whole(Math.sqrt(N / 12 / layers) / 8))];
  };

  const speed = ({ flops, share }) => flops * share; // FLOP/s that go into the model

  // That a value lies outside what was measured, in words; nothing where it lies inside.
  const outside = (value, [least, most], name, lowest, highest) => {
    if (value > most) return [`this ${name} is ${rounded(value / most, 3)} times the ${highest} there`];
    return value < least ? [`the ${lowest} there is ${rounded(least / value, 3)} times this ${name}`] : [];
  };

  // What a budget buys: FLOPs, size and text, the terms of the loss, facts in words, and how far the law can be trusted.
  const report = (law, device, hours) => {
    const C = 3600 * hours * speed(device), [N, D] = best(law, C), token = law.unit.split(" per ")[1];
    const [layers, width] = shape(N, law.aspect), { sizes, tokens } = law;
    const measured = `This law was measured from ${amount(sizes[0])} to ${amount(sizes[1])} parameters and from `
      + `${amount(tokens[0])} to ${amount(tokens[1])} ${token}s`;
    const far = [
      ...outside(N, sizes, "model", "smallest", "largest"), ...outside(D, tokens, "text", "shortest", "longest"),
    ];
    const steps = law.batch ? `, in ${amount(D / law.batch)} steps` : "";
    const held = law.miss ? ` It missed a run that it had not seen by ${rounded(law.miss, 2)} ${law.unit}.` : "";
    return {
      flops: C,
      best: [N, D],
      terms: terms(law, N, D),
      facts: [
        ["compute", `${power(C)} FLOPs`, `${power(device.flops)} FLOP/s (${device.note}), ${whole(100 * device.share)}% used`],
        ["model", `${amount(N)} parameters`, `about ${layers} layer${layers === 1 ? "" : "s"}, ${width} wide`],
        ["text", `${amount(D)} ${token}s`, `${rounded(D / law.alice, 2)} times Alice, read once${steps}`],
        ["memory", memory(BYTES * N), "weights, gradients and AdamW's moments, without activations"],
      ],
      trust: far.length ? `Extrapolated. ${measured}: ${far.join(", and ")}.${held}` : `${measured}: this lies within.${held}`,
    };
  };

  // What each run costs here, beside what is published of it.
  const costs = (runs, device) => runs.map(({ name, parameters, tokens, flops, hours, on, source }) => {
    const here = (flops ?? 6 * parameters * tokens) / speed(device) / 3600;
    const published = [hours ? `${duration(hours)} on ${on}` : "", source].filter(Boolean).join("; ");
    return [name, amount(parameters), tokens ? amount(tokens) : "", duration(here), published];
  });

  minigpt.scaling = { loss, best, valley, amount, power, duration, memory, shape, report, costs };
})();
