/**
 * Remembers which engine was faster, so that a GPU that lost once is not downloaded for again.
 *
 * A verdict holds for one GPU, browser and checkpoint, and for two weeks, since drivers and engines change.
 * Workers have no localStorage, so it lies in the Cache API; where that is refused, the engines are measured anew
 * each time.
 */

const CACHE_NAME = "msao-verdicts-v1";
const LIFETIME_MS = 14 * 24 * 3600 * 1000;

/**
 * @param {object} adapter as `findAdapter` gives it
 * @param {string} fingerprint of the checkpoint
 */
function addressOf(adapter, fingerprint) {
  const parts = [adapter.vendor, adapter.architecture, adapter.description, navigator.userAgent, fingerprint];
  return new URL(`verdict?${parts.map(encodeURIComponent).join("&")}`, import.meta.url);
}

/** @returns {Promise<{ simd: object, webgpu: object | null, chosen: string } | undefined>} */
export async function recallVerdict(adapter, fingerprint) {
  try {
    const cache = await caches.open(CACHE_NAME);
    const verdict = await (await cache.match(addressOf(adapter, fingerprint)))?.json();
    return verdict && Date.now() - verdict.remembered_at < LIFETIME_MS ? verdict : undefined;
  } catch {
    return undefined;
  }
}

/** @param {{ simd: object, webgpu: object | null, chosen: string }} verdict */
export async function rememberVerdict(adapter, fingerprint, verdict) {
  try {
    const cache = await caches.open(CACHE_NAME);
    await cache.put(addressOf(adapter, fingerprint), Response.json({ ...verdict, remembered_at: Date.now() }));
  } catch {
    // Measured again next time.
  }
}
