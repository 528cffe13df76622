/**
 * A checkpoint's files as the engine takes them. Wasm's memory never shrinks, so weights stay outside of it, and the engine
 * reads from them tensor by tensor.
 */

/** A read from disk takes milliseconds however little it brings, so what is smaller comes with what lies behind it. */
const SMALL_BYTES = 1 << 20;
const AHEAD_BYTES = 4 << 20;

/**
 * @param {Record<string, Uint8Array | Blob>} files
 * @returns {Record<string, Uint8Array | { size: number, read: (start: number, end: number) => Uint8Array }>}
 */
export function sourcesOf(files) {
  const source = ([name, file]) => [name, file instanceof Blob ? sourceOf(name, file) : file];
  return Object.fromEntries(Object.entries(files).map(source));
}

function sourceOf(name, file) {
  const reader = new FileReaderSync();
  const readNow = (start, end) => new Uint8Array(reader.readAsArrayBuffer(file.slice(start, end)));
  if (!(name.startsWith("model") && name.endsWith(".safetensors"))) {
    return readNow(0, file.size);
  }
  let ahead = new Uint8Array(0);
  let at = 0;
  const read = (start, end) => {
    if (end - start > SMALL_BYTES) {
      return readNow(start, end);
    }
    if (start < at || end > at + ahead.length) {
      at = start;
      ahead = readNow(start, start + AHEAD_BYTES);
    }
    return ahead.subarray(start - at, end - at);
  };
  return { size: file.size, read };
}
