// A link shows what it leads to, in a card beside it: under the mouse, with the keyboard's focus, and at
// the first touch (a second one follows it). The texts lie in the page, in <template id="hover-cards">,
// each under the address of its link; book/_ext/hover_cards.py writes them.
{
  const OPENS_AFTER = 300; // milliseconds: a mouse on its way elsewhere opens nothing
  const CLOSES_AFTER = 250; // and one on its way into the card may leave the link
  const GAP = 6; // pixels, to the link and to the edges of the screen

  const texts = new Map();
  const card = Object.assign(document.createElement("div"), { id: "hover-card", popover: "auto" });
  let link = null; // the one whose card is open
  let wanted = null; // the one whose card will be, soon
  let timer = 0;

  const linkAt = (element) => {
    const found = element.closest?.(".bd-article a[href]:not(.headerlink)");
    return found && texts.has(found.getAttribute("href")) ? found : null;
  };

  const place = (box) => {
    const { clientWidth: width, clientHeight: height } = document.documentElement;
    const below = height - box.bottom - 2 * GAP;
    const above = box.top - 2 * GAP;
    card.style.maxHeight = `${Math.max(below, above)}px`;
    const under = card.offsetHeight <= below || below >= above;
    const left = Math.max(GAP, Math.min(box.left, width - card.offsetWidth - GAP));
    card.style.left = `${left + scrollX}px`;
    card.style.top = `${(under ? box.bottom + GAP : box.top - GAP - card.offsetHeight) + scrollY}px`;
  };

  // A link may be broken over two lines: the card belongs to the one under the mouse.
  const open = (to, y = 0, touched = false) => {
    if (link === to) return;
    close();
    link = to;
    card.replaceChildren(texts.get(to.getAttribute("href")).cloneNode(true));
    if (touched) {
      card.setAttribute("role", "dialog");
      card.setAttribute("aria-label", to.textContent);
      card.append(Object.assign(document.createElement("a"), { href: to.href, textContent: "Open" }));
    } else {
      card.setAttribute("role", "tooltip");
      card.removeAttribute("aria-label"); // it would be read out in place of what the card says
      to.setAttribute("aria-describedby", card.id);
    }
    const boxes = [...to.getClientRects()];
    const box = boxes.find((one) => one.top <= y && y <= one.bottom) ?? boxes[0];
    card.showPopover();
    place(box);
    const set = card.querySelector(".math") && window.MathJax?.typesetPromise?.([card]);
    set?.then(() => link === to && place(box));
  };

  const close = () => {
    clearTimeout(timer);
    wanted = null;
    if (card.matches(":popover-open")) card.hidePopover();
  };

  const want = (to, y) => {
    if (to === wanted) return;
    wanted = to;
    clearTimeout(timer);
    if (to === link) return;
    timer = setTimeout(() => {
      if (!to) return close();
      open(to, y);
      wanted = to;
    }, to ? OPENS_AFTER : CLOSES_AFTER);
  };

  const listen = () => {
    for (const text of document.getElementById("hover-cards")?.content.children ?? []) {
      texts.set(text.dataset.for, text);
    }
    if (texts.size === 0 || !card.showPopover) return; // an old browser: links are links
    (document.querySelector("main") ?? document.body).append(card);
    let finger = false; // whether it is a finger that points
    let before = null; // the link whose card was open when it came down

    // Whatever closes it; a click elsewhere is the browser's own way.
    card.addEventListener("beforetoggle", (event) => {
      if (event.newState === "open") return;
      link?.removeAttribute("aria-describedby");
      link = wanted = null;
    });
    document.addEventListener("pointerover", (event) => {
      if (event.pointerType === "touch") return;
      want(card.contains(event.target) ? link : linkAt(event.target), event.clientY);
    });
    document.documentElement.addEventListener("pointerleave", () => want(null));
    document.addEventListener("focusin", (event) => {
      const to = linkAt(event.target);
      if (to?.matches(":focus-visible")) open(to);
      else if (!card.contains(event.target)) close();
    });
    // The browser's own Escape does not come through: the theme keeps it for the search.
    document.addEventListener("keydown", (event) => event.key === "Escape" && close());
    document.addEventListener(
      "pointerdown",
      (event) => {
        finger = event.pointerType === "touch";
        before = link;
      },
      true,
    );
    document.addEventListener("click", (event) => {
      const to = linkAt(event.target);
      if (!finger || !to || to === before) return;
      event.preventDefault();
      open(to, event.clientY, true);
    });
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", listen);
  else listen();
}
