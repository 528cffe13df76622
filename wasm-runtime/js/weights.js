/**
 * Fetches a checkpoint: with progress in bytes and seconds, gone on with where it was cut, checked against its
 * manifest, kept on disk.
 *
 * The manifest (`MANIFEST.json`) announces the size and the SHA-256 of each file, and of large ones that of each piece. A piece that
 * was damaged on the way is fetched again; it never reaches the engine. Of a file in pieces no more than one is in this
 * program's memory: the rest lies on disk, or in a `Blob` of the browser's, from which the engine reads tensor by tensor.
 * Hashes are checked where the browser has `crypto.subtle`, that is on https and localhost; sizes always. A download goes on
 * by `Range`; whether both parts are of one version the hash decides, so without hashes each attempt begins anew.
 */

import { EngineError } from "./engines.js";
import { Pace } from "./pace.js";
import { openStore } from "./store.js";

/** What every checkpoint has. */
const REQUIRED = ["config.json", "tokenizer.json"];
/** What an engine takes besides, where the manifest lists it; the probe, which scores questions, only whole. */
const WANTED = /^((preprocessor|processor|generation|tokenizer)_config\.json|chat_template\.jinja|chat_template\.json)$/;
const PROBE_FILES = ["mas_probe.json", "mas_probe.safetensors"];
const WEIGHTS = /^model(-\d+-of-\d+)?\.safetensors$/;
const MANIFEST = "MANIFEST.json";
/** Pauses before each new attempt that follows one which brought nothing. */
const RETRY_PAUSES_MS = [400, 1600];
/** Longest time without a byte. */
const SILENCE_MS = 30_000;
/** How often a server is asked that is still hashing a checkpoint, and how long it waits by itself each time. */
const MOST_WAITS = 60;
/** Of the 4 GB that a module can have, what a model may take: caches and activations need the rest. */
const MOST_MODEL_BYTES = 3.2e9;
const HASH = /^[0-9a-f]{64}$/;

/**
 * @typedef {object} Checkpoint
 * @property {string} name
 * @property {string} fingerprint changes when the weights do
 * @property {number} bytes
 * @property {boolean} fromCache
 * @property {"disk" | "no_store" | "no_room"} kept where the next visit finds it, or why it does not
 * @property {Record<string, Uint8Array | Blob>} files a `Blob` is a file in pieces
 */

/**
 * @param {string} weightsUrl folder, absolute
 * @param {(loadedBytes: number, totalBytes: number, secondsLeft: number | null) => void} onProgress
 * @param {AbortSignal} [signal]
 * @returns {Promise<Checkpoint>}
 */
export async function fetchCheckpoint(weightsUrl, onProgress, signal) {
  const base = weightsUrl.endsWith("/") ? weightsUrl : `${weightsUrl}/`;
  const store = await openStore(base);
  const known = await keptManifest(store);
  const reading = readKept(store, known);
  const manifest = await fetchManifest(new URL(MANIFEST, base), store, known, signal);
  const names = wantedOf(manifest);
  const bytes = names.reduce((sum, name) => sum + manifest.files[name].bytes, 0);
  requireRoom(manifest, bytes);

  /** @type {Record<string, number>} */
  const loaded = {};
  const pace = new Pace();
  const report = (name, count, fetched = 0) => {
    loaded[name] = count;
    pace.add(fetched);
    const sum = Object.values(loaded).reduce((total, value) => total + value, 0);
    onProgress(sum, bytes, pace.secondsFor(bytes - sum));
  };
  onProgress(0, bytes, null);
  let fromCache = true;
  const obtain = async (name) => {
    const expected = manifest.files[name];
    const kept = await (reading.get(expected.sha256) ?? readWhole(store, expected));
    if (kept) {
      report(name, expected.bytes);
      return kept;
    }
    fromCache = false;
    const download = new Download(new URL(name, base), expected, store, (...counts) => report(name, ...counts));
    return download.run(signal);
  };
  // Large files come one behind the other: side by side they would wait for each other's turn in silence.
  const isLarge = (name) => Boolean(manifest.files[name].pieces);
  const contents = new Map();
  await Promise.all(names.filter((name) => !isLarge(name)).map(async (name) => contents.set(name, await obtain(name))));
  for (const name of names.filter(isLarge)) {
    contents.set(name, await obtain(name));
  }
  await store?.keepOnly([MANIFEST, ...names.map((name) => manifest.files[name].sha256)]);
  const kept = store?.isFull ? "no_room" : store ? "disk" : "no_store";
  const fingerprint = names.filter((name) => WEIGHTS.test(name)).map((name) => manifest.files[name].sha256).join();
  return { name: manifest.name ?? "", fingerprint, bytes, fromCache, kept, files: Object.fromEntries(contents) };
}

/** Refuses a model that no tab can hold before it is downloaded. */
function requireRoom({ name, parameters = 0 }, bytes) {
  // Halves and bytes are unpacked into 32 bits; what has fewer than 12 bits a weight was quantised, and stays so.
  const needed = bytes < 1.5 * parameters ? bytes : 4 * parameters;
  if (needed > MOST_MODEL_BYTES) {
    const gb = (count) => (count / 1e9).toFixed(1);
    const message = `${name} takes ${gb(needed)} GB of memory, and a browser's engine has ${gb(MOST_MODEL_BYTES)}`;
    throw new EngineError("checkpoint_invalid", `${message}; choose a smaller model, or ask the server alone`);
  }
}

/** The files that an engine takes of a checkpoint. @returns {string[]} */
function wantedOf({ files }) {
  const probe = PROBE_FILES.every((name) => files[name]) ? PROBE_FILES : [];
  const others = Object.keys(files).filter((name) => WANTED.test(name) || WEIGHTS.test(name));
  return [...REQUIRED, ...others, ...probe];
}

/** @returns {Promise<string | undefined>} the manifest of the last visit */
async function keptManifest(store) {
  const kept = await store?.read(MANIFEST);
  return kept && new TextDecoder().decode(kept);
}

/**
 * Begins to read what the last visit left, by its hash, while the network says whether that is still what is wanted.
 * @returns {Map<string, Promise<Uint8Array | Blob | undefined>>} by hash; those that have it
 */
function readKept(store, manifest) {
  const reading = new Map();
  try {
    const known = manifest ? checked(JSON.parse(manifest), MANIFEST) : undefined;
    for (const name of known ? wantedOf(known) : []) {
      reading.set(known.files[name].sha256, readWhole(store, known.files[name]));
    }
  } catch {
    // A damaged one is fetched anew.
  }
  return reading;
}

/** A file of the store that is what it should be. @returns {Promise<Uint8Array | Blob | undefined>} */
async function readWhole(store, expected) {
  const file = await store?.file(expected.sha256);
  if (file?.size !== expected.bytes) {
    return undefined;
  }
  try {
    let content;
    for (const { start, end, sha256 } of piecesOf(expected)) {
      content = new Uint8Array(await file.slice(start, end).arrayBuffer());
      if (!(await hasHash(content, sha256))) {
        return undefined;
      }
    }
    return expected.pieces ? file : content;
  } catch {
    return undefined;
  }
}

/** Where each piece of a file is; small ones are in one. */
function piecesOf({ bytes, sha256, pieces = [sha256], piece_bytes: most = bytes }) {
  return pieces.map((hash, index) => ({ start: index * most, end: Math.min((index + 1) * most, bytes), sha256: hash }));
}

/** The newest manifest; the kept one where the network is away. */
async function fetchManifest(url, store, known, signal) {
  try {
    const text = await askFor(url, signal);
    const manifest = checked(JSON.parse(text), url);
    if (text !== known) {
      await store?.writeText(MANIFEST, text);
    }
    return manifest;
  } catch (error) {
    if (!known || signal?.aborted || error instanceof EngineError) {
      throw error instanceof EngineError
        ? error
        : new EngineError("download_failed", `the model's manifest could not be fetched from ${url}: ${error.message}`);
    }
    return checked(JSON.parse(known), url);
  }
}

async function askFor(url, signal) {
  for (let waits = 0; ; waits += 1) {
    const response = await fetch(url, { cache: "no-cache", signal });
    if (response.ok) {
      return response.text();
    }
    const pause = Number(response.headers.get("retry-after"));
    if (response.status !== 503 || !pause || waits >= MOST_WAITS) {
      throw new Error(`the server answered ${response.status}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(pause, 10)));
    signal?.throwIfAborted();
  }
}

/** A manifest that announces all it should, with the length of pieces beside each file's. */
function checked(manifest, url) {
  const refuse = (reason) => {
    throw new EngineError("download_corrupt", `${url} ${reason}; make the manifest anew`);
  };
  if (!Object.keys(manifest.files ?? {}).some((name) => WEIGHTS.test(name))) {
    refuse("names no weights");
  }
  for (const name of wantedOf(manifest)) {
    const entry = manifest.files[name];
    if (!Number.isSafeInteger(entry?.bytes) || !HASH.test(entry?.sha256)) {
      refuse(`announces no size and hash for ${name}`);
    }
    if (entry.pieces) {
      entry.piece_bytes = manifest.piece_bytes;
      const isWhole = entry.pieces.length === Math.ceil(entry.bytes / entry.piece_bytes);
      if (!isWhole || !entry.pieces.every((hash) => HASH.test(hash))) {
        refuse(`announces pieces that do not make up ${name}`);
      }
    }
  }
  return manifest;
}

/** One file on its way. */
class Download {
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

async function hasHash(bytes, sha256) {
  if (!globalThis.crypto?.subtle) {
    return true;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}
