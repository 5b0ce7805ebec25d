// <train-here>: a network that is trained from nothing, in the page, before the reader's eyes.

import { Training } from "./training.js";

let pictures = []; // addresses of two pictures of digits: those to learn from, and the others

export function start(...contents) {
  pictures = contents.map((content) => `data:image/png;base64,${content}`);
  return { Training, pictures };
}
