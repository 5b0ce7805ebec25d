// A quiz's box for a number has its words beside it, and nothing that ties the two: do it here, so
// that the words are read out with the box. (jupyterquiz writes both, once the page has loaded.)
window.addEventListener("load", () => {
  const label = () => {
    for (const words of document.querySelectorAll(".Quiz label.InpLabel:not([for])")) {
      const box = words.parentElement.querySelector("input");
      if (box) words.htmlFor = box.id;
    }
  };
  label();
  for (const cell of document.querySelectorAll(".cell_output")) {
    if (cell.querySelector("script")) new MutationObserver(label).observe(cell, { childList: true, subtree: true });
  }
});
