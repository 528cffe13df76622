/**
 * Handles on engine Workers (`engine.js`), and the search for a GPU.
 */

/** A failure with a code of `EdgeErrorCode` in messages.rs. */
export class EngineError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * @typedef {object} Listeners
 * @property {(scored: object) => void} onScored
 * @property {(index: number, token: object) => void} onToken
 */

/** Longest time without a sign of life from a call; a GPU driver that hangs gives none. */
const SILENCE_MS = 300_000;

/** One engine in its Worker. After `failed` or `dispose` it answers nothing more. */
export class EngineHandle {
  /** @param {"simd" | "webgpu"} kind */
  constructor(kind) {
    this.kind = kind;
    /** @type {Map<number, { resolve: Function, reject: Function, listeners?: Listeners, timer: number }>} */
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
    return this.#call("init", [this.kind]);
  }

  /**
   * Builds the model.
   * @param {Record<string, Uint8Array>} files
   * @returns {Promise<{ parameters: number, has_probe: boolean }>} weights in the model, and whether it scores
   */
  load(files) {
    return this.#call("load", [this.kind, files]);
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
   * @returns {{ answer: Promise<object>, cancel: () => void }}
   */
  ask(request, listeners) {
    const call = this.nextCall;
    // The buffers are copied, not moved: if this engine fails, another one gets them.
    return { answer: this.#call("ask", [request], listeners), cancel: () => this.worker.postMessage({ cancel: call }) };
  }

  /** Ends the Worker and gives its memory back. */
  dispose() {
    this.#fail("the engine was given up");
  }

  #call(method, args, listeners) {
    if (!this.worker) {
      return Promise.reject(new EngineError("engine_failed", "the engine has stopped"));
    }
    const call = this.nextCall++;
    return new Promise((resolve, reject) => {
      this.calls.set(call, { resolve, reject, listeners, timer: this.#watch() });
      this.worker.postMessage({ call, method, args });
    });
  }

  #watch() {
    return setTimeout(() => this.#fail(`nothing was heard of it for ${SILENCE_MS / 1000} s`), SILENCE_MS);
  }

  #receive({ call, result, error, scored, index, token }) {
    const entry = this.calls.get(call);
    if (!entry) {
      return;
    }
    clearTimeout(entry.timer);
    if (scored || token) {
      entry.timer = this.#watch();
      if (scored) {
        entry.listeners.onScored(scored);
      } else {
        entry.listeners.onToken(index, token);
      }
      return;
    }
    this.calls.delete(call);
    if (error) {
      entry.reject(new EngineError(error.code, error.message));
    } else {
      entry.resolve(result);
    }
  }

  #fail(reason) {
    this.worker?.terminate();
    this.worker = undefined;
    const calls = [...this.calls.values()];
    this.calls.clear();
    for (const { reject, timer } of calls) {
      clearTimeout(timer);
      reject(new EngineError("engine_failed", `the ${this.kind} engine stopped: ${reason}`));
    }
  }
}

/** Pauses between attempts to get an adapter: the first answer after a browser's start can be null. */
const ADAPTER_PAUSES_MS = [0, 200, 800];

/**
 * Describes the GPU that WebGPU would use.
 * @returns {Promise<{ vendor: string, architecture: string, description: string, is_fallback: boolean } | null>}
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
      return { vendor, architecture, description, is_fallback };
    }
  }
  return null;
}
