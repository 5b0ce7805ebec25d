// The page on the articles: choose which verdicts are shown. Without this script all are.
window.addEventListener("DOMContentLoaded", () => {
  "use strict";
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // A claim is a term of a list with its answer; what it says comes after its identifier and badge.
  const claims = [...document.querySelectorAll("dt:has([id^='claim-'])")].map((term) => ({
    term,
    answer: term.nextElementSibling,
    verdict: term.querySelector(".sd-badge").textContent,
  }));
  if (!claims.length) return;
  // In the order in which the page explains them.
  const explained = document.querySelectorAll("#verdicts-at-a-glance dt .sd-badge");
  const counts = new Map([...explained].map((badge) => [badge.textContent, 0]));
  for (const { verdict } of claims) counts.set(verdict, counts.get(verdict) + 1);
  // A heading stays while anything under it does.
  const sections = [...document.querySelectorAll("section[id^='article-00'] section")].filter((section) =>
    section.querySelector("[id^='claim-']"),
  );

  const boxes = [...counts.keys()].map((verdict) =>
    make("input", { type: "checkbox", checked: true, value: verdict }),
  );
  const said = make("p", { role: "status" });

  function show() {
    const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const { term, answer, verdict } of claims) {
      const visible = chosen.has(verdict);
      term.hidden = answer.hidden = !visible;
      shown += visible;
    }
    for (const section of sections) {
      section.hidden = !section.querySelector("dt:has([id^='claim-']):not([hidden])");
    }
    said.textContent = `${shown} of ${claims.length} claims are shown.`;
  }

  function choose(wanted) {
    for (const box of boxes) box.checked = wanted(box.value);
    show();
  }

  // Whoever follows a link to a claim sees it, whatever was chosen before.
  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target?.id.startsWith("claim-") || !target.closest("[hidden]")) return;
    choose(() => true);
    target.scrollIntoView();
  }

  const everything = make("button", { type: "button" }, "All");
  everything.addEventListener("click", () => choose(() => true));
  const faults = make("button", { type: "button" }, "All but the right ones");
  faults.addEventListener("click", () => choose((verdict) => verdict !== "right"));
  const labels = boxes.map((box) => make("label", {}, box, ` ${box.value} (${counts.get(box.value)})`));
  const form = make(
    "fieldset",
    { className: "claims-filter" },
    make("legend", {}, "Show the claims that are"),
    ...labels,
    everything,
    faults,
    said,
  );
  form.addEventListener("change", show);
  addEventListener("hashchange", reveal);
  document.getElementById("article-000").before(form);
  show();
  reveal();
});
