/**
 * Pictures as models see them: the centre square, at most 256 pixels a side; as pixels for the device and as a file for the wire.
 *
 * The crop is such models' own first step, so it changes no answer; what it saves is upload. A server whose model looks at
 * large pictures gets them whole.
 */

const MAX_SIDE = 256;
/** Longest edge of any picture that is sent, whatever a server wants. */
const MOST_SIDE = 4_096;
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
  const [x, y] = [Math.floor((bitmap.width - source) / 2), Math.floor((bitmap.height - source) / 2)];
  draw(drawn, bitmap, [x, y, source, source], [side, side]);
  bitmap.close();
  return { width: side, height: side, pixels: drawn.getImageData(0, 0, side, side).data.buffer };
}

function draw(context, bitmap, from, [width, height]) {
  // What is transparent is seen on white, as on a page.
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, ...from, 0, 0, width, height);
}

/**
 * Pictures as pixels, and as files for the wire: of the same squares, or whole where the server gains from a longer edge.
 * @param {ImageBitmap[]} bitmaps closed here
 * @param {number} longest
 * @returns {Promise<[{ width: number, height: number, pixels: ArrayBuffer }, { kind: string, bytes: Uint8Array }][]>}
 */
export function toBoth(bitmaps, longest) {
  return Promise.all(
    bitmaps.map(async (bitmap) => {
      const { width, height } = bitmap;
      const scale = Math.min(Math.min(longest, MOST_SIDE) / Math.max(width, height), 1);
      let canvas;
      if (longest > MAX_SIDE) {
        const size = [width, height].map((edge) => Math.max(Math.round(edge * scale), 1));
        const [large, context] = canvasOf(...size);
        draw(context, bitmap, [0, 0, width, height], size);
        canvas = large;
      }
      const pixels = toPixels(bitmap);
      return [pixels, await toFile(canvas ?? canvasWith(pixels.width, pixels.height, pixels.pixels))];
    }),
  );
}

async function toFile(canvas) {
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
