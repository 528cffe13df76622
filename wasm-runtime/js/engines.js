/**
 * Handles on engine Workers (`engine.js`), and the search for a GPU.
 */

/** A failure with a code of `EdgeErrorCode` in messages.rs. */
export class EngineError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {string} [fits_as] the format that would fit where the code is `too_large`
   */
  constructor(code, message, fits_as) {
    super(message);
    this.code = code;
    this.fits_as = fits_as;
  }
}

/**
 * @typedef {object} Listeners
 * @property {(scored: object) => void} onScored
 * @property {(step: object) => void} onStep hears each `EdgeStep` of steering.rs
 */

/**
 * @typedef {object} Asked an answer under way
 * @property {Promise<object>} answer
 * @property {(correction: { revision: number, start: number, tokens: number[] }) => void} correct
 * @property {() => void} release ends the wait after the answer
 * @property {() => void} cancel
 */

/**
 * @typedef {object} Call
 * @property {Function} resolve
 * @property {Function} reject
 * @property {Listeners} [listeners]
 * @property {number} [timer] runs while the engine has something to do
 * @property {number} revision of the last correction
 */

/** Longest time without a sign of life from a call; a GPU driver that hangs gives none. */
const SILENCE_MS = 300_000;

/** One engine in its Worker. After `failed` or `dispose` it answers nothing more. */
export class EngineHandle {
  /** Whether its GPU had no memory left: no engine of this kind will do better. */
  isOutOfMemory = false;

  /**
   * @param {"simd" | "webgpu"} kind
   * @param {number | undefined} threads as in index.d.ts; of use to SIMD
   * @param {(error: EngineError) => void} onFailed hears once that it answers nothing more, unless it was disposed of
   */
  constructor(kind, threads, onFailed = () => {}) {
    this.kind = kind;
    this.threads = threads;
    this.onFailed = onFailed;
    /** @type {Map<number, Call>} */
    this.calls = new Map();
    this.nextCall = 0;
    this.worker = new Worker(new URL("./engine.js", import.meta.url), { type: "module", name: `msao-${kind}` });
    this.worker.onmessage = ({ data }) => this.#receive(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message || "its script could not be loaded");
    };
  }

  /** Compiles the module; done first, while the checkpoint is still on its way. */
  init() {
    return this.#call("init", [this.kind, this.threads]);
  }

  /**
   * Builds the model; the files are moved there, those in pieces as references.
   * @param {Record<string, Uint8Array | Blob>} files
   * @param {string | undefined} format how weights are kept; as they are stored unless given
   * @returns {Promise<{ parameters: number, has_probe: boolean, threads: number }>} weights in the model, whether it scores,
   *   and on how many threads
   */
  load(files, format) {
    const moved = Object.values(files).flatMap((file) => (file instanceof Blob ? [] : [file.buffer]));
    return this.#call("load", [this.kind, files, format], undefined, moved);
  }

  /** Rejects a model that does not fit, by the text of its config.json. */
  checkRoom(config, format, buffer_bytes) {
    return this.#call("check_room", [{ config, format, buffer_bytes, device_memory_gib: navigator.deviceMemory }]);
  }

  /** Runs every shape once. */
  warmUp() {
    return this.#call("warm_up", []);
  }

  /** @returns {Promise<{ prefill_ms: number, decode_step_ms: number }>} */
  measure() {
    return this.#call("measure", []);
  }

  /** The planner's choice between two measurements. */
  choose(simd, webgpu) {
    return this.#call("choose", [simd, webgpu]);
  }

  /**
   * @param {object} request as the page sent it
   * @param {Listeners} listeners
   * @returns {Asked}
   */
  ask(request, listeners) {
    const call = this.nextCall;
    // Copies are moved: if this engine fails, another one gets the same media. Left to the message, copying takes longer.
    const images = request.images.map((image) => ({ ...image, pixels: image.pixels.slice() }));
    const audio = request.audio && { ...request.audio, samples: request.audio.samples.slice() };
    const media = [...images.map(({ pixels }) => pixels), ...(audio ? [audio.samples] : [])];
    const answer = this.#call("ask", [{ ...request, images, audio }], listeners, media);
    const steer = (message, revision) => this.#steer(call, message, revision);
    return {
      answer,
      correct: (correction) => steer({ correct: call, correction }, correction.revision),
      release: () => steer({ release: call }),
      cancel: () => steer({ cancel: call }),
    };
  }

  /** Ends the Worker and gives its memory back. */
  dispose() {
    this.onFailed = () => {};
    this.#fail("the engine was given up");
  }

  #call(method, args, listeners, transfer = []) {
    if (!this.worker) {
      return Promise.reject(new EngineError("engine_failed", "the engine has stopped"));
    }
    const call = this.nextCall++;
    return new Promise((resolve, reject) => {
      this.calls.set(call, { resolve, reject, listeners, timer: this.#watch(), revision: 0 });
      this.worker.postMessage({ call, method, args }, transfer);
    });
  }

  #steer(call, message, revision) {
    const entry = this.calls.get(call);
    if (entry) {
      entry.revision = revision ?? entry.revision;
      clearTimeout(entry.timer);
      entry.timer = this.#watch();
      this.worker.postMessage(message);
    }
  }

  #watch() {
    return setTimeout(() => this.#fail(`nothing was heard of it for ${SILENCE_MS / 1000} s`), SILENCE_MS);
  }

  #receive({ call, result, error, scored, step, lost }) {
    if (lost) {
      this.isOutOfMemory = lost.isOutOfMemory;
      this.#fail(lost.message);
      return;
    }
    const entry = this.calls.get(call);
    if (!entry) {
      return;
    }
    clearTimeout(entry.timer);
    if (scored || step) {
      // After its answer the engine waits to be told something, unless that is on its way.
      const waits = step?.type === "ended" && step.answer.revision === entry.revision;
      entry.timer = waits ? undefined : this.#watch();
      if (scored) {
        entry.listeners.onScored(scored);
      } else {
        entry.listeners.onStep(step);
      }
      return;
    }
    this.calls.delete(call);
    if (error) {
      entry.reject(new EngineError(error.code, error.message, error.fits_as));
    } else {
      entry.resolve(result);
    }
  }

  #fail(reason) {
    this.worker?.terminate();
    this.worker = undefined;
    const calls = [...this.calls.values()];
    this.calls.clear();
    const error = new EngineError("engine_failed", `the ${this.kind} engine stopped: ${reason}`);
    for (const { reject, timer } of calls) {
      clearTimeout(timer);
      reject(error);
    }
    const { onFailed } = this;
    this.onFailed = () => {};
    onFailed(error);
  }
}

/** Pauses between attempts to get an adapter: the first answer after a browser's start can be null. */
const ADAPTER_PAUSES_MS = [0, 200, 800];

/**
 * Describes the GPU that WebGPU would use.
 * @returns {Promise<{ vendor: string, architecture: string, description: string, is_fallback: boolean, max_buffer_bytes: number } | null>}
 */
export async function findAdapter() {
  if (!navigator.gpu) {
    return null;
  }
  for (const pause of ADAPTER_PAUSES_MS) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
    if (adapter) {
      const { vendor = "", architecture = "", description = "", isFallbackAdapter } = adapter.info ?? {};
      const software = /swiftshader|llvmpipe|lavapipe|basic render/i.test(`${architecture} ${description}`);
      const is_fallback = Boolean(isFallbackAdapter ?? adapter.isFallbackAdapter) || software;
      const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
      const max_buffer_bytes = Math.min(maxBufferSize, maxStorageBufferBindingSize);
      return { vendor, architecture, description, is_fallback, max_buffer_bytes };
    }
  }
  return null;
}
