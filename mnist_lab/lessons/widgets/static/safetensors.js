// Read a safetensors file: 8 bytes that say how long the header is, the header as JSON, then numbers.
// Source: https://huggingface.co/docs/safetensors
//
// The file may come from anywhere, so nothing in it is believed: what does not fit is a FileError
// with one sentence, before anything is allocated that the file merely claims to need.

const LARGEST_FILE = 2_000_000; // bytes
const HUGE = "The file is larger than 2 MB, so it is no model for this page.";
const LARGEST_HEADER = 100_000;
const MOST_TENSORS = 64;

/** A file that cannot be used; the message is one sentence for the reader of the page. */
export class FileError extends Error {}

/** Throw a FileError with the sentence unless the condition holds. */
export function demand(condition, sentence) {
  if (!condition) throw new FileError(sentence);
}

/** The bytes (Uint8Array) of a File, unpacked if they are gzip; a larger one is refused by its size,
 * before it is read. */
export async function readBytes(file, largest = LARGEST_FILE, huge = HUGE) {
  demand(file.size <= largest, huge);
  let bytes = null;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new FileError("The file could not be read: it is a folder, or has been moved or deleted.");
  }
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? unpack(bytes, largest, huge) : bytes;
}

/** Unpack gzip, and no further than a model may reach: a kilobyte can claim to be a gigabyte. */
async function unpack(bytes, largest, huge) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const reader = stream.getReader();
  const parts = [];
  let size = 0;
  while (size <= largest) {
    let next = null;
    try {
      next = await reader.read();
    } catch {
      throw new FileError("The file is damaged: it cannot be unpacked.");
    }
    if (next.done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    parts.push(next.value);
    size += next.value.length;
  }
  await reader.cancel();
  throw new FileError(huge);
}

const SIZES = { F32: 4, F16: 2, U8: 1 }; // bytes of a number
const READ = {
  F32: (buffer, begin, end) => new Float32Array(buffer, begin, (end - begin) / 4),
  F16: (buffer, begin, end) =>
    Float32Array.from(new Uint16Array(buffer, begin, (end - begin) / 2), readHalf),
  U8: (buffer, begin, end) => new Uint8Array(buffer, begin, end - begin),
};

/** A float16: a sign, five bits of exponent, ten of fraction. */
function readHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
}

const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isObject = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Read the bytes (Uint8Array) of a file of tensors: float32, float16, or bytes.
 *
 * Returns { metadata, tensors }: a Map of strings, and a Map from name to { shape, values }, where
 * values are in row-major order: a Float32Array of finite numbers, or the Uint8Array of the bytes.
 */
export function readSafetensors(bytes, mostTensors = MOST_TENSORS) {
  demand(bytes.length <= LARGEST_FILE, HUGE);
  demand(bytes.length > 8, "The file is too short to be a safetensors file.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  demand(
    view.getUint32(4, true) === 0 && length <= Math.min(LARGEST_HEADER, bytes.length - 8),
    "The file is no safetensors file: its header would be longer than a header can be.",
  );
  const header = readHeader(bytes.subarray(8, 8 + length));
  const data = bytes.slice(8 + length); // a copy, whose numbers start at a multiple of 4
  const entries = Object.entries(header).filter(([name]) => name !== "__metadata__");
  demand(entries.length <= mostTensors, "The file holds more tensors than any model of this page.");
  for (const [name, entry] of entries) checkEntry(name, entry);
  entries.sort((one, other) => one[1].data_offsets[0] - other[1].data_offsets[0]);

  const tensors = new Map();
  let position = 0;
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of entries) {
    demand(begin === position, "The file is damaged: its tensors overlap or leave gaps.");
    demand(end <= data.length, "The file has been cut short.");
    const values = READ[dtype](data.buffer, begin, end);
    demand(values.every(Number.isFinite), `${shorten(name)} holds numbers that are not finite.`);
    tensors.set(name, { shape, values });
    position = end;
  }
  demand(position === data.length, "The file is damaged: it goes on after its last tensor.");
  const metadata = isObject(header.__metadata__) ? header.__metadata__ : {};
  return { metadata: new Map(Object.entries(metadata)), tensors };
}

function readHeader(bytes) {
  let header = null;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    // Said below, as for a header that is JSON of something else.
  }
  demand(isObject(header), "The file is no safetensors file: its header cannot be read.");
  return header;
}

function checkEntry(name, entry) {
  const wrong = `The file is damaged: what it says of ${shorten(name)} makes no sense.`;
  demand(isObject(entry) && Array.isArray(entry.shape) && Array.isArray(entry.data_offsets), wrong);
  demand(Object.hasOwn(SIZES, entry.dtype),
    `${shorten(name)} has numbers of a kind that this page does not know; export the model again.`);
  const { shape, data_offsets: offsets } = entry;
  demand(shape.length <= 8 && shape.every(isCount), wrong);
  demand(offsets.length === 2 && offsets.every(isCount), wrong);
  const size = shape.reduce((product, side) => product * side, 1);
  const bytes = SIZES[entry.dtype];
  demand(offsets[1] - offsets[0] === bytes * size && offsets[0] % bytes === 0, wrong);
}

/** A name from a file, as a sentence can bear it. */
export function shorten(name) {
  const text = String(name);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
