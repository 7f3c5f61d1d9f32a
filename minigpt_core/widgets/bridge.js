// Between a widget and the engine's worker. `source()` promises the engine's text, `fetchFile(name)` the bytes of a model or of
// a record: in the book both come from scripts, in Jupyter and Colab from the kernel.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});

  minigpt.bridge = (source, fetchFile) => {
    const loaded = new Map(), files = new Map(), jobs = new Map();
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
        worker.onmessage = ({ data: { job, token, done, failed } }) => {
          const { onToken, resolve, reject } = jobs.get(job);
          if (token) return onToken(token);
          jobs.delete(job);
          if (failed === undefined) resolve(done);
          else reject(new Error(failed));
        };
      })().catch((error) => {
        starting = null;
        throw error;
      }));

    // A promise of the engine's answer, with the number of the job, by which it can be stopped.
    const ask = (action, question, onToken) => {
      const job = ++lastJob;
      const answer = new Promise((resolve, reject) => jobs.set(job, { onToken, resolve, reject }));
      worker.postMessage({ job, action, ...question });
      return { job, answer };
    };

    const load = (name) =>
      once(loaded, name, async () => {
        const [bytes] = await Promise.all([fetchFile(name), start()]);
        return ask("load", { name, bytes }).answer;
      });

    // A record: JSON.
    const read = (name) => once(files, name, async () => JSON.parse(new TextDecoder().decode(await fetchFile(name))));

    const close = () => worker?.terminate();

    return { load, ask, read, close };
  };
})();
