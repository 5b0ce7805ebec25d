// The card of a measured number: where it was measured, when and how well. It shows while a mouse is
// over the number or the card, while the number has the focus of the keyboard, and after a tap (a
// second one follows the link). Escape takes it away. Without this script a number is a link.
window.addEventListener("DOMContentLoaded", () => {
  const GAP = 6; // pixels between number and card, and between card and edge
  let open = null; // { link, card }
  let waiting = 0;
  let pointer = "mouse";

  const place = () => {
    if (!open) return;
    const { link, card } = open;
    const at = link.getBoundingClientRect();
    const { width, height } = card.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const left = Math.max(GAP, Math.min(at.left, room - width - GAP));
    const below = at.bottom + GAP;
    const fits = below + height <= window.innerHeight || at.top - GAP < height;
    card.style.left = `${left}px`;
    card.style.top = `${fits ? below : at.top - GAP - height}px`;
  };

  const hide = () => {
    clearTimeout(waiting);
    if (open) open.card.hidePopover();
    open = null;
  };

  const show = (link, card) => {
    clearTimeout(waiting);
    if (open?.link === link) return;
    hide();
    open = { link, card };
    card.showPopover();
    place();
  };

  const later = (work) => {
    clearTimeout(waiting);
    waiting = setTimeout(work, 200);
  };

  for (const link of document.querySelectorAll("a[data-evidence]")) {
    const card = document.getElementById(link.dataset.evidence);
    if (!card?.showPopover) continue; // an old browser: the link remains
    for (const element of [link, card]) {
      element.addEventListener("pointerenter", (event) => {
        if (event.pointerType === "touch") return;
        if (element === card) clearTimeout(waiting);
        else later(() => show(link, card));
      });
      element.addEventListener("pointerleave", (event) => {
        if (event.pointerType !== "touch") later(hide);
      });
    }
    link.addEventListener("focus", () => {
      if (link.matches(":focus-visible")) show(link, card);
    });
    link.addEventListener("blur", (event) => {
      if (open?.link === link && !card.contains(event.relatedTarget)) hide();
    });
    link.addEventListener("click", (event) => {
      if (pointer !== "touch" || open?.link === link) return;
      event.preventDefault();
      show(link, card);
    });
  }

  document.addEventListener("pointerdown", (event) => {
    pointer = event.pointerType;
    if (open && !open.card.contains(event.target) && !open.link.contains(event.target)) hide();
  });
  document.addEventListener("keydown", (event) => {
    pointer = "keyboard";
    if (event.key === "Escape") hide();
  });
  window.addEventListener("scroll", place, { capture: true, passive: true });
  window.addEventListener("resize", place);
});
