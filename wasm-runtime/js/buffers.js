/**
 * The buffers within messages, which are moved between Workers instead of copied.
 */

/**
 * @param {{ images: { tiles: { pixels: ArrayBuffer } }[], audio: { windows: { samples: ArrayBuffer } } | null }} scored
 * @returns {ArrayBuffer[]}
 */
export function buffersOf({ images, audio }) {
  const pictures = images.flatMap(({ tiles, split }) => (split ? [tiles, split.whole] : [tiles]));
  return [...pictures.map(({ pixels }) => pixels), ...(audio ? [audio.windows.samples] : [])];
}
