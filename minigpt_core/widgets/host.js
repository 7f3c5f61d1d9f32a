// Brings each <div data-minigpt="NAME"> of a page to life when the reader comes near it. A classic script, so that it also
// works on a copy of the book that is opened from a folder, where a page may neither fetch nor import.
(() => {
  "use strict";
  const minigpt = (globalThis.minigpt ??= {});
  const here = document.currentScript.src.replace(/[^/]*$/, "");
  const scripts = new Map(), received = new Map();

  const script = (file) => {
    if (!scripts.has(file))
      scripts.set(
        file,
        new Promise((resolve, reject) => {
          const element = document.createElement("script");
          element.src = here + file;
          element.onload = resolve;
          element.onerror = () => {
            scripts.delete(file);
            element.remove();
            reject(new Error(`the file ${file} could not be loaded: load the page again`));
          };
          document.head.append(element);
        }),
      );
    return scripts.get(file);
  };

  // What the script of a model or of a record hands over: gzip in base64, since a classic script holds text.
  minigpt.receive = (name, data) => {
    const text = atob(data), packed = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    received.set(name, new Response(unpacked).arrayBuffer().then((buffer) => new Uint8Array(buffer)));
  };

  const fetchFile = async (name) => {
    await script(`data/${name}.js`);
    return received.get(name);
  };
  const engineText = async () => {
    await script("engine.js");
    return minigpt.engineSource;
  };
  const trainingText = async () => {
    const engine = await engineText();
    await script("training.js");
    return `${engine}\n${minigpt.trainingSource}`;
  };
  const engine = minigpt.bridge(engineText, fetchFile);
  // Training keeps its worker busy: it has one of its own.
  const engines = { trainer: minigpt.bridge(trainingText, fetchFile) };

  const say = (root, sentence) => root.append(Object.assign(document.createElement("p"), { textContent: sentence }));

  const awake = async (root) => {
    const name = root.dataset.minigpt;
    try {
      if (!minigpt.widgets[name]) await script(`${name}.js`);
      minigpt.widgets[name](root, JSON.parse(root.dataset.state ?? "{}"), engines[name] ?? engine, () => {});
    } catch (error) {
      say(root, `This picture could not be brought to life: ${error.message}.`);
    }
  };

  // A question folds what answers it before anybody sees that: it is awake from the start, its script is one of the page.
  const [early, roots] = ["[data-minigpt=predict]", "[data-minigpt]:not([data-minigpt=predict])"].map((selector) =>
    document.querySelectorAll(selector));
  addEventListener("DOMContentLoaded", () => early.forEach(awake));

  const lacks = ["IntersectionObserver", "DecompressionStream"].find((name) => !globalThis[name]);
  if (lacks) {
    for (const root of roots) say(root, `This browser lacks ${lacks}, which the widget needs: try a newer one.`);
    return;
  }
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries)
        if (isIntersecting) {
          near.unobserve(target);
          awake(target);
        }
    },
    { rootMargin: "300px" },
  );
  for (const root of roots) near.observe(root);
})();
