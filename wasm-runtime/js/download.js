/**
 * One file of a checkpoint on its way: piece by piece, each checked as it comes, gone on with where it was cut.
 *
 * Small files are one piece. Of others no more than a piece is in this program's memory: what came before it lies on disk,
 * or in a `Blob` of the browser's.
 */

import { EngineError } from "./engines.js";

/** Pauses before each new attempt that follows one which brought nothing. */
const RETRY_PAUSES_MS = [400, 1600];
/** Longest time without a byte. */
const SILENCE_MS = 30_000;

/** Where each piece of a file is; small ones are in one. */
export function piecesOf({ bytes, sha256, pieces = [sha256], piece_bytes: most = bytes }) {
  return pieces.map((hash, index) => ({ start: index * most, end: Math.min((index + 1) * most, bytes), sha256: hash }));
}

/** One file on its way. */
export class Download {
  /** Bytes of the file that are here. */
  #count = 0;
  /** Which piece is on its way. */
  #index = 0;
  /** What is here of it. @type {Uint8Array} */
  #piece;
  /** Those before it, where nothing is kept on disk. @type {Blob[]} */
  #before = [];
  #writer;

  /**
   * @param {URL} url
   * @param {{ bytes: number, sha256: string, pieces?: string[], piece_bytes?: number }} expected
   * @param {import("./store.js").Store | undefined} store
   * @param {(count: number, fetched?: number) => void} onBytes
   */
  constructor(url, expected, store, onBytes) {
    this.url = url;
    this.expected = expected;
    this.store = store;
    this.onBytes = onBytes;
    this.pieces = piecesOf(expected);
    this.#begin(0);
  }

  /** @returns {Promise<Uint8Array | Blob>} */
  async run(signal) {
    const { bytes, pieces, sha256 } = this.expected;
    this.#writer = await this.store?.write(sha256);
    try {
      await this.#goOn();
      await this.#fetchAll(bytes, signal);
    } finally {
      this.#writer?.close();
    }
    if (!pieces) {
      return this.#piece;
    }
    const isOnDisk = this.#before.length === 0;
    const file = isOnDisk ? await this.store.file(sha256) : new Blob(this.#before);
    if (file?.size !== bytes) {
      throw new EngineError("download_failed", `${this.url} was removed from this device's disk meanwhile; try again`);
    }
    return file;
  }

  /** Takes over the beginning that an earlier attempt left. */
  async #goOn() {
    let size = this.#writer?.size() ?? 0;
    if (size > this.expected.bytes) {
      this.#writer.cut(0);
      size = 0;
    }
    while (size > this.#count) {
      const { start, end } = this.pieces[this.#index];
      this.#count = Math.min(size, end);
      this.#writer.read(this.#piece.subarray(0, this.#count - start), start);
      if (this.#count < end) {
        break;
      }
      if (!(await this.#settle())) {
        break;
      }
    }
    if (this.expected.bytes === 0) {
      await this.#settle();
    }
    this.onBytes(this.#count);
  }

  async #fetchAll(bytes, signal) {
    let vain = 0;
    while (this.#index < this.pieces.length) {
      const before = this.#count;
      try {
        await this.#fetch(vain, bytes, signal);
      } catch (error) {
        // A line that is cut again and again, but brings something each time, gets there.
        vain = this.#count > before ? 0 : vain + 1;
        if (signal?.aborted || vain > RETRY_PAUSES_MS.length) {
          throw error;
        }
        if (!globalThis.crypto?.subtle) {
          this.#restart();
        }
        await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSES_MS[Math.max(vain - 1, 0)]));
      }
    }
  }

  async #fetch(vain, bytes, signal) {
    const response = await this.#inTime(
      fetch(this.url, {
        signal,
        headers: this.#count > 0 ? { Range: `bytes=${this.#count}-` } : {},
        // A second copy on disk serves nobody; and after a failure the browser's own copy may be the damaged one.
        cache: this.#writer || this.#count > 0 ? "no-store" : vain ? "reload" : "default",
      }),
    );
    if (response.status !== 206) {
      this.#restart();
    }
    if (!response.ok || !response.body) {
      throw this.#failed(`the server answered ${response.status}`);
    }
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await this.#inTime(reader.read());
        if (done) {
          break;
        }
        await this.#take(value, bytes);
      }
    } catch (error) {
      reader.cancel().catch(() => undefined);
      throw error;
    }
    if (this.#index < this.pieces.length) {
      throw this.#failed(`it ended after ${this.#count} of ${bytes} bytes`);
    }
  }

  async #take(chunk, bytes) {
    if (this.#count + chunk.length > bytes) {
      this.#restart();
      throw new EngineError("download_corrupt", `${this.url} is longer than its manifest's ${bytes} bytes`);
    }
    for (let rest = chunk; rest.length > 0; ) {
      const { start, end } = this.pieces[this.#index];
      const part = rest.subarray(0, end - this.#count);
      rest = rest.subarray(part.length);
      this.#piece.set(part, this.#count - start);
      this.#count += part.length;
      if (this.#writer && !this.#writer.append(part)) {
        this.#writer = undefined;
        // What came before lay on the disk alone, which has no room for all.
        if (start > 0) {
          this.#restart();
          throw this.#failed("this device's disk has no room for it");
        }
      }
      this.onBytes(this.#count, part.length);
      if (this.#count === end && !(await this.#settle())) {
        throw new EngineError("download_corrupt", `${this.url} does not have the hash of its manifest; try again`);
      }
    }
  }

  /** Checks the piece that has come and begins the next; one that is damaged is begun anew. */
  async #settle() {
    const { start, sha256 } = this.pieces[this.#index];
    if (!(await hasHash(this.#piece, sha256))) {
      this.#writer?.cut(start);
      this.#begin(this.#index);
      return false;
    }
    if (this.expected.pieces && !this.#writer) {
      this.#before.push(new Blob([this.#piece]));
    }
    if (this.#index + 1 < this.pieces.length) {
      this.#begin(this.#index + 1);
    } else {
      this.#index += 1;
    }
    return true;
  }

  #begin(index) {
    const { start, end } = this.pieces[index];
    this.#index = index;
    this.#count = start;
    this.#piece = new Uint8Array(end - start);
  }

  #restart() {
    this.#writer?.cut(0);
    this.#before = [];
    this.#begin(0);
  }

  /** Fails where nothing comes of it for too long. */
  async #inTime(promise) {
    let timer;
    const silence = new Promise((_, reject) => {
      timer = setTimeout(reject, SILENCE_MS, new Error(`nothing came for ${SILENCE_MS / 1000} s`));
    });
    try {
      return await Promise.race([promise, silence]);
    } catch (error) {
      throw this.#failed(error.message);
    } finally {
      clearTimeout(timer);
    }
  }

  #failed(reason) {
    return new EngineError("download_failed", `${this.url} could not be fetched: ${reason}; try again`);
  }
}

/** Whether bytes are what they should be, where the browser can tell. */
export async function hasHash(bytes, sha256) {
  if (!globalThis.crypto?.subtle) {
    return true;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}
