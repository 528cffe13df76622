/**
 * A speech model in a Worker of its own, beside whichever engine answers: fetched like a model, on the processor, ended with all its
 * memory. Messages are those of `ears_messages.rs`.
 */

import { breathe } from "./breath.js";
import { sourcesOf } from "./sources.js";
import { loadSimd } from "./threads.js";
import { fetchCheckpoint } from "./weights.js";

/** @type {any} */
let ears;
/** Recordings that nobody waits for any more. @type {Set<number>} */
const unwanted = new Set();
const tell = (type, event) => postMessage({ type, ...event });

const methods = {
  async load({ weights_url, format }) {
    const onBytes = (loaded_bytes, total_bytes, seconds_left) =>
      tell("progress", { loaded_bytes, total_bytes, seconds_left });
    const [{ module, started }, checkpoint] = await Promise.all([loadSimd(), fetchCheckpoint(weights_url, onBytes)]);
    await started;
    const { name: model, bytes, fromCache: from_cache, files } = checkpoint;
    ears = module.Ears.load(model, sourcesOf(files), format);
    tell("ready", { model, bytes, from_cache, parameters: ears.parameters });
  },

  async listen({ request_id, audio }) {
    const since = performance.now();
    let told = -1;
    const goOn = async (seconds_done) => {
      if (seconds_done !== told) {
        told = seconds_done;
        tell("listening", { request_id, seconds_done });
      }
      await breathe();
      return !unwanted.has(request_id);
    };
    const heard = await ears.write_down(audio, goOn);
    unwanted.delete(request_id);
    if (heard) {
      tell("heard", { request_id, heard, ms: performance.now() - since });
    }
  },
};

/** One message behind the other: a recording waits for the model. */
let last = Promise.resolve();
self.onmessage = ({ data }) => {
  if (data.type === "cancel") {
    unwanted.add(data.request_id);
    return;
  }
  last = last
    .then(() => methods[data.type](data))
    .catch(({ code = "engine_failed", message }) =>
      tell("error", { request_id: data.request_id ?? null, code, message }),
    );
};
