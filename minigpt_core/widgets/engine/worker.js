// The engine off the page's own thread: long work never freezes the page, and can be stopped between two tokens.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const models = new Map(), stopped = new Set();

  // Let messages in, such as the one that stops a job.
  const breathe = () =>
    new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => resolve(port1.close());
      port2.postMessage(null);
    });

  // How many characters at the end of `text` begin `stop`.
  const overlap = (text, stop) => {
    for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
    return 0;
  };

  const actions = {
    load: ({ name, bytes }) => {
      const model = new minigpt.Model(bytes);
      models.set(name, { model, tokenizer: new minigpt.Tokenizer(model.tokenizer) });
      return { config: model.config };
    },

    // Sends { token } for each token as soon as its text is certain: the text, the probability that it was drawn with,
    // and the likeliest others. Ends with the reason: "end", "stop", "length" or "stopped".
    generate: async ({ job, name, prompt, said, knobs, seed, count, stop }) => {
      const { model, tokenizer } = models.get(name);
      const start = tokenizer.encode(prompt);
      const ids = [...(start.length ? start : [model.config.end_id]), ...said];
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      const pending = [];
      let text = "", since = performance.now(), why = "length";
      const send = (least) => {
        while (pending.length && text.length - pending[0].text.length >= least) {
          const token = pending.shift();
          text = text.slice(token.text.length);
          postMessage({ job, token });
        }
      };
      for (const { id, shaped } of minigpt.generate(model, ids, count, knobs, seed, said)) {
        if (id === model.config.end_id) {
          why = "end";
          break;
        }
        const p = minigpt.softmax(shaped);
        const others = Array.from(p.keys()).sort((a, b) => p[b] - p[a] || a - b).slice(0, 8);
        const token = { id, text: decoder.decode(tokenizer.bytes[id], { stream: true }), p: p[id] };
        token.others = others.filter((other) => p[other] > 0).map((other) => ({ id: other, text: tokenizer.name(other), p: p[other] }));
        pending.push(token);
        text += token.text;
        const found = stop ? text.indexOf(stop) : -1;
        if (found >= 0) {
          text = text.slice(0, found);
          let length = 0;
          for (const each of pending) {
            each.text = each.text.slice(0, Math.max(0, found - length));
            length += each.text.length;
          }
          why = "stop";
          break;
        }
        send(stop ? overlap(text, stop) : 0);
        if (performance.now() - since > 12) {
          await breathe();
          since = performance.now();
          if (stopped.delete(job)) {
            why = "stopped";
            break;
          }
        }
      }
      send(0);
      return { why };
    },

    stop: ({ target }) => void stopped.add(target),
  };

  globalThis.onmessage = async ({ data }) => {
    try {
      postMessage({ job: data.job, done: (await actions[data.action](data)) ?? {} });
    } catch (error) {
      postMessage({ job: data.job, failed: error.message });
    }
  };
})();
