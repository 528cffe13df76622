/**
 * One engine in a Worker of its own: loads one of the two Wasm modules and does what `engines.js` asks of it.
 *
 * A Worker for each engine means that a slow start, a crash or a lost GPU of one never touches the other, and
 * that ending the Worker gives all its memory back.
 *
 * In: `{ call, method, args }`, or `{ cancel: call }`. Out: `{ call, result }`, `{ call, error }`, and while an answer is
 * written `{ call, scored }` and `{ call, index, token }`. A panic ends up as this Worker's `error` event.
 */

import { buffersOf } from "./buffers.js";

/** @type {{ Engine: any, choose_engine: Function } | undefined} */
let module;
/** @type {any} */
let engine;
/** @type {Set<number>} */
const cancelled = new Set();

const breath = new MessageChannel();
/** @type {() => void} */
let breathed = () => {};
breath.port1.onmessage = () => breathed();

/** Lets waiting messages in, such as a cancellation; a timer would be held back by the browser. */
const breathe = () =>
  new Promise((resolve) => {
    breathed = () => resolve(undefined);
    breath.port2.postMessage(null);
  });

const methods = {
  /** Fetches and compiles the module. The paths are literal, so that bundlers see them. */
  async init(_call, kind) {
    try {
      module = await (kind === "webgpu" ? import("./webgpu/msao_runtime.js") : import("./simd/msao_runtime.js"));
      await module.default();
    } catch (error) {
      const code = error instanceof WebAssembly.CompileError ? "engine_unavailable" : "download_failed";
      throw { code, message: `the ${kind} engine's module could not be loaded: ${error.message}` };
    }
  },

  /** Builds the model from the files of a checkpoint. */
  async load(_call, kind, files) {
    engine = await module.Engine.load(
      kind,
      files["config.json"],
      files["tokenizer.json"],
      files["preprocessor_config.json"],
      files["model.safetensors"],
      files["mas_probe.json"],
      files["mas_probe.safetensors"],
    );
    return { parameters: engine.parameters, has_probe: engine.has_probe };
  },

  warm_up: () => engine.warm_up(),
  measure: () => engine.measure(),
  choose: (_call, simd, webgpu) => module.choose_engine(simd, webgpu),

  /** Answers; scores and tokens are sent as they come. */
  async ask(call, { question, images, audio, max_new_tokens, target }) {
    const tell = async (message, buffers) => {
      postMessage({ call, ...message }, buffers);
      await breathe();
      return !cancelled.has(call);
    };
    const onToken = (index, token) => tell({ index, token }, []);
    const onScored = (scored) => tell({ scored }, buffersOf(scored));
    try {
      return await engine.ask(question, images, audio, { max_new_tokens, target }, onScored, onToken);
    } finally {
      cancelled.delete(call);
    }
  },
};

self.onmessage = async ({ data: { call, method, args, cancel } }) => {
  if (cancel !== undefined) {
    cancelled.add(cancel);
    return;
  }
  try {
    postMessage({ call, result: await methods[method](call, ...args) });
  } catch (error) {
    postMessage({ call, error: { code: error?.code ?? "engine_failed", message: error?.message ?? String(error) } });
  }
};
