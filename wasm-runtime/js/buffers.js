/**
 * The buffers within messages, which are moved between Workers instead of copied.
 */

/**
 * @param {{ images: { tiles: { pixels: ArrayBuffer } }[], audio: { windows: { samples: ArrayBuffer } } | null }} scored
 * @returns {ArrayBuffer[]}
 */
export function buffersOf({ images, audio }) {
  return [...images.map(({ tiles }) => tiles.pixels), ...(audio ? [audio.windows.samples] : [])];
}
