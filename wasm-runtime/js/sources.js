/**
 * A checkpoint's files as the engine takes them. Wasm's memory never shrinks, so weights stay outside of it, and the engine
 * reads from them tensor by tensor.
 */

/**
 * @param {Record<string, Uint8Array | Blob>} files
 * @returns {Record<string, Uint8Array | { size: number, read: (start: number, end: number) => Uint8Array }>}
 */
export function sourcesOf(files) {
  const source = ([name, file]) => [name, file instanceof Blob ? inParts(file) : file];
  return Object.fromEntries(Object.entries(files).map(source));
}

function inParts(file) {
  const reader = new FileReaderSync();
  const read = (start, end) => new Uint8Array(reader.readAsArrayBuffer(file.slice(start, end)));
  return { size: file.size, read };
}
