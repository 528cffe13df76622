/**
 * The files of checkpoints on this device's disk, in the origin private file system: whole ones, and the beginnings of
 * those whose download was cut.
 *
 * Each checkpoint has a folder, named by its address; each file the name of its SHA-256. One that is shorter than its
 * manifest says is a beginning, and is gone on from. Bytes are written as they come, so that a Worker that is ended in
 * mid-download loses nothing. A browser that gives no such store (some private windows, pages without https) or no
 * room has checkpoints live in memory.
 */

/** Whoever clears the store removes this folder. */
const FOLDER = "msao-weights";

/**
 * @param {string} address of the checkpoint's folder
 * @returns {Promise<Store | undefined>}
 */
export async function openStore(address) {
  try {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(address)));
    const name = Array.from(digest.subarray(0, 12), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return new Store(await root.getDirectoryHandle(name, { create: true }));
  } catch {
    return undefined;
  }
}

export class Store {
  /** Whether the disk had no room for something. */
  isFull = false;
  #folder;

  constructor(folder) {
    this.#folder = folder;
  }

  /** A file as the browser has it, without its bytes; other tabs may read it too. @returns {Promise<File | undefined>} */
  async file(name) {
    try {
      return await (await this.#folder.getFileHandle(name)).getFile();
    } catch {
      return undefined;
    }
  }

  /** All of a small file. @returns {Promise<Uint8Array | undefined>} */
  async read(name) {
    try {
      const file = await this.file(name);
      return file && new Uint8Array(await file.arrayBuffer());
    } catch {
      return undefined;
    }
  }

  /** For its only writer: a second tab that downloads the same does without. @returns {Promise<Writer | undefined>} */
  async write(name) {
    try {
      const file = await this.#folder.getFileHandle(name, { create: true });
      return new Writer(this, await file.createSyncAccessHandle());
    } catch (error) {
      this.noteFailure(error);
      return undefined;
    }
  }

  async writeText(name, text) {
    const writer = await this.write(name);
    writer?.cut(0);
    writer?.append(new TextEncoder().encode(text));
    writer?.close();
  }

  /** Removes files of earlier versions. @param {string[]} names of those that stay */
  async keepOnly(names) {
    try {
      for await (const name of this.#folder.keys()) {
        if (!names.includes(name)) {
          await this.#folder.removeEntry(name);
        }
      }
    } catch {
      // Another tab works with it; the next visit tidies up.
    }
  }

  noteFailure(error) {
    this.isFull ||= error.name === "QuotaExceededError";
  }
}

class Writer {
  #store;
  #handle;

  constructor(store, handle) {
    this.#store = store;
    this.#handle = handle;
  }

  size() {
    return this.#handle.getSize();
  }

  read(bytes, at) {
    this.#handle.read(bytes, { at });
  }

  /** Leaves the first so many bytes. */
  cut(size) {
    this.#handle?.truncate(size);
  }

  /** @returns {boolean} whether there was room; without, nothing is kept */
  append(bytes) {
    try {
      const at = this.#handle.getSize();
      // A short write is the other way to say that the disk is full.
      if (this.#handle.write(bytes, { at }) < bytes.length) {
        throw new DOMException("the disk is full", "QuotaExceededError");
      }
      return true;
    } catch (error) {
      this.#store.noteFailure(error);
      this.cut(0);
      this.close();
      return false;
    }
  }

  close() {
    this.#handle?.flush();
    this.#handle?.close();
    this.#handle = undefined;
  }
}
