// A figure can be looked at from near. On a phone it shrinks to the width of the page, and its words
// with it; a tap shows it at the size at which it was drawn, and lets it scroll.
window.addEventListener("DOMContentLoaded", () => {
  const FINER = 1.8; // a file has 180 dots for what is drawn as 100
  const MARK =
    '<svg viewBox="0 0 20 20" width="18" height="18" fill="none" stroke="currentColor" ' +
    'stroke-width="1.8" aria-hidden="true"><path d="M12 3h5v5M17 3l-6 6M8 17H3v-5M3 17l6-6"/></svg>';

  function enlarge(image) {
    const dialog = document.createElement("dialog");
    dialog.className = "zoomed";
    dialog.setAttribute("aria-label", "The figure, enlarged");
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    close.addEventListener("click", () => dialog.close());
    const large = document.createElement("img");
    large.alt = image.alt;
    large.src = image.src;
    const drawn = image.naturalWidth / FINER;
    large.width = Math.max(drawn, Math.min(image.naturalWidth, 0.94 * window.innerWidth));
    dialog.append(close, large);
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // beside the figure
    });
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  for (const image of document.querySelectorAll(".bd-article :is(.cell_output, figure) img")) {
    if (image.closest("a:not(.image-reference), button, .frames, digit-pad, .zoomable")) continue;
    const frame = document.createElement("span");
    frame.className = "zoomable";
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", "Enlarge the figure");
    button.innerHTML = MARK;
    // Without this script the figure is a link to its file.
    (image.closest("a.image-reference") ?? image).replaceWith(frame);
    frame.append(image, button);
    for (const part of [image, button]) part.addEventListener("click", () => enlarge(image));
  }
});
