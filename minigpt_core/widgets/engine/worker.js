// The engine off the page's own thread: long work never freezes the page, and can be stopped between two tokens.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { END_ID } = minigpt;
  const models = new Map(), running = new Set(); // by name; the jobs that nobody has stopped

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

  // The ids of the `n` largest of `p`, those of zero left out, ties to the lower id. Sorting all would take longer than
  // the model does.
  const likeliest = (p, n) => {
    const best = [];
    for (let id = 0; id < p.length; id++) {
      if (p[id] === 0 || (best.length === n && p[id] <= p[best[n - 1]])) continue;
      let place = best.length;
      while (place > 0 && p[best[place - 1]] < p[id]) place--;
      best.splice(place, 0, id);
      if (best.length > n) best.pop();
    }
    return best;
  };

  const actions = {
    load: ({ name, bytes }) => {
      const model = new minigpt.Model(minigpt.readModel(bytes)), tokenizer = new minigpt.Tokenizer(model.tokenizer);
      models.set(name, { model, tokenizer });
      return { config: model.config, names: tokenizer.pieces.map((_, id) => tokenizer.name(id)) };
    },

    // Which of the texts is the first that the model can read, and the character for which it was not the very first.
    readable: ({ name, texts }) => {
      const strangers = texts.map((text) => models.get(name).tokenizer.stranger(text));
      return { place: strangers.indexOf(undefined), stranger: strangers[0] };
    },

    // The texts of the prompt's tokens, of as many as the window holds; what stands before them is one.
    promptTokens: ({ name, prompt }) => {
      const { model, tokenizer } = models.get(name), ids = tokenizer.encode(prompt);
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      const texts = ids.map((id, n) => decoder.decode(tokenizer.bytes[id], { stream: n < ids.length - 1 }));
      const before = texts.splice(0, Math.max(0, texts.length - model.config.block_size));
      return { texts: before.length ? [before.join(""), ...texts] : texts };
    },

    // The logits of the token after the prompt and the tokens `said` after it; and the text that these make.
    next: ({ name, prompt, said }) => {
      const { model, tokenizer } = models.get(name), { block_size } = model.config;
      const start = tokenizer.encode(prompt), ids = [...(start.length ? start : [END_ID]), ...said];
      return { logits: model.forward(ids.slice(-block_size), model.newCache()), text: tokenizer.decode(said) };
    },

    // How each token of the text attends, with the heads of `muted` silenced: maps[layer][head][t] holds the shares of
    // positions 0 to t; queries and keys (T, C) of each layer; p[t] the probabilities of the token after position t,
    // and losses[t] the loss of the token at t, from 1 on. Of a text longer than the window, its end.
    attend: ({ name, text, muted }) => {
      const { model, tokenizer } = models.get(name), ids = tokenizer.encode(text).slice(-model.config.block_size);
      const V = model.config.vocab_size, blocks = [], p = [];
      if (ids.length) model.forward(ids, model.newCache(), { blocks, muted });
      const logits = ids.length ? model.unembed(blocks.at(-1).leaving).logits : [];
      for (let at = 0; at < logits.length; at += V) p.push(minigpt.softmax(logits.subarray(at, at + V)));
      const losses = ids.map((id, t) => (t ? -Math.log(p[t - 1][id]) : undefined));
      const [maps, queries, keys] = ["weights", "query", "key"].map((part) => blocks.map((block) => block[part]));
      return { maps, queries, keys, p, losses, names: ids.map((id) => tokenizer.name(id)) };
    },

    // What the model computes between the text and its guesses, with the inside of one block: `Model.inside`, and the
    // ids and names of the text's tokens. Of a text longer than the window, its end.
    inside: ({ name, text, layer }) => {
      const { model, tokenizer } = models.get(name), ids = tokenizer.encode(text).slice(-model.config.block_size);
      return { names: ids.map((id) => tokenizer.name(id)), ids, inside: ids.length ? model.inside(ids, layer) : null };
    },

    // The mean probability per token (geometric) of the second half of the phrase, the first, second, third time in a
    // row: repeat_probability of minigpt_core/study/lens.py.
    repeat: ({ name, phrase, times }) => {
      const { model, tokenizer } = models.get(name), ids = tokenizer.encode(phrase), n = ids.length;
      const fitting = Math.min(times, Math.floor(model.config.block_size / n));
      if (n < 2 || fitting < 2)
        throw new Error(
          `the phrase has ${n === 1 ? "1 token" : `${n} tokens`}: it needs at least 2, ` +
            `and twice must fit into the window of ${model.config.block_size}`,
        );
      const cache = model.newCache(), means = [];
      let p = null;
      for (let time = 0; time < fitting; time++) {
        let sum = 0;
        ids.forEach((id, place) => {
          if (place >= n - (n >> 1)) sum += Math.log(p[id]);
          p = minigpt.softmax(model.forward([id], cache));
        });
        means.push(Math.exp(sum / (n >> 1)));
      }
      return { means };
    },

    // Sends a part for each token as soon as its text is certain: the text, the probability that it was drawn with,
    // the model's own, the likeliest others, and how many tokens the model had read. Those `kept` of an earlier text
    // come first. Ends with the reason: "end", "stop" or "length".
    generate: async ({ job, name, prompt, kept, knobs, seed, count, stop }) => {
      const { model, tokenizer } = models.get(name);
      const start = tokenizer.encode(prompt), said = kept.map(({ id }) => id);
      const ids = [...(start.length ? start : [END_ID]), ...said];
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      const pending = [];
      let text = "", since = performance.now(), why = said.at(-1) === END_ID ? "end" : "length";
      const send = (least) => {
        while (pending.length && text.length - pending[0].text.length >= least) {
          const token = pending.shift();
          text = text.slice(token.text.length);
          postMessage({ job, part: token });
        }
      };
      // A byte may be part of a character, so its text waits for the next token.
      const add = (token) => {
        token.text = decoder.decode(tokenizer.bytes[token.id], { stream: true });
        text += token.text;
        pending.push(token);
        return typeof tokenizer.pieces[token.id] === "number";
      };
      for (const token of kept) if (token.id !== END_ID && !add({ ...token })) send(0);
      const wanted = why === "end" ? 0 : count;
      for (const { id, logits, shaped, read } of minigpt.generate(model, ids, wanted, knobs, seed, said)) {
        if (id === END_ID) {
          why = "end";
          break;
        }
        const p = minigpt.softmax(shaped);
        const own = minigpt.softmax(logits)[id]; // before any knob
        const others = likeliest(p, 8).map((other) => ({ id: other, name: tokenizer.name(other), p: p[other] }));
        const waits = add({ id, name: tokenizer.name(id), p: p[id], own, others, read });
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
        if (!waits) send(stop ? overlap(text, stop) : 0);
        if (performance.now() - since > 12) {
          await breathe();
          since = performance.now();
          if (!running.has(job)) return {};
        }
      }
      const rest = why === "stop" ? "" : decoder.decode(); // half a character: U+FFFD
      text += rest;
      if (rest) pending.at(-1).text += rest;
      send(0);
      return { why };
    },

    stop: ({ target }) => void running.delete(target),
  };

  Object.assign(minigpt, { actions, models, breathe, running });

  globalThis.onmessage = async ({ data }) => {
    const { job, action } = data;
    running.add(job);
    try {
      postMessage({ job, done: (await actions[action](data)) ?? {} });
    } catch (error) {
      postMessage({ job, failed: error.message });
    }
    running.delete(job);
  };
})();
