// Between a widget and the engine's worker. `source()` promises the engine's text, `fetchFile(name)` the bytes of a model or of
// a record: in the book both come from scripts, in Jupyter and Colab from the kernel.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});

  minigpt.bridge = (source, fetchFile) => {
    const loaded = new Map(), files = new Map(), jobs = new Map(), own = new Set(); // `own` are the models that no file holds
    let starting = null, worker = null, lastJob = 0;

    // The promise of `action()`, made once for each key, and made again after a failure.
    const once = (map, key, action) => {
      if (!map.has(key))
        map.set(
          key,
          action().catch((error) => {
            map.delete(key);
            throw error;
          }),
        );
      return map.get(key);
    };

    const start = () =>
      (starting ??= (async () => {
        if (!globalThis.Worker) throw new Error("this browser lacks Worker, which the widget needs: try a newer one");
        const text = await source();
        worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
        worker.onmessage = ({ data: { job, part, done, failed } }) => {
          const asked = jobs.get(job);
          if (!asked) return; // it was stopped, and has no say any more
          const { onPart, resolve, reject } = asked;
          if (part) return onPart(part);
          jobs.delete(job);
          if (failed === undefined) resolve(done);
          else reject(new Error(failed));
        };
        // What the worker did not foresee, such as the end of its memory: all that were asked hear of it, and the next asks a new one.
        worker.onerror = ({ message }) => {
          worker.terminate();
          for (const { reject } of jobs.values())
            reject(new Error(`the computation broke off (${message}): try again, with a shorter text or a smaller model`));
          jobs.clear();
          loaded.clear();
          starting = null;
        };
      })().catch((error) => {
        starting = null;
        throw error;
      }));

    // A job of the worker: its number and a promise of its answer.
    const post = (action, question, onPart) => {
      const job = ++lastJob;
      const answer = new Promise((resolve, reject) => jobs.set(job, { onPart, resolve, reject }));
      worker.postMessage({ job, action, ...question });
      return { job, answer };
    };

    // The same promise, which the signal ends early.
    const until = (signal, promise) =>
      new Promise((resolve, reject) => {
        const end = () => reject(signal.reason);
        if (signal.aborted) end();
        signal.addEventListener("abort", end);
        promise.then(resolve, reject);
      });

    const load = (name, signal) =>
      until(
        signal,
        once(loaded, name, async () => {
          if (own.has(name)) throw new Error("this model is not there any more: train it again, or open its file again");
          const [bytes] = await Promise.all([fetchFile(name), start()]);
          return post("load", { name, bytes }).answer;
        }),
      );

    // A model of the reader's own, from a file: it can be asked by this name, if it is one.
    const add = async (name, bytes, signal) => {
      await until(signal, start());
      adopt(name, await until(signal, post("load", { name, bytes }).answer));
    };

    // The worker does something of which parts may come before the answer. The signal stops it, begun or not: then neither
    // part nor answer comes.
    const run = async (action, question, { signal, onPart }) => {
      await until(signal, start());
      const { job, answer } = post(action, question, onPart);
      signal.addEventListener("abort", () => jobs.delete(job) && worker.postMessage({ action: "stop", target: job }));
      return until(signal, answer);
    };

    // The same of the model `question.name`, which is loaded first.
    const ask = async (action, question, { signal, onPart }) => {
      await load(question.name, signal);
      return run(action, question, { signal, onPart });
    };

    // A model that the worker has made itself, or that the reader has brought, can be asked by this name.
    const adopt = (name, config) => {
      own.add(name);
      loaded.set(name, Promise.resolve(config));
    };

    // Such a model is needed no more.
    const forget = (name) => {
      loaded.delete(name);
      worker?.postMessage({ action: "forget", name });
    };

    // A record: JSON.
    const read = (name, signal = new AbortController().signal) =>
      until(signal, once(files, name, async () => JSON.parse(new TextDecoder().decode(await fetchFile(name)))));

    const close = () => worker?.terminate();

    return { load, add, adopt, forget, run, ask, read, close };
  };
})();
