// The widget in Jupyter and Colab: the same scripts as in the book, but files come from the kernel when they are first needed,
// and what the reader does is told to the kernel.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});

  minigpt.live = (name, engineSource) => ({
    render({ model, el }) {
      const waiting = new Map();
      const hear = (message, [bytes]) => {
        const { resolve, reject } = waiting.get(message.name);
        if (message.refused) reject(new Error(message.refused));
        else resolve(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
      };
      const engine = minigpt.bridge(
        async () => engineSource,
        (file) =>
          new Promise((resolve, reject) => {
            waiting.set(file, { resolve, reject });
            model.send({ want: file });
          }),
      );
      const root = document.createElement("div");
      el.append(root);
      let telling = false;
      const tell = (changes) => {
        telling = true;
        for (const [trait, value] of Object.entries(changes)) model.set(trait, value);
        telling = false;
        model.save_changes();
      };
      const show = () => telling || minigpt.widgets[name](root, model.get("state"), engine, tell);
      model.on("msg:custom", hear);
      model.on("change:state", show); // Python has turned a knob
      show();
      return () => {
        model.off("msg:custom", hear);
        model.off("change:state", show);
      };
    },
  });
})();
