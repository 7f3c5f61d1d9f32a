// Between a widget and the engine's worker. `source()` promises the engine's text, `fetchModel(name)` a model's bytes: in the
// book both come from scripts, in Jupyter and Colab from the kernel.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});

  minigpt.bridge = (source, fetchModel) => {
    const loaded = new Map(), jobs = new Map();
    let starting = null, worker = null, lastJob = 0;

    const start = () =>
      (starting ??= (async () => {
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

    const load = (name) => {
      if (!loaded.has(name))
        loaded.set(
          name,
          (async () => {
            const [bytes] = await Promise.all([fetchModel(name), start()]);
            return ask("load", { name, bytes }).answer;
          })().catch((error) => {
            loaded.delete(name);
            throw error;
          }),
        );
      return loaded.get(name);
    };

    return { load, ask };
  };
})();
