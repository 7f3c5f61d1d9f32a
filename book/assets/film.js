// The film plays when the reader asks for it, once, for less than five seconds: what it ends with is the picture that stood there.
(() => {
  "use strict";
  for (const button of document.querySelectorAll("button[data-film]")) {
    let played = 0;
    button.hidden = false;
    button.onclick = () => {
      button.parentElement.querySelector("img").src = `${button.dataset.film}?${++played}`; // a new address plays from its beginning
    };
  }
})();
