// The page "Your reading": what is remembered, chapter by chapter, and what the reader can do with it.
(() => {
  "use strict";
  const place = document.getElementById("reading-controls");
  if (!place) return;
  const root = document.documentElement.dataset.content_root;

  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  const TROUBLE = {
    "": "",
    forbidden: "Your browser lets these pages keep nothing here, so all of this is forgotten when you leave the page.",
    unreadable:
      "What your browser keeps for this book cannot be read, perhaps since it comes from a newer edition, and is left as it is. “Forget all” begins anew.",
    full: "Your browser has no room to keep more, so what is new is forgotten when you leave the page. Export it first.",
  };

  // --- Progress ----------------------------------------------------------------------------------

  const HEADS = ["Chapter", "Sections read", "Quiz", "Exercises"];
  const head = make("thead", {}, make("tr", {}, ...HEADS.map((text) => make("th", { scope: "col" }, text))));
  const body = make("tbody", {});
  const caption = make("caption", { className: "visually-hidden" }, "How far you are in each chapter");
  const table = make("table", { className: "table reading-progress" }, caption, head, body);
  const nothing = make("p", {}, "Nothing yet. Read a little, answer a question, and come back.");

  function row(chapter) {
    const { done, all } = READING.progress(chapter);
    const link = make("a", { href: `${root}${chapter.page}.html` }, chapter.title);
    const cell = (part, more = "") =>
      make(
        "td",
        { className: done[part] === all[part] ? "reading-whole" : "" },
        `${done[part]}\u00a0of\u00a0${all[part]}${more}`,
      );
    const right = done.questions ? `, ${done.right}\u00a0right` : "";
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, link),
      cell("sections"),
      cell("questions", right),
      cell("exercises"),
    );
  }

  // --- Controls ----------------------------------------------------------------------------------

  const said = make("p", { className: "reading-said", role: "status" });
  const warning = make("p", { className: "reading-trouble" });

  const name = make("input", { id: "reading-name", type: "text", maxLength: 80, autocomplete: "name" });
  name.addEventListener("change", () =>
    READING.change((memory) => {
      memory.name = name.value.trim();
    }),
  );

  const exportAll = make("button", { type: "button" }, "Export");
  exportAll.addEventListener("click", () => {
    const memory = READING.recall();
    const json = JSON.stringify(memory, null, 1);
    const href = `data:application/json;charset=utf-8,${encodeURIComponent(json)}`;
    const who = memory.name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    const file = ["mnist-lab", who, READING.now().slice(0, 10)].filter(Boolean).join("-");
    make("a", { href, download: `${file}.json` }).click();
    said.textContent = `Written to ${file}.json, among your downloads.`;
  });

  const chooser = make("input", { type: "file", accept: ".json,application/json", hidden: true });
  const importFile = make("button", { type: "button" }, "Import");
  importFile.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", async () => {
    const [file] = chooser.files;
    if (!file) return;
    try {
      await READING.addFile(file);
      said.textContent = `${file.name} was added to what is remembered here.`;
    } catch (error) {
      const why = error instanceof READING.Refused ? error.message : "it cannot be read";
      said.textContent = `${file.name} was not taken, and nothing has changed: ${why}.`;
    }
    chooser.value = "";
  });

  const forget = make("button", { type: "button", className: "reading-forget" }, "Forget all");
  forget.addEventListener("click", () => {
    if (!window.confirm("Forget your places, answers and ticks in this browser? This cannot be undone.")) return;
    READING.forget();
    said.textContent = "All is forgotten.";
  });

  // --- All of it -----------------------------------------------------------------------------------

  function show() {
    const begun = READING_CONTENTS.some((chapter) => READING.progress(chapter).share);
    body.replaceChildren(...READING_CONTENTS.map(row));
    table.hidden = !begun;
    nothing.hidden = begun;
    name.value = READING.recall().name;
    warning.textContent = TROUBLE[READING.trouble()];
    warning.hidden = !warning.textContent;
  }

  const label = make("label", { htmlFor: "reading-name" }, "Your name, if a teacher shall read the export:");
  place.replaceChildren(
    warning,
    nothing,
    make("div", { className: "pst-scrollable-table-container" }, table),
    make("p", { className: "reading-name" }, label, " ", name),
    make("p", { className: "reading-buttons" }, exportAll, importFile, chooser, forget),
    said,
  );
  show();
  document.addEventListener("reading", show);
})();
