// Files of labelled digits, as the package has them: an .npz with `images` (n, 28, 28) uint8, white ink
// on black, and `labels` (n,). What is written here, `load_npz` and `finetune --data` read, and what
// `DigitPad.save_examples` writes is read here.
//
//   const bytes = writeDigitsFile(digits);        // [{ image: Uint8Array of 784, label: 0 to 9 }]
//   const { digits, others } = await readDigitsFile(bytes);   // others: how many had another name
//
// A file may come from anywhere, so nothing in it is believed: what does not fit is a FileError with one
// sentence, before more is unpacked than the file may hold. Source: the ZIP file format by PKWARE, and
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

import { demand } from "./safetensors.js";

const PIXELS = 28 * 28;
/** Digits of one file, at most: a class of pupils. */
export const MOST_DIGITS = 5_000;
const MOST_BYTES = MOST_DIGITS * PIXELS + 65_536; // of one array
const DAMAGED = "The file is damaged: what it says of itself does not fit what is in it.";
const NO_FILE = "The file holds no digits: it must be an .npz, as this page or DigitPad saves it.";
const KINDS = { "|u1": 1, "<u1": 1, "|i1": 1, "<i2": 2, "<u2": 2, "<i4": 4, "<u4": 4, "<i8": 8, "<u8": 8 };

// --- Write ----------------------------------------------------------------------------------------

/** The checksum that a zip has of each of its files. */
export function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return (sum ^ 0xffffffff) >>> 0;
}

/** An array as NumPy writes one: what it is, in words, and its numbers. */
function writeArray(values, shape) {
  const sides = shape.length > 1 ? shape.join(", ") : `${shape[0]},`;
  const words = `{'descr': '|u1', 'fortran_order': False, 'shape': (${sides}), }`;
  const padded = words.padEnd(Math.ceil((words.length + 11) / 64) * 64 - 11) + "\n";
  const start = [0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, padded.length & 255, padded.length >> 8];
  const header = [...start, ...new TextEncoder().encode(padded)];
  const whole = new Uint8Array(header.length + values.length);
  whole.set(header);
  whole.set(values, header.length);
  return whole;
}

/** Numbers of so many bytes each, the lowest first. */
const low = (...pairs) => pairs.flatMap(([value, bytes]) =>
  Array.from({ length: bytes }, (_, k) => Math.floor(value / 256 ** k) & 255));

/** The bytes of an .npz with these digits, nothing packed. */
export function writeDigitsFile(digits) {
  const images = new Uint8Array(digits.length * PIXELS);
  digits.forEach(({ image }, k) => images.set(image, k * PIXELS));
  const entries = [
    ["images.npy", writeArray(images, [digits.length, 28, 28])],
    ["labels.npy", writeArray(Uint8Array.from(digits, ({ label }) => label), [digits.length])],
  ];
  const [parts, directory] = [[], []];
  let place = 0;
  for (const [name, content] of entries) {
    const letters = [...new TextEncoder().encode(name)];
    const about = low([20, 2], [0, 2], [0, 2], [0, 2], [0x21, 2], // version, flags, stored, 1 January 1980
      [checksum(content), 4], [content.length, 4], [content.length, 4], [letters.length, 2], [0, 2]);
    parts.push([...low([0x04034b50, 4]), ...about, ...letters], content);
    directory.push(...low([0x02014b50, 4], [20, 2]), ...about,
      ...low([0, 2], [0, 2], [0, 2], [0, 4], [place, 4]), ...letters);
    place += 30 + letters.length + content.length;
  }
  parts.push(directory, low([0x06054b50, 4], [0, 2], [0, 2], [entries.length, 2], [entries.length, 2],
    [directory.length, 4], [place, 4], [0, 2]));
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// --- Read -----------------------------------------------------------------------------------------

/** Where each file of a zip lies, by its name: { method, packed, size, start }. */
function readDirectory(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  demand(bytes.length > 4 && view.getUint16(0, true) === 0x4b50, NO_FILE);
  let end = bytes.length - 22;
  while (end >= Math.max(0, bytes.length - 65_558) && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  demand(end >= 0 && view.getUint32(end, true) === 0x06054b50, DAMAGED);
  const count = view.getUint16(end + 10, true);
  demand(count <= 16, NO_FILE);
  const found = new Map();
  let place = view.getUint32(end + 16, true);
  for (let k = 0; k < count; k += 1) {
    demand(place + 46 <= bytes.length && view.getUint32(place, true) === 0x02014b50, DAMAGED);
    const letters = view.getUint16(place + 28, true);
    const name = new TextDecoder().decode(bytes.subarray(place + 46, place + 46 + letters));
    const header = view.getUint32(place + 42, true);
    demand(header + 30 <= bytes.length && view.getUint32(header, true) === 0x04034b50, DAMAGED);
    demand((view.getUint16(place + 8, true) & 1) === 0, "The file has a password, so it cannot be read.");
    found.set(name, {
      method: view.getUint16(place + 10, true),
      packed: view.getUint32(place + 20, true),
      start: header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true),
    });
    place += 46 + letters + view.getUint16(place + 30, true) + view.getUint16(place + 32, true);
  }
  return found;
}

/** Unpack one file of a zip, and no more of it than an array may have. */
async function unpack(bytes, { method, packed, start }) {
  demand(start + packed <= bytes.length, DAMAGED);
  const content = bytes.subarray(start, start + packed);
  if (method === 0) {
    demand(packed <= MOST_BYTES, "The file holds more digits than a page can take.");
    return content;
  }
  demand(method === 8, "The file is packed in a way that NumPy does not use.");
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const reader = stream.getReader();
  const parts = [];
  let size = 0;
  try {
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      size += step.value.length;
      if (size > MOST_BYTES) break; // a small file may unpack without bound
      parts.push(step.value);
    }
  } catch {
    size = -1;
  }
  if (size > MOST_BYTES) reader.cancel().catch(() => {});
  demand(size >= 0, DAMAGED);
  demand(size <= MOST_BYTES, "The file holds more digits than a page can take.");
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** An array as NumPy wrote it: { kind, shape, data }. */
function readArray(bytes) {
  demand(bytes.length > 12 && bytes[0] === 0x93, DAMAGED);
  const isOld = bytes[6] === 1;
  const length = isOld ? bytes[8] | (bytes[9] << 8) : bytes[8] | (bytes[9] << 8) | (bytes[10] << 16);
  const begin = isOld ? 10 : 12;
  demand(begin + length <= bytes.length && length < 4_096, DAMAGED);
  const words = new TextDecoder().decode(bytes.subarray(begin, begin + length));
  const kind = /'descr': *'([^']{1,16})'/.exec(words)?.[1];
  const sides = /'shape': *\(([\d, ]*)\)/.exec(words)?.[1];
  demand(kind && sides !== undefined && /'fortran_order': *False/.test(words), DAMAGED);
  return {
    kind, shape: sides.split(",").map((side) => side.trim()).filter(Boolean).map(Number),
    data: bytes.subarray(begin + length),
  };
}

/** Whole numbers of up to eight bytes, the lowest first. */
function readNumbers({ kind, shape, data }) {
  const size = KINDS[kind];
  demand(size && shape.length === 1 && data.length === shape[0] * size, DAMAGED);
  return Array.from({ length: shape[0] }, (_, k) => {
    let value = 0;
    for (let byte = 0; byte < size; byte += 1) value += data[k * size + byte] * 256 ** byte;
    return value;
  });
}

/** Texts of so many letters, four bytes each; or null if it is none. */
function readNames({ kind, shape, data }) {
  const letters = Number(/^<U(\d{1,3})$/.exec(kind)?.[1]);
  demand(letters > 0 && shape.length === 1 && data.length === 4 * letters * shape[0],
    "The file's names of classes cannot be read.");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return Array.from({ length: shape[0] }, (_, row) => {
    let name = "";
    for (let k = 0; k < letters; k += 1) {
      const code = view.getUint32(4 * (row * letters + k), true);
      if (code > 0 && code <= 0x10ffff) name += String.fromCodePoint(code);
    }
    return name;
  });
}

/** The digits in the bytes of an .npz; examples of classes that are no digit are counted as others. */
export async function readDigitsFile(bytes) {
  const directory = readDirectory(bytes);
  demand(directory.has("images.npy") && directory.has("labels.npy"), NO_FILE);
  const arrays = {};
  for (const name of ["images", "labels", "class_names"]) {
    if (directory.has(`${name}.npy`)) {
      arrays[name] = readArray(await unpack(bytes, directory.get(`${name}.npy`)));
    }
  }
  const { images } = arrays;
  const [count] = images.shape;
  demand(images.kind === "|u1" && images.shape.length === 3 && images.shape[1] === 28 &&
    images.shape[2] === 28, "The file's images are not of 28x28 grey values.");
  demand(count <= MOST_DIGITS, "The file holds more digits than a page can take.");
  demand(images.data.length === count * PIXELS, DAMAGED);
  const labels = readNumbers(arrays.labels);
  demand(labels.length === count, "The file has not as many labels as images.");
  const names = arrays.class_names ? readNames(arrays.class_names) : null;
  const digits = [];
  labels.forEach((label, k) => {
    const name = names ? names[label] : String(label);
    if (!/^\d$/.test(name ?? "")) return;
    digits.push({ image: images.data.slice(k * PIXELS, (k + 1) * PIXELS), label: Number(name) });
  });
  return { digits, others: count - digits.length };
}
