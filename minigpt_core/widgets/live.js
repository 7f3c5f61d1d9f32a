// The widget in Jupyter and Colab: the same scripts as in the book, but files come from the kernel when they are first needed,
// and what the reader does is told to the kernel. A widget may be shown in several places; they have one engine.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});

  minigpt.live = (name, engineSource) => () => {
    let engine = null;
    return {
      initialize({ model }) {
        const waiting = new Map();
        model.on("msg:custom", (message, [bytes]) => {
          const { resolve, reject } = waiting.get(message.name);
          if (message.refused) reject(new Error(message.refused));
          else resolve(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
        });
        engine = minigpt.bridge(
          async () => engineSource,
          (file) =>
            new Promise((resolve, reject) => {
              waiting.set(file, { resolve, reject });
              model.send({ want: file });
            }),
        );
        return engine.close;
      },

      render({ model, el }) {
        const root = document.createElement("div");
        el.append(root);
        let telling = false, shown = null;
        const tell = (changes) => {
          telling = true;
          for (const [trait, value] of Object.entries(changes)) model.set(trait, value);
          telling = false;
          model.save_changes();
        };
        // Anew, since Python or another place has turned a knob; what was shown before has no say any more.
        const show = () => {
          if (telling) return;
          const last = (shown = {});
          minigpt.widgets[name](root, model.get("state"), engine, (changes) => last === shown && tell(changes));
        };
        model.on("change:state", show);
        show();
        return () => model.off("change:state", show);
      },
    };
  };
})();
