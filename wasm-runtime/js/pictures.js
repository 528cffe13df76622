/**
 * Pictures as both models see them: the centre square, at most 256 pixels a side; as pixels and as a file for the wire.
 *
 * The crop is the models' own first step, so it changes no answer; what it saves is upload.
 */

const MAX_SIDE = 256;
/** A PNG up to this size travels as it is, without loss; noisy camera pictures are larger and become JPEG. */
const PNG_BYTES = 48_000;
/** At this quality camera noise hides what is lost. */
const JPEG_QUALITY = 0.92;
const MIME = { Png: "image/png", Jpeg: "image/jpeg" };

/** Where pictures are drawn to be read, one at a time; making it anew would take longer than reading. */
let drawn;

/**
 * @param {ImageBitmap} bitmap closed here
 * @returns {{ width: number, height: number, pixels: ArrayBuffer }}
 */
export function toPixels(bitmap) {
  drawn ??= canvasOf(MAX_SIDE, MAX_SIDE)[1];
  const source = Math.min(bitmap.width, bitmap.height);
  const side = Math.min(source, MAX_SIDE);
  // What is transparent is seen on white, as on a page.
  drawn.fillStyle = "white";
  drawn.fillRect(0, 0, side, side);
  drawn.imageSmoothingQuality = "high";
  const [x, y] = [Math.floor((bitmap.width - source) / 2), Math.floor((bitmap.height - source) / 2)];
  drawn.drawImage(bitmap, x, y, source, source, 0, 0, side, side);
  bitmap.close();
  return { width: side, height: side, pixels: drawn.getImageData(0, 0, side, side).data.buffer };
}

/**
 * Pixels as a file for the wire.
 * @param {{ width: number, height: number, pixels: ArrayBuffer }} pixels
 * @returns {Promise<{ kind: string, bytes: Uint8Array }>}
 */
export async function toFile({ width, height, pixels }) {
  const canvas = canvasWith(width, height, pixels);
  const png = await fileOf(canvas, "Png");
  return png.bytes.length <= PNG_BYTES ? png : fileOf(canvas, "Jpeg");
}

/**
 * Kept squares as a file.
 * @param {{ kind: string, width: number, height: number, pixels: Uint8Array }} tiles
 * @returns {Promise<Uint8Array>}
 */
export async function encodeTiles({ kind, width, height, pixels }) {
  return (await fileOf(canvasWith(width, height, pixels), kind)).bytes;
}

function canvasOf(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  return [canvas, canvas.getContext("2d", { willReadFrequently: true })];
}

function canvasWith(width, height, pixels) {
  const [canvas, context] = canvasOf(width, height);
  context.putImageData(new ImageData(new Uint8ClampedArray(pixels), width, height), 0, 0);
  return canvas;
}

async function fileOf(canvas, kind) {
  const blob = await canvas.convertToBlob({ type: MIME[kind], quality: JPEG_QUALITY });
  return { kind, bytes: new Uint8Array(await blob.arrayBuffer()) };
}
