// What the reader brings to the panel that trains, and takes away: texts, models as files, and the model that the browser keeps.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, button, field, capital, sentence, count, later, alone, patiently, bytesOf, fileField } = minigpt.parts;
  const LONGEST = 5e6; // bytes or characters of a text
  const TYPED = 100_000; // letters; with more a field is slow

  const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
  const tooLong = (name, many, unit) =>
    new Error(`${name} has ${count(many, unit)}, and this page reads up to ${count(LONGEST, unit)}: cut it, or train on it with Python (chapter 16)`);

  // A file for the reader.
  const save = (bytes, name) => {
    const link = make("a", { href: URL.createObjectURL(new Blob([bytes])), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  // The one model that this browser keeps, so that a closed tab loses nothing: `action` gets the store that it is in, and
  // the promise brings what it asked for. A browser may refuse.
  const shelf = (mode, action) =>
    new Promise((resolve, reject) => {
      const opened = indexedDB.open("minigpt", 1);
      opened.onupgradeneeded = () => opened.result.createObjectStore("models");
      opened.onerror = () => reject(opened.error);
      opened.onsuccess = () => {
        try {
          const change = opened.result.transaction("models", mode), asked = action(change.objectStore("models"));
          change.oncomplete = () => resolve(asked.result);
          change.onabort = () => reject(change.error);
        } catch (error) {
          reject(error); // the page did not make what lies there
        }
        opened.result.close(); // as soon as that is done
      };
    });

  // The reader's own text: pasted, or from a file. It is looked at before it is learned. `changed` hears of another one.
  class OwnText {
    constructor(id, root, engine, changed) {
      Object.assign(this, { engine, changed, long: null });
      this.area = make("textarea", { id: `${id}-own`, rows: 5, oninput: later(root, () => this.look(), 300) });
      this.area.onpaste = (event) => {
        const text = event.clipboardData.getData("text/plain"), { value, selectionStart, selectionEnd } = this.area;
        if (text.length + value.length <= TYPED) return;
        event.preventDefault();
        const whole = value.slice(0, selectionStart) + text.replace(/\r\n?/g, "\n") + value.slice(selectionEnd); // as a field has it
        this.alone((signal) => this.hold("your own text", "my-text", whole, signal));
      };
      this.begins = make("p", { className: "mg-begins" });
      this.other = button("Take another text", () => {
        this.letGo();
        this.area.focus();
      });
      this.typed = field("your own text: paste it here", this.area);
      this.held = make("div", { hidden: true }, this.begins, this.other);
      const title = "or choose a text file, or drop it on this panel";
      const file = fileField(`${id}-file`, title, ".txt,.md,text/plain", (file) => this.take(file));
      this.guesses = make("div", { className: "mg-buttons" });
      this.told = make("p", { className: "mg-status", role: "status" });
      this.root = make("div", { className: "mg-paste" }, this.typed, this.held, file, this.guesses, this.told);
      this.alone = alone(root, (error) => (this.told.textContent = sentence(error)));
    }

    // The text, what it is called, and how the file of a model is called that learned it; or nothing.
    get value() {
      const typed = { label: "your own text", file: "my-text", text: this.area.value };
      return this.long ?? (typed.text.trim() ? typed : null);
    }

    letGo() {
      this.long = null;
      this.held.hidden = true;
      this.typed.hidden = false;
      this.told.textContent = "";
      this.guesses.replaceChildren();
      this.changed();
    }

    look() {
      return this.alone((signal) => this.examine(signal));
    }

    async examine(signal) {
      this.told.textContent = "";
      if (!this.value) return;
      const asked = this.engine.run("look", { text: this.value.text }, { signal });
      const { characters, kinds, advice } = await patiently(this.told, "Looking at the text…", asked);
      const said = [`${count(characters, "character")}, ${kinds.toLocaleString("en")} different`, ...advice];
      this.told.textContent = said.map((each) => `${capital(each)}.`).join(" ");
    }

    take(file) {
      return this.alone(async (signal) => {
        if (file.size > LONGEST) throw tooLong(`the file ${file.name}`, file.size, "byte");
        await this.decode(file.name, await bytesOf(file), signal);
      });
    }

    // Where the encoding is not known, the reader sees what each would read, and chooses.
    async decode(name, bytes, signal, encoding) {
      const asked = this.engine.run("decode", { bytes, encoding }, { signal });
      const { text, refused, guesses = [] } = await patiently(this.told, "Reading the file…", asked);
      const again = (guess) => () => this.alone((signal) => this.decode(name, bytes, signal, guess));
      this.guesses.replaceChildren(...guesses.map(({ encoding, reads }) => button(`${encoding}: “${reads}”`, again(encoding))));
      if (refused) throw new Error(refused);
      await this.hold(name, name.replace(/\.[^.]*$/, ""), text, signal);
      if (encoding) this.other.focus(); // the button that was pressed is gone
    }

    // A long text stays out of the field: its beginning is enough to see.
    async hold(label, file, text, signal) {
      if (text.length > LONGEST) throw tooLong(label, text.length, "character");
      this.long = { label, file, text };
      this.begins.textContent = `Text: ${label}. It begins: “${text.trimStart().slice(0, 160)}…”`;
      this.held.hidden = false;
      this.typed.hidden = true;
      this.changed();
      await this.examine(signal);
    }
  }

  minigpt.own = { OwnText, save, shelf, size };
})();
