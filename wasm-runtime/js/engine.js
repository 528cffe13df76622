/**
 * One engine in a Worker of its own: loads one of the Wasm modules and does what `engines.js` asks of it.
 *
 * A Worker for each engine means that a slow start, a crash or a lost GPU of one never touches the other, and
 * that ending the Worker gives all its memory back.
 *
 * In: `{ call, method, args }`, or one of `steering.js` for an answer under way: `{ correct: call, correction }`,
 * `{ release: call }`, `{ cancel: call }`. Out: `{ call, result }`, `{ call, error }`, and while an answer is written
 * `{ call, scored }` and `{ call, step }`; `{ lost }`, at any time, when the GPU can compute no more. A panic ends up as
 * this Worker's `error` event.
 */

import { breathe } from "./breath.js";
import { buffersOf } from "./buffers.js";
import { watchGpu } from "./gpu.js";
import { sourcesOf } from "./sources.js";
import { Steering } from "./steering.js";
import { loadSimd } from "./threads.js";

/** @type {{ Engine: any, choose_engine: Function } | undefined} */
let module;
/** @type {any} */
let engine;
/** How many threads it runs on, once its helpers have come. @type {Promise<number>} */
let threads = Promise.resolve(1);
/** Of the answers under way. @type {Map<number, Steering>} */
const steered = new Map();

const methods = {
  /** Fetches and compiles the module. The paths are literal, so that bundlers see them. */
  async init(_call, kind, askedThreads) {
    try {
      if (kind === "webgpu") {
        watchGpu((lost) => postMessage({ lost }));
        module = await import("./webgpu/msao_runtime.js");
        await module.default();
      } else {
        ({ module, started: threads } = await loadSimd(askedThreads));
      }
    } catch (error) {
      const code = error instanceof WebAssembly.CompileError ? "engine_unavailable" : "download_failed";
      throw { code, message: `the ${kind} engine's module could not be loaded: ${error.message}` };
    }
  },

  /** Builds the model from the files of a checkpoint. */
  async load(_call, kind, files, format) {
    engine = await module.Engine.load(kind, sourcesOf(files), format);
    const { parameters, has_probe } = engine;
    return { parameters, has_probe, vocabulary: engine.vocabulary(), threads: await threads };
  },

  /** Throws where a model of this configuration does not fit. */
  check_room: (_call, asked) => module.check_room(asked),

  warm_up: () => engine.warm_up(),
  measure: () => engine.measure(),
  choose: (_call, simd, webgpu) => module.choose_engine(simd, webgpu),

  /** Answers; scores and steps are sent as they come, and what was said meanwhile decides how to go on. */
  async ask(call, { question, images, audio, max_new_tokens, target, sampling, clip, awaits_target, wants_scores }) {
    const steering = new Steering();
    steered.set(call, steering);
    const tell = async (message, buffers = []) => {
      postMessage({ call, ...message }, buffers);
      await breathe();
    };
    const onScored = async (scored) => {
      await tell({ scored }, buffersOf(scored));
      return !steering.cancelled;
    };
    const onStep = async (step) => {
      await tell({ step });
      return step.type === "ended" ? steering.wait() : steering.take();
    };
    try {
      const settings = { max_new_tokens, target, sampling, clip, awaits_target, wants_scores };
      return await engine.ask(question, images, audio, settings, onScored, onStep);
    } finally {
      steered.delete(call);
    }
  },
};

self.onmessage = async ({ data: { call, method, args, correct, correction, release, cancel } }) => {
  if (method === undefined) {
    steered.get(correct)?.correct(correction);
    steered.get(release)?.release();
    steered.get(cancel)?.cancel();
    return;
  }
  try {
    postMessage({ call, result: await methods[method](call, ...args) });
  } catch (error) {
    const { code = "engine_failed", message = String(error), fits_as } = error ?? {};
    postMessage({ call, error: { code, message, fits_as } });
  }
};
