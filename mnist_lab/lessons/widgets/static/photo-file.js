// From a picture's file to its pixels: upright, not too large, transparency laid on what shows the ink.

import { PhotoError } from "./photo-pieces.js";

const LARGEST_FILE = 60_000_000; // bytes
const MOST_PIXELS = 100_000_000; // as in Python
const NAMED = /\.(jpe?g|jfif|png|webp|gif|bmp|avif|heic|heif|tiff?|svg)$/i;

export const isPicture = (file) => file.type.startsWith("image/") || NAMED.test(file.name);

/** Paint a picture file on a new canvas whose longer side has at most `side` pixels; the browser turns
 * it as the camera was held. Throws PhotoError. */
export async function openPicture(file, side) {
  if (file.size > LARGEST_FILE) throw new PhotoError("The file is larger than 60 MB.");
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = address;
    await image.decode().catch(() => {
      throw new PhotoError("The file is no picture that this browser can open, or it is damaged; " +
        "JPEG, PNG and WebP can be opened everywhere.");
    });
    return paint(image, side);
  } finally {
    URL.revokeObjectURL(address);
  }
}

function paint(image, side) {
  const { naturalWidth: width, naturalHeight: height } = image;
  if (width * height > MOST_PIXELS) {
    throw new PhotoError(`The picture has ${width.toLocaleString("en")} × ` +
      `${height.toLocaleString("en")} pixels; it may have 100 million.`);
  }
  if (width * height === 0) throw new PhotoError("The picture has no size in pixels.");
  const shrinkage = Math.max(1, Math.max(width, height) / side);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width / shrinkage));
  canvas.height = Math.max(1, Math.round(height / shrinkage));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const paper = paperBehind(context.getImageData(0, 0, canvas.width, canvas.height).data);
  if (paper) {
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  return canvas;
}

/** What shows the ink of a transparent drawing, "white" or "black"; null if nothing is transparent. */
export function paperBehind(data) {
  let [strongest, weakest] = [0, 255];
  for (let k = 3; k < data.length; k += 4) {
    strongest = Math.max(strongest, data[k]);
    weakest = Math.min(weakest, data[k]);
  }
  if (weakest === 255) return null;
  let [count, sum, dark] = [0, 0, 0];
  for (let k = 0; k < data.length; k += 4) {
    if (2 * data[k + 3] < strongest || strongest === 0) continue;
    const level = 0.299 * data[k] + 0.587 * data[k + 1] + 0.114 * data[k + 2];
    count += 1;
    sum += level;
    if (level < 100) dark += 1;
  }
  return sum > 127 * count && dark < 0.005 * count ? "black" : "white";
}
