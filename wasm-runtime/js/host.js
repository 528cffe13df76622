/**
 * Keeps one engine answering: loads it, queues questions, replaces it when it fails or when WebGPU is faster.
 *
 * Messages are those of messages.rs; an `ask` may say `wants_scores: false` as well. One question is worked on at a time; each ends in exactly one `error`, or `done`,
 * or, where it awaits its target, `released` (`question.js`). Engines live in Workers of their own (`engines.js`), so
 * whatever happens to one, this one goes on.
 */

import { EngineError, EngineHandle, findAdapter } from "./engines.js";
import { Question } from "./question.js";
import { recallVerdict, rememberVerdict } from "./verdicts.js";
import { fetchCheckpoint } from "./weights.js";

/** How often a question is tried: a second time on another engine, or on the same one started again. */
const MOST_ATTEMPTS = 2;
/** Engines lost one after the other, without an answer between, after which none is started any more. */
const MOST_LOSSES = 3;
/** A WebGPU engine that needs so many times as long for a token as SIMD did, so many answers in a row, is given up. */
const SLOWER = 2;
const SLOW_ANSWERS = 3;
/** Quiet time before WebGPU is tried in the background. */
const IDLE_MS = 1000;
/** What is compiled while it runs gets ready for the first question in this time after the engine, if none was asked. */
const WARM_UP_AFTER_MS = 200;
/** Shortest time between two reports of downloaded bytes. */
const PROGRESS_INTERVAL_MS = 50;

/**
 * `simdStepMs`: where SIMD was measured beside it, its time for a token.
 * @typedef {{ handle: EngineHandle, adapter: object | null, details: any, simdStepMs?: number }} RunningEngine
 */

export class EngineHost {
  /** @type {RunningEngine | null} */
  #engine = null;
  /** @type {Question[]} */
  #queue = [];
  /** @type {Question | null} */
  #running = null;
  /** @type {Promise<void>} */
  #settled = Promise.resolve();
  /** No question is begun while this is above 0. */
  #holds = 0;
  /** Why nothing will be answered any more. */
  #closed = "";
  #abort = new AbortController();
  #weightsUrl = "";
  /** How weights are kept in memory; as they are stored unless told. @type {string | undefined} */
  #format;
  /** How many threads SIMD was told to use. @type {number | undefined} */
  #threads;
  #lastWork = 0;
  /** Engines lost since the last answer. */
  #losses = 0;
  /** Answers in a row that were slower than SIMD. */
  #slowAnswers = 0;

  /** @param {(event: object, transfer?: ArrayBuffer[]) => void} post */
  constructor(post) {
    this.post = post;
  }

  /** @param {any} message a WorkerRequest */
  receive(message) {
    switch (message.type) {
      case "load":
        this.#threads = message.threads;
        this.#format = message.format ?? undefined;
        return this.#load(message.engine, message.weights_url);
      case "ask":
        return this.#ask(message);
      case "correct":
        return this.#correct(message);
      case "release":
        return this.#find(message.request_id)?.release();
      case "cancel":
        return this.#cancel(message.request_id);
      case "measure":
        return this.#measure();
      case "unload":
        return this.#unload();
      default:
        return this.#error(null, new EngineError("invalid_input", `unknown message type ${message.type}`));
    }
  }

  async #load(preference, weightsUrl) {
    this.#weightsUrl = weightsUrl;
    try {
      const kind = preference === "webgpu" ? "webgpu" : "simd";
      const adapter = kind === "webgpu" ? await findAdapter() : null;
      if (kind === "webgpu" && !adapter) {
        const message = "this browser offers no WebGPU here; choose the engine simd or auto";
        throw new EngineError("engine_unavailable", message);
      }
      this.#engine = await this.#start(kind, adapter);
    } catch (error) {
      return this.#close(error);
    }
    this.post({ type: "ready", ...this.#engine.details });
    this.#pump();
    this.#warmUpSoon(this.#engine);
    return preference === "auto" ? this.#considerWebgpu() : undefined;
  }

  /** @returns {Promise<RunningEngine>} */
  async #start(engine, adapter) {
    const progress = (stage, loaded_bytes = 0, total_bytes = 0, seconds_left = null) =>
      this.post({ type: "progress", stage, engine, loaded_bytes, total_bytes, seconds_left });
    let reported = -Infinity;
    const onBytes = (loaded, total, secondsLeft) => {
      if (loaded === total || performance.now() - reported > PROGRESS_INTERVAL_MS) {
        reported = performance.now();
        progress("weights", loaded, total, secondsLeft);
      }
    };
    const { signal } = this.#abort;
    const handle = new EngineHandle(engine, this.#threads, (error) => this.#lost(handle, error));
    signal.addEventListener("abort", () => handle.dispose());
    try {
      const times = [performance.now()];
      progress("engine");
      const started = handle.init();
      const check = async (config) => {
        await started;
        await handle.checkRoom(config, this.#format, adapter?.max_buffer_bytes);
      };
      const [, checkpoint] = await Promise.all([started, fetchCheckpoint(this.#weightsUrl, onBytes, signal, check)]);
      times.push(performance.now());
      progress("model");
      const { parameters, has_probe, vocabulary, threads } = await handle.load(checkpoint.files, this.#format);
      times.push(performance.now());
      // SIMD has nothing to compile for a shape. A software adapter serves tests only; there it takes minutes.
      if (engine === "webgpu" && !adapter?.is_fallback) {
        progress("warm_up");
        await handle.warmUp();
      }
      times.push(performance.now());
      const [download_ms, load_ms, warm_up_ms] = times.slice(1).map((time, index) => time - times[index]);
      const { name: model, bytes: weights_bytes, fromCache: from_cache, kept, fingerprint } = checkpoint;
      this.fingerprint = fingerprint + (this.#format ?? "");
      const about = { threads, model, parameters, has_probe, vocabulary, weights_bytes, from_cache, kept };
      return { handle, adapter, details: { engine, adapter, ...about, download_ms, load_ms, warm_up_ms } };
    } catch (error) {
      handle.dispose();
      throw error;
    }
  }

  /** Until somebody has asked, browsers run Wasm that they have compiled in haste. */
  async #warmUpSoon({ handle }) {
    await new Promise((resolve) => setTimeout(resolve, WARM_UP_AFTER_MS));
    const isIdle = !this.#running && this.#queue.length === 0 && this.#lastWork === 0;
    if (isIdle && handle.kind === "simd" && this.#engine?.handle === handle) {
      // Whatever is wrong with it shows at the first question.
      await this.#alone(() => handle.warmUp()).catch(() => undefined);
    }
  }

  #ask(request) {
    if (this.#closed) {
      return this.#error(request.request_id, new EngineError("not_ready", this.#closed));
    }
    this.#queue.push(new Question(request, this.post));
    // Whoever waits for corrections makes room.
    this.#running?.release();
    return this.#pump();
  }

  /** @returns {Question | undefined} */
  #find(requestId) {
    return [...(this.#running ? [this.#running] : []), ...this.#queue].find(({ id }) => id === requestId);
  }

  #correct(message) {
    const question = this.#find(message.request_id);
    question?.correct(message);
    if (question?.failure && this.#dequeue(question)) {
      question.fail(question.failure);
    }
  }

  #cancel(requestId) {
    const question = this.#find(requestId);
    question?.cancel();
    if (question && this.#dequeue(question)) {
      this.#drop(question);
    }
  }

  /** @returns {boolean} whether it was in the queue */
  #dequeue(question) {
    const index = this.#queue.indexOf(question);
    if (index >= 0) {
      this.#queue.splice(index, 1);
    }
    return index >= 0;
  }

  #pump() {
    if (this.#engine && !this.#running && this.#holds === 0 && this.#queue.length > 0) {
      this.#running = this.#queue.shift();
      this.#settled = this.#run(this.#running, this.#engine).finally(() => {
        this.#running = null;
        this.#lastWork = performance.now();
        this.#pump();
      });
    }
  }

  /** @param {Question} question @param {RunningEngine} engine */
  async #run(question, engine) {
    if (this.#queue.length > 0) {
      question.release();
    }
    try {
      await question.run(engine.handle);
      this.#losses = 0;
      this.#watchPace(engine, question.stepMs);
    } catch (error) {
      const isLost = error.code === "engine_failed" && !this.#closed;
      if (isLost && question.cancelled) {
        this.#drop(question);
      } else if (isLost && !question.failure && question.attempts < MOST_ATTEMPTS) {
        this.#queue.unshift(question);
      } else {
        question.fail(question.failure ?? error);
      }
      if (isLost) {
        await this.#replace(engine, error);
      }
    }
  }

  /** An engine has failed by itself. One that works on a question is replaced once that question knows. */
  #lost(handle, error) {
    const engine = this.#engine;
    if (engine?.handle === handle && !this.#running) {
      this.#settled = this.#replace(engine, error).finally(() => this.#pump());
    }
  }

  /** Starts SIMD after an engine has failed. */
  async #replace(failed, cause) {
    failed.handle.dispose();
    this.#engine = null;
    this.#losses += 1;
    if (this.#losses >= MOST_LOSSES) {
      const message = `${cause.message}; it has failed ${this.#losses} times in a row`;
      return this.#close(new EngineError("engine_failed", message));
    }
    if (failed.handle.isOutOfMemory) {
      const verdict = { simd: null, webgpu: null, chosen: "simd", failure: cause.message };
      await rememberVerdict(failed.adapter, this.fingerprint, verdict);
    }
    const isSimd = failed.handle.kind === "simd";
    if (isSimd) {
      // Whatever it was, one thread is the safer way.
      this.#threads = 1;
    }
    try {
      this.#engine = await this.#start("simd", null);
    } catch (error) {
      return this.#close(error);
    }
    this.#changed(failed, "failed", `${cause.message}; ${isSimd ? "it was started again" : "Wasm SIMD has taken over"}`);
  }

  /** A GPU can become slow after it was chosen, as when others use it or it is hot. */
  #watchPace(engine, stepMs) {
    if (stepMs === undefined || engine.simdStepMs === undefined) {
      return;
    }
    this.#slowAnswers = stepMs > SLOWER * engine.simdStepMs ? this.#slowAnswers + 1 : 0;
    if (this.#slowAnswers >= SLOW_ANSWERS) {
      this.#slowAnswers = 0;
      // Without SIMD, slow answers are better than none.
      this.#stepDown(engine).catch(() => undefined);
    }
  }

  /** In the background: starts SIMD and moves to it. */
  async #stepDown(slow) {
    const simd = await this.#start("simd", null);
    await this.#alone(async () => {
      if (this.#engine !== slow) {
        simd.handle.dispose();
        return;
      }
      this.#engine = simd;
      slow.handle.dispose();
      const message = "WebGPU has become slower than Wasm SIMD on this device";
      this.#changed(slow, "slower", message);
      const verdict = { simd: null, webgpu: null, chosen: "simd", failure: message };
      await rememberVerdict(slow.adapter, this.fingerprint, verdict);
    });
  }

  /** In the background: tries WebGPU, and moves to it if it is clearly faster. */
  async #considerWebgpu() {
    const adapter = await findAdapter();
    if (!adapter || adapter.is_fallback) {
      return;
    }
    const { fingerprint } = this;
    const known = await recallVerdict(adapter, fingerprint);
    if (known?.chosen === "simd") {
      this.post({ type: "measured", ...known, adapter });
      return;
    }
    await this.#idle();
    let candidate;
    try {
      candidate = await this.#start("webgpu", adapter);
      await this.#alone(() => this.#compare(candidate));
    } catch (error) {
      candidate?.handle.dispose();
      if (this.#closed) {
        return;
      }
      const verdict = { simd: null, webgpu: null, chosen: "simd", failure: error.message };
      if (!error.code?.startsWith("download")) {
        await rememberVerdict(adapter, fingerprint, verdict);
      }
      this.post({ type: "measured", ...verdict, adapter });
    }
  }

  /** @param {RunningEngine} candidate */
  async #compare(candidate) {
    const current = this.#engine;
    if (!current) {
      throw new EngineError("download_failed", "the engine in use was lost meanwhile");
    }
    this.post({ type: "progress", stage: "measure", engine: "webgpu", loaded_bytes: 0, total_bytes: 0 });
    const simd = await current.handle.measure();
    const webgpu = await candidate.handle.measure();
    const chosen = await current.handle.choose(simd, webgpu);
    const verdict = { simd, webgpu, chosen, failure: null };
    await rememberVerdict(candidate.adapter, this.fingerprint, verdict);
    this.post({ type: "measured", ...verdict, adapter: candidate.adapter });
    if (chosen === "webgpu") {
      this.#engine = { ...candidate, simdStepMs: simd.decode_step_ms };
      current.handle.dispose();
      this.#changed(current, "faster", "WebGPU was measured to be clearly faster on this device");
    } else {
      candidate.handle.dispose();
    }
  }

  async #measure() {
    try {
      await this.#alone(async () => {
        if (!this.#engine) {
          throw new EngineError("not_ready", this.#closed || "the engine is still loading");
        }
        const { handle, adapter } = this.#engine;
        const timings = { simd: null, webgpu: null, [handle.kind]: await handle.measure() };
        this.post({ type: "measured", ...timings, chosen: handle.kind, adapter, failure: null });
      });
    } catch (error) {
      this.#error(null, error);
    }
  }

  #unload() {
    this.#close(null);
    this.post({ type: "unloaded" });
  }

  /** Ends everything, with a report if there is an error. */
  #close(error) {
    const wasOpen = !this.#closed;
    this.#closed ||= error?.message ?? "the engine was unloaded; load it again";
    this.#abort.abort();
    this.#engine?.handle.dispose();
    this.#engine = null;
    if (error && wasOpen) {
      this.#error(null, error);
    }
    for (const question of this.#queue.splice(0)) {
      question.fail(new EngineError("not_ready", this.#closed));
    }
  }

  /** Runs `work` while no question is being answered. */
  async #alone(work) {
    this.#holds += 1;
    try {
      await this.#settled;
      await work();
    } finally {
      this.#holds -= 1;
      this.#pump();
    }
  }

  async #idle() {
    while (this.#running || this.#queue.length > 0 || performance.now() - this.#lastWork < IDLE_MS) {
      await new Promise((resolve) => setTimeout(resolve, IDLE_MS / 4));
    }
  }

  #changed(from, reason, message) {
    const { handle, adapter, details } = this.#engine;
    const { threads } = details;
    this.post({ type: "engine_changed", from: from.handle.kind, to: handle.kind, threads, reason, message, adapter });
  }

  /** @param {Question} question */
  #drop(question) {
    question.drop(this.#engine?.handle.kind ?? "simd");
  }

  #error(request_id, { code = "engine_failed", message, fits_as = null }) {
    this.post({ type: "error", request_id, code, message, fits_as });
  }
}
