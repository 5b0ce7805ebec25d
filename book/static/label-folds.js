// What unfolds the pages under a page, in the sidebar, is an arrow without words: it is read out with
// the name of that page.
window.addEventListener("DOMContentLoaded", () => {
  for (const arrow of document.querySelectorAll("summary > .toctree-toggle")) {
    const page = arrow.closest("li").querySelector("a");
    arrow.parentElement.setAttribute("aria-label", `Pages under ${page.textContent.trim()}`);
  }
});
