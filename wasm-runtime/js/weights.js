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

import { Download, hasHash, piecesOf } from "./download.js";
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
/** How often a server is asked that is still hashing a checkpoint, and how long it waits by itself each time. */
const MOST_WAITS = 60;
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
 * @param {(config: string) => Promise<void>} [check] rejects a model by the text of its config.json before large files are fetched
 * @returns {Promise<Checkpoint>}
 */
export async function fetchCheckpoint(weightsUrl, onProgress, signal, check) {
  const base = weightsUrl.endsWith("/") ? weightsUrl : `${weightsUrl}/`;
  const store = await openStore(base);
  const known = await keptManifest(store);
  const reading = readKept(store, known);
  const manifest = await fetchManifest(new URL(MANIFEST, base), store, known, signal);
  const names = wantedOf(manifest);
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
  await check?.(new TextDecoder().decode(contents.get("config.json")));
  for (const name of names.filter(isLarge)) {
    contents.set(name, await obtain(name));
  }
  await store?.keepOnly([MANIFEST, ...names.map((name) => manifest.files[name].sha256)]);
  const kept = store?.isFull ? "no_room" : store ? "disk" : "no_store";
  const fingerprint = names.filter((name) => WEIGHTS.test(name)).map((name) => manifest.files[name].sha256).join();
  return { name: manifest.name ?? "", fingerprint, bytes, fromCache, kept, files: Object.fromEntries(contents) };
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
