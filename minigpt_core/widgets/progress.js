// The reader's way through the book: of each chapter how many questions were answered right and how many predictions made, as far
// as this browser remembers. The rows are those of the still table.
(() => {
  "use strict";
  const { minigpt } = globalThis;
  const { make, fill } = minigpt.parts;
  const { recall, forget, keeps } = minigpt.reader;

  minigpt.widgets.progress = (root, { chapters }) => {
    const table = root.querySelector("table"), rows = [...table.tBodies[0].rows];
    const status = make("span", { role: "status" });
    const button = make("button", { type: "button", textContent: "Forget everything" });
    const part = (done, all) => (all ? `${done === all ? "✓ " : ""}${done} of ${all}` : "–");
    const show = () => {
      chapters.forEach(({ name, questions, predictions }, i) => {
        const right = questions.filter((id) => recall("quiz", name, id) === "right").length;
        const made = predictions.filter((id) => typeof recall("predict", id) === "string").length;
        const [, first, second] = rows[i].cells;
        first.textContent = part(right, questions.length);
        second.textContent = part(made, predictions.length);
      });
      status.textContent = "Remembered in this browser only.";
    };
    button.onclick = () => {
      forget();
      show();
      status.textContent = "Forgotten.";
    };
    fill(root, table, make("div", { className: "mg-foot" }, status, button));
    root.classList.add("mg-progress");
    root.style.minHeight = "";
    if (keeps()) {
      show();
      addEventListener("storage", show); // answered in another tab
      addEventListener("pageshow", show); // or on a page that the reader comes back from
    } else {
      status.textContent = "This browser does not let the page remember anything.";
      button.hidden = true;
    }
  };
})();
