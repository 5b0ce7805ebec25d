// What a reader sees of the memory in reading-memory.js: marks beside the chapters they have begun,
// where to continue, their answers in the quiz, their ticks under the exercises. A first visit shows
// nothing of it but the field for codes, and nothing ever scrolls by itself.
// Which page this is, is known from here on, and not before.
window.addEventListener("DOMContentLoaded", () => {
  "use strict";
  const root = document.documentElement.dataset.content_root;
  const page = DOCUMENTATION_OPTIONS.pagename;
  const here = READING_CONTENTS.find((chapter) => chapter.page === page);
  const title = document.querySelector(".bd-article h1");

  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const addressOf = ({ chapter, section }) => `${root}${chapter.page}.html${section && `#${section}`}`;
  const nameOf = ({ chapter, section }) =>
    chapter.title + (section ? `, “${chapter.sections[section]}”` : "");

  // --- Marks beside the chapters ----------------------------------------------------------------

  function markChapters() {
    const links = [...document.querySelectorAll(".bd-sidebar-primary li > a[href]")];
    for (const chapter of READING_CONTENTS) {
      const { share } = READING.progress(chapter);
      for (const link of links.filter((a) => new URL(a.href).pathname.endsWith(`/${chapter.page}.html`))) {
        link.querySelector(".reading-mark")?.remove();
        if (!share) continue;
        const said = share === 1 ? "done" : `${Math.max(1, Math.floor(share * 100))} % done`;
        const mark = make("span", { className: "reading-mark", title: said });
        mark.classList.toggle("reading-done", share === 1);
        mark.style.setProperty("--share", share);
        mark.append(make("span", { className: "visually-hidden" }, ` (${said})`));
        link.append(mark);
      }
    }
  }

  // --- Where to continue: said once, when a page is opened ---------------------------------------

  function offerToContinue() {
    const place = READING.placeToContinue();
    if (place && place.chapter !== here) {
      const offer = () =>
        make(
          "p",
          { className: "reading-continue" },
          "Continue: ",
          make("a", { href: addressOf(place) }, nameOf(place)),
        );
      document.querySelector(".bd-sidebar-primary .bd-links .bd-toc-item")?.prepend(offer());
      if (page === "book/index") title?.after(offer());
    }
    const section = here && READING.ofChapter(here.name).place?.section;
    const later = section && Object.keys(here.sections).indexOf(section) > 0;
    if (later && !location.hash) {
      const link = make("a", { href: `#${section}` }, here.sections[section]);
      title?.after(make("p", { className: "reading-continue" }, "You were at ", link, "."));
    }
  }

  // --- Where the reader is, and what they have read ------------------------------------------------

  function followReader() {
    const headings = Object.keys(here.sections)
      .map((id) => document.getElementById(id)?.querySelector("h2"))
      .filter(Boolean);
    const idOf = (heading) => heading.closest("section").id;
    // A section has been read when what follows it has come up from below: who jumps to a heading
    // has it at the top of the screen, and has not read what stands before it.
    const ends = new Map(headings.slice(1).map((next, i) => [next, idOf(headings[i])]));
    const footer = document.querySelector(".prev-next-footer");
    if (footer && headings.length) ends.set(footer, idOf(headings.at(-1)));
    const observer = new IntersectionObserver(
      (entries) => {
        const seen = READING.ofChapter(here.name).seen;
        const met = entries.filter((entry) => entry.isIntersecting).map((entry) => ends.get(entry.target));
        const fresh = met.filter((id) => !seen[id]);
        if (!fresh.length) return;
        READING.changeChapter(here.name, (chapter) => {
          for (const id of fresh) chapter.seen[id] = READING.now();
        });
      },
      { rootMargin: "-25% 0px 0px 0px" },
    );
    for (const end of ends.keys()) observer.observe(end);

    let waiting;
    const notePlace = () => {
      const passed = headings.filter((h) => h.getBoundingClientRect().top < innerHeight * 0.4);
      if (!passed.length) return;
      const section = idOf(passed.at(-1));
      READING.changeChapter(here.name, (chapter) => {
        chapter.place = { section, date: READING.now() };
      });
    };
    window.addEventListener(
      "scroll",
      () => {
        clearTimeout(waiting);
        waiting = setTimeout(notePlace, 1000); // once the reader stays
      },
      { passive: true },
    );
  }

  // --- The quiz: jupyterquiz shows it, and keeps its state in classes and data attributes ----------

  const labelsOf = (quiz) => [...quiz.querySelectorAll("label.MCButton")];
  const boxOf = (quiz) => quiz.querySelector("input.Input-text");

  // jupyterquiz shuffles the answers; the feedback tells which is which.
  function answersOf(quiz) {
    const question = window[`questions${quiz.parentElement.id}`]?.[quiz.dataset.qnum];
    return new Map(labelsOf(quiz).map((label) => [
      label,
      question?.answers.find((answer) => answer.feedback === label.dataset.feedback)?.answer,
    ]));
  }

  function rememberAnswer(quiz, clicked) {
    const id = here.questions[quiz.dataset.qnum];
    const feedback = quiz.querySelector(".Feedback");
    const state = {};
    if (boxOf(quiz)) {
      state.typed = boxOf(quiz).value.slice(0, 40);
      state.right = boxOf(quiz).classList.contains("correctButton");
    } else {
      const answers = answersOf(quiz);
      const marked = labelsOf(quiz).filter((l) => l.matches(".correctButton, .incorrectButton"));
      const { numcorrect, answeredcorrect } = feedback.dataset;
      // The last one last: the feedback is on it.
      state.chosen = [...marked.filter((label) => label !== clicked), clicked]
        .map((label) => answers.get(label))
        .filter(Boolean);
      state.right =
        feedback.classList.contains("correct") && (numcorrect <= 1 || answeredcorrect === numcorrect);
    }
    if (!id || !(state.typed || state.chosen?.length)) return;
    READING.changeChapter(here.name, (chapter) => {
      const tries = (chapter.quiz[id]?.tries ?? 0) + 1;
      chapter.quiz[id] = { ...state, tries, date: READING.now() };
    });
  }

  // Answer a question as the reader did. The events do not bubble, so they are not taken for new
  // answers, and do nothing else that a click does; above all, nothing gets the focus.
  function answerAgain(quiz, { chosen = [], typed }) {
    const box = boxOf(quiz);
    if (box && typed) {
      const stop = document.createElement("span"); // a right number moves on to the question behind it
      quiz.after(stop);
      box.value = typed;
      box.dispatchEvent(new KeyboardEvent("keypress", { key: "Enter", keyCode: 13, charCode: 13 }));
      stop.remove();
    }
    const answers = [...answersOf(quiz)];
    for (const text of chosen) {
      const [label] = answers.find(([, answer]) => answer === text) ?? [];
      if (!label) continue; // the question has other answers now
      const prevent = (event) => event.preventDefault();
      label.addEventListener("click", prevent, { once: true });
      label.dispatchEvent(new Event("click", { cancelable: true }));
      label.querySelector("input").checked = true;
    }
  }

  function tendQuiz() {
    const answered = new Set();
    const remember = (target) => {
      const quiz = target.closest("div.Quiz");
      answered.add(quiz);
      rememberAnswer(quiz, target.closest("label"));
    };
    document.addEventListener("click", ({ target }) => {
      if (target.matches(".Quiz .MCButton input")) remember(target); // a click on the label leads here
    });
    document.addEventListener("keypress", ({ key, target }) => {
      if (key === "Enter" && target.matches(".Quiz input.Input-text")) remember(target);
    });
    const restore = () => {
      const kept = READING.ofChapter(here.name).quiz;
      for (const quiz of document.querySelectorAll("div.Quiz")) {
        const answer = kept[here.questions[quiz.dataset.qnum]];
        if (answer && !answered.has(quiz)) answerAgain(quiz, answer);
      }
    };
    // jupyterquiz has the feedback's formulas set at once, so MathJax has to be ready.
    window.addEventListener("load", async () => {
      await window.MathJax?.startup?.promise;
      restore();
    });
  }

  function noteQuiz() {
    const last = [...document.querySelectorAll("div.Quiz")].at(-1);
    if (!last) return;
    const { done, all } = READING.progress(here);
    document.querySelector(".reading-quiz")?.remove();
    if (!done.questions) return;
    last.closest(".cell").after(
      make(
        "p",
        { className: "reading-quiz" },
        `${done.questions} of ${all.questions} answered, ${done.right} right. Kept in this browser only: `,
        make("a", { href: `${root}book/your_reading.html` }, "your reading"),
        ".",
      ),
    );
  }

  // --- The exercises: ticked with the codes that `check` prints ------------------------------------

  function tendExercises() {
    const section = document.getElementById("exercises");
    if (!section || !Object.keys(here.exercises).length) return;
    const field = make("input", {
      id: "reading-code",
      type: "text",
      size: 8,
      autocomplete: "off",
      autocapitalize: "characters",
      spellcheck: false,
    });
    const said = make("output", { htmlFor: "reading-code" });
    const label = make("label", { htmlFor: "reading-code" });
    label.append("Solved one? Paste the code that ", make("code", {}, "check"), " printed:");
    const form = make("form", { className: "reading-codes" }, label, " ", field, " ");
    form.append(make("button", { type: "submit" }, "Tick it"), said, make("ul", { ariaLabel: "Solved" }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      said.textContent = tick(field.value);
      field.value = "";
    });
    section.append(form);
  }

  // Tick all exercises whose codes stand in a text, such as a line that `check` printed.
  function tick(pasted) {
    const codes = new Set(pasted.toUpperCase().match(/\b[B-DF-HJ-NP-TV-XZ]{4}\b/g));
    const found = READING_CONTENTS.flatMap((chapter) =>
      Object.entries(chapter.exercises)
        .filter(([, code]) => codes.has(code))
        .map(([exercise]) => ({ chapter, exercise })),
    );
    if (!found.length) return "That is no code of this book: it has four letters, as in “Code: BCDF.”";
    for (const { chapter, exercise } of found) {
      READING.changeChapter(chapter.name, (kept) => {
        kept.exercises[exercise] ??= READING.now();
      });
    }
    return found
      .map(({ chapter, exercise }) => exercise + (chapter === here ? "" : ` (${chapter.title})`))
      .join(", ")
      .concat(found.length > 1 ? " are ticked." : " is ticked.");
  }

  function noteExercises() {
    const list = document.querySelector(".reading-codes ul");
    if (!list) return;
    const kept = READING.ofChapter(here.name).exercises;
    const solved = Object.keys(here.exercises).filter((name) => kept[name]);
    list.replaceChildren(...solved.map((name) => make("li", {}, make("code", {}, name))));
    list.hidden = !solved.length;
  }

  // --- All of it -----------------------------------------------------------------------------------

  offerToContinue();
  if (here) {
    followReader();
    tendQuiz();
    tendExercises();
  }
  const show = () => {
    markChapters();
    if (here) {
      noteQuiz();
      noteExercises();
    }
  };
  show();
  document.addEventListener("reading", show);
});
