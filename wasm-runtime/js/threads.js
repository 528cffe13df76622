/**
 * The Wasm SIMD engine on several threads, where the page is cross-origin isolated: its module is linked for shared memory, and
 * helpers (`helper.js`) take parts of its products. Elsewhere the plain module serves.
 */

/** More gain little: a small model's products are soon divided. */
const MOST_THREADS = 4;
/** Left to the page and the browser: what helpers take from those, answers wait for. */
const CORES_OF_OTHERS = 1;
/** A helper that takes longer than this to start is not waited for; it still comes. */
const PATIENCE_MS = 3_000;

/**
 * How many threads an engine may use here, its own included.
 * @param {number | undefined} asked
 */
function threadsHere(asked) {
  if (!globalThis.crossOriginIsolated || typeof SharedArrayBuffer === "undefined") {
    return 1;
  }
  return asked ?? Math.max(1, Math.min(navigator.hardwareConcurrency - CORES_OF_OTHERS, MOST_THREADS));
}

/**
 * Loads the module for several threads and starts its helpers. The path is literal, so that bundlers see it.
 * @param {number} threads
 * @returns {Promise<{ module: any, started: Promise<number> }>} `started` tells how many threads have come
 */
async function loadThreaded(threads) {
  const module = await import("./threads/msao_runtime.js");
  const compiled = await WebAssembly.compileStreaming(fetch(new URL("./threads/msao_runtime_bg.wasm", import.meta.url)));
  const { memory } = await module.default({ module_or_path: compiled });
  const count = Math.min(threads - 1, module.await_helpers());
  const helpers = Array.from({ length: count }, (_, number) => startHelper({ module: compiled, memory, number }));
  const started = Promise.all(helpers).then((came) => 1 + came.filter(Boolean).length);
  return { module, started };
}

/** Whether the helper has come in time. Without it the others do its work. */
function startHelper(order) {
  const worker = new Worker(new URL("./helper.js", import.meta.url), { type: "module", name: "msao-helper" });
  return new Promise((resolve) => {
    setTimeout(() => resolve(false), PATIENCE_MS);
    worker.onmessage = () => resolve(true);
    worker.onerror = (event) => {
      event.preventDefault();
      resolve(false);
    };
    worker.postMessage(order);
  });
}

/**
 * The engine's module for the processor: on several threads where that is possible, else the plain one.
 * @param {number} [asked] as in index.d.ts
 * @returns {Promise<{ module: any, started: Promise<number> }>}
 */
export async function loadSimd(asked) {
  const threads = threadsHere(asked);
  if (threads > 1) {
    try {
      return await loadThreaded(threads);
    } catch (error) {
      console.warn(`MSAO goes on with one thread: ${error.message}`);
    }
  }
  const module = await import("./simd/msao_runtime.js");
  await module.default();
  return { module, started: Promise.resolve(1) };
}
