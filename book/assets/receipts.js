// A link to a folded cell unfolds it, in browsers that do not do so by themselves.
(() => {
  const unfold = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const receipt = target?.closest("details.receipt");
    if (receipt && !receipt.open) {
      receipt.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
