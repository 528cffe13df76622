/**
 * Plain-JavaScript API of the edge engine; types and descriptions are in index.d.ts.
 *
 * Everything is fetched from where this file lies, or from `engineUrl`: no CDN, no bundler plugin, no global
 * state. Several assistants may live side by side.
 */

const aborted = (signal) => signal.reason ?? new DOMException("aborted", "AbortError");

/** A failure reported by the engine. */
export class AssistantError extends Error {
  constructor({ code, message }) {
    super(message);
    this.name = "AssistantError";
    this.code = code;
  }
}

export async function createAssistant({
  weightsUrl,
  engineUrl = new URL("./", import.meta.url).href,
  engine = "auto",
  signal,
  onProgress,
  onEngineChange,
}) {
  signal?.throwIfAborted();
  const page = globalThis.location?.href;
  const assistant = new Assistant(new URL("worker.js", new URL(engineUrl, page)), { onProgress, onEngineChange });
  const stop = () => assistant.dispose(aborted(signal));
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await assistant.load(engine, new URL(weightsUrl, page).href);
    return assistant;
  } catch (error) {
    assistant.dispose(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

class Assistant {
  #worker;
  #listeners;
  #nextRequest = 1;
  /** Questions by id, each with `resolve`, `reject`, `onScored` and `onToken`. */
  #asked = new Map();
  #loading;
  #measuring = [];
  #ended;

  constructor(workerUrl, listeners) {
    this.#listeners = listeners;
    this.#worker = new Worker(workerUrl, { type: "module", name: "msao-edge" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      const message = `the engine's Worker stopped: ${event.message || "its script could not be loaded"}`;
      this.dispose(new AssistantError({ code: "worker_crashed", message }));
    };
  }

  load(engine, weights_url) {
    return new Promise((resolve, reject) => {
      this.#loading = { resolve, reject };
      this.#worker.postMessage({ type: "load", engine, weights_url });
    });
  }

  async ask(options) {
    const { question = "", images = [], audio = null, maxNewTokens = 128, target = null } = options;
    const { sampling = null, onScored, onToken, signal } = options;
    signal?.throwIfAborted();
    const pixels = await Promise.all(images.map(toPixels));
    const samples = audio && toSamples(audio);
    this.#check();
    const request_id = this.#nextRequest++;
    const cancel = () => this.#worker?.postMessage({ type: "cancel", request_id });
    const transfer = [...pixels.map((image) => image.pixels), ...(samples ? [samples.samples] : [])];
    const answer = new Promise((resolve, reject) =>
      this.#asked.set(request_id, { resolve, reject, onScored, onToken }),
    );
    const header = { type: "ask", request_id, question, max_new_tokens: maxNewTokens };
    const media = { images: pixels, audio: samples, target: target && toGrid(target) };
    this.#worker.postMessage({ ...header, ...media, sampling: sampling && toSampling(sampling) }, transfer);
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      const { text, finish_reason, receipt, engine } = await answer;
      if (signal?.aborted) {
        throw aborted(signal);
      }
      return { text: text.trim(), finishReason: finish_reason, receipt, engine };
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  async measure() {
    this.#check();
    return new Promise((resolve, reject) => {
      this.#measuring.push({ resolve, reject });
      this.#worker.postMessage({ type: "measure" });
    });
  }

  dispose(reason = new AssistantError({ code: "not_ready", message: "the assistant was disposed of" })) {
    this.#ended ??= reason;
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const { reject } of [...this.#asked.values(), ...this.#measuring.splice(0)]) {
      reject(reason);
    }
    this.#asked.clear();
    this.#loading?.reject(reason);
  }

  #check() {
    if (this.#ended) {
      throw this.#ended;
    }
  }

  #receive(event) {
    switch (event.type) {
      case "progress":
        return this.#listeners.onProgress?.({
          stage: event.stage,
          engine: event.engine,
          loadedBytes: event.loaded_bytes,
          totalBytes: event.total_bytes,
        });
      case "ready":
        this.engine = event.engine;
        this.model = event.model;
        this.scores = event.has_probe;
        return this.#loading.resolve();
      case "engine_changed":
        this.engine = event.to;
        return this.#listeners.onEngineChange?.(event);
      case "measured":
        return this.#measuring.shift()?.resolve(event);
      case "scored":
        return this.#asked.get(event.request_id)?.onScored?.(fromScored(event.scored));
      case "token":
        return this.#asked.get(event.request_id)?.onToken?.(event.token, event.index);
      case "done":
        return this.#take(event.request_id)?.resolve(event);
      case "error":
        if (event.request_id === null) {
          return this.dispose(new AssistantError(event));
        }
        return this.#take(event.request_id)?.reject(new AssistantError(event));
      default:
        return undefined;
    }
  }

  #take(requestId) {
    const entry = this.#asked.get(requestId);
    this.#asked.delete(requestId);
    return entry;
  }
}

/** A TargetGrid of scored.rs. */
const toGrid = ({ image, audio }) => ({
  image: { side_px: image.sidePx, tokens_per_side: image.tokensPerSide },
  audio: audio && {
    sample_rate_hz: audio.sampleRateHz,
    window_samples: audio.windowSamples,
    tokens: audio.tokens,
  },
});

/** A Sampling of the protocol. */
const toSampling = ({ temperature = 1, topP = 1, seed = 0 }) => ({ temperature, top_p: topP, seed });

/** One flag for each part of a mask. */
const toFlags = ({ parts, bits }) =>
  Array.from({ length: parts }, (_, part) => ((bits[part >> 3] >> (part & 7)) & 1) === 1);

function fromScored({ modalities, images, audio }) {
  return {
    modalities: modalities.map(({ modality, mas, kept: { patches, frames, windows } }) => ({
      modality,
      mas,
      kept: { patches: toFlags(patches), frames: toFlags(frames), windows: toFlags(windows) },
    })),
    images: images.map(({ frame, mask, tiles: { width, height, pixels } }) => ({
      frame,
      mask: toFlags(mask),
      tiles: { width, height, data: new Uint8ClampedArray(pixels) },
    })),
    audio: audio && {
      mask: toFlags(audio.mask),
      windows: { sampleRateHz: audio.windows.sample_rate_hz, samples: new Float32Array(audio.windows.samples) },
    },
  };
}

/** Anything that shows a picture, as RGBA. The buffer is moved to the Worker, so it is always a copy. */
async function toPixels(image) {
  let data = image;
  if (!("data" in image)) {
    const bitmap = await createImageBitmap(image);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    canvas.drawImage(bitmap, 0, 0);
    data = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
    bitmap.close();
  }
  return { width: data.width, height: data.height, pixels: new Uint8Array(data.data).buffer };
}

/** An AudioBuffer mixed to one channel, or samples as they are. */
function toSamples(audio) {
  if (!("getChannelData" in audio)) {
    return { sample_rate_hz: audio.sampleRateHz, samples: Float32Array.from(audio.samples).buffer };
  }
  const mixed = new Float32Array(audio.length);
  for (let channel = 0; channel < audio.numberOfChannels; channel += 1) {
    audio.getChannelData(channel).forEach((sample, index) => {
      mixed[index] += sample / audio.numberOfChannels;
    });
  }
  return { sample_rate_hz: audio.sampleRate, samples: mixed.buffer };
}
