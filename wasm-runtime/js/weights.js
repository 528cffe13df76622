/**
 * Fetches a checkpoint: with progress in bytes, checked against its manifest, kept in the browser's cache.
 *
 * The manifest (`MANIFEST.json`) announces the size and the SHA-256 of each file. A file that was cut short or
 * damaged on the way is fetched again; it never reaches the engine. Hashes are checked where the browser has
 * `crypto.subtle`, that is on https and localhost; sizes always.
 */

import { EngineError } from "./engines.js";

/** What an engine needs of a checkpoint's folder. */
const FILES = ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"];
/** What it takes besides, where the manifest lists it: the probe that scores questions. */
const PROBE_FILES = ["mas_probe.json", "mas_probe.safetensors"];
/** Pauses before each new attempt. */
const RETRY_PAUSES_MS = [400, 1600];
const CACHE_NAME = "msao-weights-v1";

/**
 * @typedef {object} Checkpoint
 * @property {string} name
 * @property {string} fingerprint changes when the weights do
 * @property {number} bytes
 * @property {boolean} fromCache
 * @property {Record<string, Uint8Array>} files
 */

/**
 * @param {string} weightsUrl folder, absolute
 * @param {(loadedBytes: number, totalBytes: number) => void} onProgress
 * @param {AbortSignal} [signal]
 * @returns {Promise<Checkpoint>}
 */
export async function fetchCheckpoint(weightsUrl, onProgress, signal) {
  const base = weightsUrl.endsWith("/") ? weightsUrl : `${weightsUrl}/`;
  const cache = await openCache();
  const manifest = await fetchManifest(new URL("MANIFEST.json", base), cache, signal);
  const hasProbe = PROBE_FILES.every((name) => manifest.files[name]);
  const names = hasProbe ? [...FILES, ...PROBE_FILES] : FILES;
  const bytes = names.reduce((sum, name) => sum + manifest.files[name].bytes, 0);

  /** @type {Record<string, number>} */
  const loaded = {};
  const report = (name, count) => {
    loaded[name] = count;
    onProgress(Object.values(loaded).reduce((sum, value) => sum + value, 0), bytes);
  };
  onProgress(0, bytes);
  let fromCache = true;
  const contents = await Promise.all(
    names.map(async (name) => {
      const url = new URL(name, base);
      const expected = manifest.files[name];
      const kept = await fromCacheStorage(cache, url, expected);
      if (kept) {
        report(name, kept.length);
        return kept;
      }
      fromCache = false;
      const fetched = await fetchFile(url, expected, (count) => report(name, count), signal);
      await keep(cache, url, expected, fetched);
      return fetched;
    }),
  );
  const files = Object.fromEntries(names.map((name, index) => [name, contents[index]]));
  return { name: manifest.name ?? "", fingerprint: manifest.files["model.safetensors"].sha256, bytes, fromCache, files };
}

/** The newest manifest; the kept one where the network is away. */
async function fetchManifest(url, cache, signal) {
  let manifest;
  try {
    const response = await fetch(url, { cache: "no-cache", signal });
    if (!response.ok) {
      throw new Error(`the server answered ${response.status}`);
    }
    const text = await response.text();
    manifest = JSON.parse(text);
    await cache?.put(url, new Response(text)).catch(() => undefined);
  } catch (error) {
    const kept = signal?.aborted ? undefined : await cache?.match(url);
    if (!kept) {
      throw new EngineError("download_failed", `the model's manifest could not be fetched from ${url}: ${error.message}`);
    }
    manifest = await kept.json();
  }
  for (const name of [...FILES, ...PROBE_FILES.filter((file) => manifest.files?.[file])]) {
    const entry = manifest.files?.[name];
    if (!Number.isSafeInteger(entry?.bytes) || !/^[0-9a-f]{64}$/.test(entry?.sha256)) {
      throw new EngineError("download_corrupt", `${url} announces no size and hash for ${name}; make the manifest anew`);
    }
  }
  return manifest;
}

async function fetchFile(url, expected, onBytes, signal) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      // After a failure the browser's own cache is passed by: it may hold the damaged copy.
      return await fetchOnce(url, expected, onBytes, { signal, cache: attempt ? "reload" : "default" });
    } catch (error) {
      if (signal?.aborted || attempt === RETRY_PAUSES_MS.length) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSES_MS[attempt]));
    }
  }
}

async function fetchOnce(url, expected, onBytes, init) {
  const failed = (reason) => new EngineError("download_failed", `${url} could not be fetched: ${reason}; try again`);
  const response = await fetch(url, init).catch((error) => {
    throw failed(error.message);
  });
  if (!response.ok || !response.body) {
    throw failed(`the server answered ${response.status}`);
  }
  const bytes = new Uint8Array(expected.bytes);
  const reader = response.body.getReader();
  let count = 0;
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw failed(error.message);
    });
    if (done) {
      break;
    }
    if (count + value.length > bytes.length) {
      await reader.cancel();
      throw new EngineError("download_corrupt", `${url} is longer than the ${bytes.length} bytes of its manifest`);
    }
    bytes.set(value, count);
    count += value.length;
    onBytes(count);
  }
  if (count < bytes.length) {
    throw new EngineError("download_corrupt", `${url} ended after ${count} of ${bytes.length} bytes; try again`);
  }
  if (!(await hasHash(bytes, expected.sha256))) {
    throw new EngineError("download_corrupt", `${url} does not have the hash of its manifest; try again`);
  }
  return bytes;
}

async function hasHash(bytes, sha256) {
  if (!globalThis.crypto?.subtle) {
    return true;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}

/** Private windows and full disks refuse; everything works without, only slower the next time. */
function openCache() {
  return globalThis.caches ? caches.open(CACHE_NAME).catch(() => undefined) : undefined;
}

const keyOf = (url, { sha256 }) => `${url}?sha256=${sha256}`;

async function fromCacheStorage(cache, url, expected) {
  const response = await cache?.match(keyOf(url, expected)).catch(() => undefined);
  if (!response) {
    return undefined;
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  return bytes.length === expected.bytes && (await hasHash(bytes, expected.sha256)) ? bytes : undefined;
}

async function keep(cache, url, expected, bytes) {
  if (!cache) {
    return;
  }
  try {
    for (const old of await cache.keys(url, { ignoreSearch: true })) {
      await cache.delete(old);
    }
    await cache.put(keyOf(url, expected), new Response(bytes));
  } catch {
    // No room: the checkpoint lives in memory this time.
  }
}
