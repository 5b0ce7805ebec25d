// Digits from a picture: a column for each class, in grey.

import { make } from "./views.js";

const SIDE = 28;
const CLASSES = 10;

/** Read a picture at an address: { images, labels }, class after class, images one after the other. */
export async function readDigits(address) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const { width, height } = picture;
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const rows = Math.floor(height / SIDE);
  const images = new Uint8Array(CLASSES * rows * SIDE * SIDE);
  const labels = new Uint8Array(CLASSES * rows);
  let place = 0;
  for (let label = 0; label < CLASSES; label += 1) {
    for (let row = 0; row < rows; row += 1) {
      labels[label * rows + row] = label;
      for (let y = row * SIDE; y < (row + 1) * SIDE; y += 1) {
        const from = y * width + label * SIDE;
        for (let x = from; x < from + SIDE; x += 1, place += 1) images[place] = data[4 * x];
      }
    }
  }
  return { images, labels };
}

/** Both sets of digits, from the addresses of their pictures. */
export async function readBoth(train, others) {
  const [first, second] = await Promise.all([train, others].map(readDigits));
  return { train: first, validation: second };
}

/** Both sets of digits of a widget in a notebook, which were sent as the bytes of their pictures. */
export function readSent(model) {
  const addresses = ["train", "others"].map((name) =>
    URL.createObjectURL(new Blob([model.get(name)], { type: "image/png" })));
  const digits = readBoth(...addresses);
  digits.finally(() => addresses.forEach((address) => URL.revokeObjectURL(address)));
  return digits;
}
