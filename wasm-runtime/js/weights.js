/**
 * Fetches a checkpoint: with progress in bytes and seconds, gone on with where it was cut, checked against its
 * manifest, kept on disk.
 *
 * The manifest (`MANIFEST.json`) announces the size and the SHA-256 of each file. A file that was damaged on the way is
 * fetched again; it never reaches the engine. Hashes are checked where the browser has `crypto.subtle`, that is on
 * https and localhost; sizes always. A download goes on by `Range`; whether both parts are of one version the hash
 * decides, so without hashes each attempt begins anew.
 */

import { EngineError } from "./engines.js";
import { Pace } from "./pace.js";
import { openStore } from "./store.js";

/** What an engine needs of a checkpoint's folder. */
const FILES = ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"];
/** What it takes besides, where the manifest lists it: the probe that scores questions. */
const PROBE_FILES = ["mas_probe.json", "mas_probe.safetensors"];
const MANIFEST = "MANIFEST.json";
/** Pauses before each new attempt that follows one which brought nothing. */
const RETRY_PAUSES_MS = [400, 1600];
/** Longest time without a byte. */
const SILENCE_MS = 30_000;

/**
 * @typedef {object} Checkpoint
 * @property {string} name
 * @property {string} fingerprint changes when the weights do
 * @property {number} bytes
 * @property {boolean} fromCache
 * @property {"disk" | "no_store" | "no_room"} kept where the next visit finds it, or why it does not
 * @property {Record<string, Uint8Array>} files
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
  const hasProbe = PROBE_FILES.every((name) => manifest.files[name]);
  const names = hasProbe ? [...FILES, ...PROBE_FILES] : FILES;
  const bytes = names.reduce((sum, name) => sum + manifest.files[name].bytes, 0);

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
  const contents = await Promise.all(
    names.map(async (name) => {
      const expected = manifest.files[name];
      const kept = await (reading.get(expected.sha256) ?? readWhole(store, expected));
      if (kept?.length === expected.bytes) {
        report(name, kept.length);
        return kept;
      }
      fromCache = false;
      const writer = await store?.write(expected.sha256);
      try {
        const download = new Download(new URL(name, base), expected, writer, (...counts) => report(name, ...counts));
        return await download.run(signal);
      } finally {
        writer?.close();
      }
    }),
  );
  await store?.keepOnly([MANIFEST, ...names.map((name) => manifest.files[name].sha256)]);
  const files = Object.fromEntries(names.map((name, index) => [name, contents[index]]));
  const kept = store?.isFull ? "no_room" : store ? "disk" : "no_store";
  const fingerprint = manifest.files["model.safetensors"].sha256;
  return { name: manifest.name ?? "", fingerprint, bytes, fromCache, kept, files };
}

/** @returns {Promise<string | undefined>} the manifest of the last visit */
async function keptManifest(store) {
  const kept = await store?.read(MANIFEST);
  return kept && new TextDecoder().decode(kept);
}

/**
 * Begins to read what the last visit left, by its hash, while the network says whether that is still what is wanted.
 * @returns {Map<string, Promise<Uint8Array | undefined>>} by hash; those that have it
 */
function readKept(store, manifest) {
  const reading = new Map();
  try {
    for (const file of Object.values(manifest ? JSON.parse(manifest).files : {})) {
      reading.set(file.sha256, readWhole(store, file));
    }
  } catch {
    // A damaged one is fetched anew.
  }
  return reading;
}

/** A file of the store that is what it should be. @returns {Promise<Uint8Array | undefined>} */
async function readWhole(store, { bytes, sha256 }) {
  const kept = await store?.read(sha256, bytes);
  return kept && (await hasHash(kept, sha256)) ? kept : undefined;
}

/** The newest manifest; the kept one where the network is away. */
async function fetchManifest(url, store, known, signal) {
  let manifest;
  try {
    const response = await fetch(url, { cache: "no-cache", signal });
    if (!response.ok) {
      throw new Error(`the server answered ${response.status}`);
    }
    const text = await response.text();
    manifest = JSON.parse(text);
    if (text !== known) {
      await store?.writeText(MANIFEST, text);
    }
  } catch (error) {
    if (!known || signal?.aborted) {
      throw new EngineError("download_failed", `the model's manifest could not be fetched from ${url}: ${error.message}`);
    }
    manifest = JSON.parse(known);
  }
  for (const name of [...FILES, ...PROBE_FILES.filter((file) => manifest.files?.[file])]) {
    const entry = manifest.files?.[name];
    if (!Number.isSafeInteger(entry?.bytes) || !/^[0-9a-f]{64}$/.test(entry?.sha256)) {
      throw new EngineError("download_corrupt", `${url} announces no size and hash for ${name}; make the manifest anew`);
    }
  }
  return manifest;
}

/** One file on its way. */
class Download {
  #count = 0;

  /**
   * @param {URL} url
   * @param {{ bytes: number, sha256: string }} expected
   * @param {import("./store.js").Writer | undefined} writer
   * @param {(count: number, fetched?: number) => void} onBytes
   */
  constructor(url, expected, writer, onBytes) {
    this.url = url;
    this.expected = expected;
    this.writer = writer;
    this.onBytes = onBytes;
    this.bytes = new Uint8Array(expected.bytes);
  }

  /** @returns {Promise<Uint8Array>} */
  async run(signal) {
    this.#count = this.writer?.begin(this.bytes) ?? 0;
    this.onBytes(this.#count);
    let vain = 0;
    for (;;) {
      const before = this.#count;
      try {
        if (this.#count < this.bytes.length || before === 0) {
          await this.#fetch(vain, signal);
        }
        if (await hasHash(this.bytes, this.expected.sha256)) {
          return this.bytes;
        }
        this.#restart();
        throw new EngineError("download_corrupt", `${this.url} does not have the hash of its manifest; try again`);
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

  async #fetch(vain, signal) {
    const response = await this.#inTime(
      fetch(this.url, {
        signal,
        headers: this.#count > 0 ? { Range: `bytes=${this.#count}-` } : {},
        // A second copy on disk serves nobody; and after a failure the browser's own copy may be the damaged one.
        cache: this.writer || this.#count > 0 ? "no-store" : vain ? "reload" : "default",
      }),
    );
    const isRest = response.status === 206;
    if (!isRest) {
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
        this.#take(value);
      }
    } catch (error) {
      reader.cancel().catch(() => undefined);
      throw error;
    }
    if (this.#count < this.bytes.length) {
      throw this.#failed(`it ended after ${this.#count} of ${this.bytes.length} bytes`);
    }
  }

  #take(chunk) {
    if (this.#count + chunk.length > this.bytes.length) {
      this.#restart();
      throw new EngineError("download_corrupt", `${this.url} is longer than its manifest's ${this.bytes.length} bytes`);
    }
    this.bytes.set(chunk, this.#count);
    this.writer?.append(chunk);
    this.#count += chunk.length;
    this.onBytes(this.#count, chunk.length);
  }

  #restart() {
    this.#count = 0;
    this.writer?.restart();
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
