// What these pages remember of their reader, in this browser and nowhere else: one entry of its
// storage, as JSON.
//
//   { version: 1, name: "", chapters: { ch07: {
//       place: { section: "the-resnet", date },              where the reader was last
//       seen: { "the-resnet": date, ... },                   sections whose end was on the screen
//       exercises: { clip_together: date, ... },             ticked with the code that `check` printed
//       quiz: { paths: { chosen: ["..."] or typed: "32", right, tries, date }, ... } } } }
//
// An exported file is the same. Whatever is read, from storage or from a file, is checked part by
// part and copied; nothing of it ever becomes HTML or an address. Where the browser keeps nothing,
// all goes on until the page is closed. READING_CONTENTS, what there is to remember, is written by
// reading_memory.py. A "reading" event on the document says that something has changed.
const READING = (() => {
  "use strict";
  const KEY = "mnist-lab reading";
  const VERSION = 1;
  const LARGEST = 1_000_000; // bytes of a file; a whole book's memory has some 50,000

  class Refused extends Error {}

  // --- Checking ---------------------------------------------------------------------------------

  const refuse = (where, wanted) => {
    throw new Refused(`its part “${where}” is not ${wanted}`);
  };

  const text = (longest) => (value, where) =>
    typeof value === "string" && value.length <= longest ? value : refuse(where, "a short text");

  const date = (value, where) =>
    /^\d{4}-\d\d-\d\dT[\d:.]{8,12}Z$/.test(text(30)(value, where)) && !Number.isNaN(Date.parse(value))
      ? value
      : refuse(where, "a date");

  const yesOrNo = (value, where) => (typeof value === "boolean" ? value : refuse(where, "true or false"));

  const count = (value, where) =>
    Number.isInteger(value) && value >= 1 && value < 1e6 ? value : refuse(where, "a number of tries");

  const texts = (value, where) =>
    Array.isArray(value) && value.length <= 20
      ? value.map((one) => text(1000)(one, where))
      : refuse(where, "a list of answers");

  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

  // An object with these parts and no others; those of the second kind may be missing.
  const parts = (needed, optional = {}) => (value, where) => {
    if (!isObject(value)) refuse(where, "an object");
    const known = { ...needed, ...optional };
    const strange = Object.keys(value).find((name) => !Object.hasOwn(known, name));
    if (strange !== undefined) throw new Refused(`its part “${where}” has a part that this book does not know`);
    const copy = {};
    for (const [name, check] of Object.entries(known)) {
      if (name in needed || Object.hasOwn(value, name)) copy[name] = check(value[name], `${where}.${name}`);
    }
    return copy;
  };

  // An object with any names, of the kind that sections, exercises and questions have.
  const named = (check) => (value, where) => {
    if (!isObject(value)) refuse(where, "an object");
    const entries = Object.entries(value).map(([name, one]) => {
      const usual = /^[a-z][\w-]{0,99}$/i.test(name) && !(name in {}); // no "constructor"
      if (!usual) throw new Refused(`its part “${where}” has a name that no book gives`);
      return [name, check(one, `${where}.${name}`)];
    });
    return Object.fromEntries(entries);
  };

  const checkChapter = parts(
    {
      seen: named(date),
      exercises: named(date),
      quiz: named(parts({ right: yesOrNo, tries: count, date }, { chosen: texts, typed: text(40) })),
    },
    { place: parts({ section: text(100), date }) },
  );
  const checkAll = parts({ version: (value) => value, name: text(80), chapters: named(checkChapter) });

  // Return a copy of what was read; throw Refused, with the rest of a sentence, if it is no memory.
  function check(value) {
    if (!isObject(value) || !Number.isInteger(value.version)) {
      throw new Refused("it is no export of this book");
    }
    if (value.version > VERSION) throw new Refused("it comes from a newer edition of this book");
    if (value.version < 1) throw new Refused("it is no export of this book");
    return checkAll(value, "reading");
  }

  function parse(json) {
    let value;
    try {
      value = JSON.parse(json);
    } catch {
      throw new Refused("it is damaged, or no export of this book");
    }
    return check(value);
  }

  // --- Keeping ----------------------------------------------------------------------------------

  const empty = () => ({ version: VERSION, name: "", chapters: {} });
  let memory = empty();
  let stored = null; // the text that it was read from
  let trouble = ""; // why nothing is kept: "forbidden", "unreadable" or "full"

  // What is remembered now. Another page may have added to it.
  function recall() {
    if (trouble) return memory;
    let kept;
    try {
      kept = window.localStorage.getItem(KEY);
    } catch {
      trouble = "forbidden"; // some browsers do not let a page from disk, or a private one, keep anything
      return memory;
    }
    if (kept === stored) return memory;
    try {
      memory = kept === null ? empty() : parse(kept);
      stored = kept;
    } catch {
      trouble = "unreadable"; // by a newer edition, perhaps: it is left as it is
      memory = empty();
    }
    return memory;
  }

  function change(alter) {
    alter(recall());
    if (!trouble) {
      try {
        const kept = JSON.stringify(memory);
        window.localStorage.setItem(KEY, kept);
        stored = kept;
      } catch {
        trouble = "full";
      }
    }
    document.dispatchEvent(new Event("reading"));
  }

  function forget() {
    memory = empty();
    stored = null;
    try {
      window.localStorage.removeItem(KEY);
      window.localStorage.removeItem("mnist-lab training"); // the panel's settings (train-here.js)
      trouble = "";
    } catch {
      trouble = "forbidden";
    }
    document.dispatchEvent(new Event("reading"));
  }

  window.addEventListener("storage", (event) => {
    if (event.key === KEY || event.key === null) document.dispatchEvent(new Event("reading"));
  });

  // --- Asking, and adding -----------------------------------------------------------------------

  const nothing = () => ({ seen: {}, exercises: {}, quiz: {} });
  const ofChapter = (name) => recall().chapters[name] ?? nothing();
  const now = () => new Date().toISOString();

  function changeChapter(name, alter) {
    change((all) => alter((all.chapters[name] ??= nothing())));
  }

  // How far the reader is in a chapter. Its three parts weigh the same.
  function progress(chapter) {
    const { seen, exercises, quiz } = ofChapter(chapter.name);
    const answers = chapter.questions.map((id) => quiz[id]).filter(Boolean);
    const done = {
      sections: Object.keys(chapter.sections).filter((id) => seen[id]).length,
      questions: answers.length,
      right: answers.filter((answer) => answer.right).length,
      exercises: Object.keys(chapter.exercises).filter((name) => exercises[name]).length,
    };
    const all = {
      sections: Object.keys(chapter.sections).length,
      questions: chapter.questions.length,
      exercises: Object.keys(chapter.exercises).length,
    };
    const shares = Object.keys(all).filter((part) => all[part]).map((part) => done[part] / all[part]);
    return { done, all, share: shares.reduce((sum, share) => sum + share, 0) / shares.length };
  }

  // Where to go on: a chapter and a section of it. Who was at the end of a chapter goes to the next.
  function placeToContinue() {
    const chapters = READING_CONTENTS.filter(({ name }) => ofChapter(name).place);
    if (!chapters.length) return null;
    const dateOf = ({ name }) => ofChapter(name).place.date;
    const last = chapters.reduce((one, other) => (dateOf(other) > dateOf(one) ? other : one));
    const section = ofChapter(last.name).place.section;
    const next = READING_CONTENTS[READING_CONTENTS.indexOf(last) + 1];
    if (next && section === Object.keys(last.sections).at(-1)) return { chapter: next, section: "" };
    return { chapter: last, section: Object.hasOwn(last.sections, section) ? section : "" };
  }

  // Two memories in one: nothing is lost, and of two answers to a question the later one counts.
  function merge(mine, theirs) {
    const first = (one, other) => {
      const both = { ...one, ...other };
      for (const name in one) if (one[name] < both[name]) both[name] = one[name];
      return both;
    };
    const later = (one, other) => (!one || (other && other.date > one.date) ? other : one);
    mine.name ||= theirs.name;
    for (const [name, chapter] of Object.entries(theirs.chapters)) {
      const ours = (mine.chapters[name] ??= nothing());
      ours.seen = first(ours.seen, chapter.seen);
      ours.exercises = first(ours.exercises, chapter.exercises);
      for (const id in chapter.quiz) ours.quiz[id] = later(ours.quiz[id], chapter.quiz[id]);
      const place = later(ours.place, chapter.place);
      if (place) ours.place = place;
    }
  }

  // Add what a file holds; throw Refused, and change nothing, if it is no export.
  async function addFile(file) {
    if (file.size > LARGEST) throw new Refused("it is too large to be an export of this book");
    const theirs = parse(await file.text());
    change((mine) => merge(mine, theirs));
  }

  return {
    Refused,
    addFile,
    change,
    changeChapter,
    forget,
    now,
    ofChapter,
    placeToContinue,
    progress,
    recall,
    trouble: () => (recall(), trouble),
  };
})();
