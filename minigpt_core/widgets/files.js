// Files that the reader brings to a panel: chosen, or let go over it.
(() => {
  "use strict";
  const { parts } = globalThis.minigpt;
  const { make, field } = parts;
  const LARGEST_MODEL = 64e6; // bytes

  // What a file holds.
  const bytesOf = async (file) => {
    try {
      return new Uint8Array(await file.arrayBuffer());
    } catch {
      throw new Error(`${file.name} could not be read: choose one file, not a folder`);
    }
  };

  // A field for a file, which can be the same one twice.
  const fileField = (id, title, accept, take) => {
    const input = make("input", { type: "file", id, accept });
    input.onclick = () => (input.value = "");
    input.onchange = () => input.files.length && take(input.files[0]);
    const row = field(title, input);
    row.classList.add("mg-file");
    return row;
  };

  // `take` gets a file that is let go over the panel, unless another one inside it has taken it. A text goes into its field.
  const droppable = (panel, take) => {
    const hover = (over) => panel.classList.toggle("mg-drop", over);
    panel.ondragover = (event) => {
      if (event.defaultPrevented || !event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      hover(true);
    };
    panel.ondragleave = ({ relatedTarget }) => panel.contains(relatedTarget) || hover(false);
    panel.ondrop = (event) => {
      const [file] = event.dataTransfer.files;
      hover(false);
      if (event.defaultPrevented || !file) return;
      event.preventDefault();
      take(file);
    };
  };

  Object.assign(parts, { LARGEST_MODEL, bytesOf, fileField, droppable });
})();
