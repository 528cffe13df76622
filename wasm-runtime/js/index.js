/**
 * MSAO for web pages, in plain JavaScript; types and descriptions are in index.d.ts.
 *
 * Everything is fetched from where this file lies, or from `packageUrl`: no CDN, no bundler plugin, no global state.
 * Several assistants may live side by side.
 */

import { chatOf } from "./chat.js";
import { AssistantError, aborted } from "./errors.js";
import { DEFAULT_LIMITS, refuse, toBitmap, toSamples } from "./media.js";
import { reach } from "./reach.js";
import { fromScored, sessionUrl, toGrid, toSampling, toSettings, toThreads, weightsUrl } from "./terms.js";
import { toFrames } from "./video.js";

export { AssistantError };

/** What the models are told when the recording asks: they were trained to be told so. */
const LISTEN = "Listen and answer.";
const MAX_NEW_TOKENS = 128;
/** Frames of a video for models that are told no times, as they were trained. */
const CLIP_FRAMES = 4;

export async function createAssistant(options = {}) {
  const { signal, packageUrl, engine = "auto", server = null, ready = "all" } = options;
  signal?.throwIfAborted();
  const base = new URL(packageUrl ?? "./", packageUrl ? globalThis.location?.href : import.meta.url);
  const weights = weightsUrl(options, base);
  if (!weights && !server) {
    refuse("invalid_input", "neither a model for the device nor a server was given; give at least one of them");
  }
  const assistant = new Assistant(options);
  const stop = () => assistant.dispose(aborted(signal));
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await assistant.start(
      await reach(base, packageUrl !== undefined, (error) => assistant.dispose(error), signal),
      {
        engine,
        threads: toThreads(options),
        format: options.format,
        weightsUrl: weights,
        sessionUrl: server && sessionUrl(server),
        judgedUrl: options.mode === "risk_controlled" && weights ? new URL("confidence.json", weights).href : null,
      },
      ready,
    );
    return assistant;
  } catch (error) {
    assistant.dispose(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

class Assistant {
  #options;
  /** @type {import("./reach.js").Reached | undefined} */
  #reached;
  #nextKey = 1;
  /** Questions by key, each with `resolve`, `reject` and what hears of them. */
  #asked = new Map();
  #measuring = [];
  /** @type {{ resolve: Function, reject: Function, ready: string } | undefined} */
  #starting;
  #ended;
  /** The server's, as `ModelInfo` of the protocol. */
  #model;
  #privacy;
  /** How far each side is, in a word. */
  status = { edge: "off", cloud: "off" };
  limits = DEFAULT_LIMITS;
  chat = chatOf(this);

  constructor(options) {
    this.#options = options;
    this.#privacy = options.privacy ?? {};
    // A mistake in the terms is told before anything is loaded.
    toSettings(options, this.#privacy);
  }

  start(reached, load, ready) {
    if (this.#ended) {
      reached.dispose();
      throw this.#ended;
    }
    this.#reached = reached;
    reached.port.onmessage = ({ data }) => this.#receive(data);
    this.#setStatus(load.weightsUrl ? "loading" : "off", load.sessionUrl ? "connecting" : "off");
    const { engine, threads, format, weightsUrl, sessionUrl, judgedUrl } = load;
    const settings = toSettings(this.#options, this.#privacy);
    this.#post({ type: "start", engine, threads, format, weightsUrl, sessionUrl, judgedUrl, settings });
    return new Promise((resolve, reject) => {
      this.#starting = { resolve, reject, ready };
    });
  }

  async ask(options) {
    const { maxNewTokens = MAX_NEW_TOKENS, history = [] } = options;
    return this.#question("ask", options, ({ question, clip, ...media }) => ({
      asked: {
        question,
        clip,
        history: history.map((turn) => ({ images: [], audio: null, question: turn.question, answer: turn.answer })),
        max_new_tokens: Math.min(maxNewTokens, this.limits.max_new_tokens),
        sampling: options.sampling ? toSampling(options.sampling) : null,
        prune_tiles: options.pruneTiles ?? null,
        only_plan: false,
      },
      ...media,
    }));
  }

  async plan(options) {
    return this.#question("ask", options, ({ question, clip, ...media }) => ({
      asked: { question, clip, max_new_tokens: MAX_NEW_TOKENS, sampling: null, prune_tiles: options.pruneTiles ?? null, only_plan: true },
      ...media,
    }));
  }

  async draft(options) {
    const { maxNewTokens = MAX_NEW_TOKENS, target = null, sampling } = options;
    return this.#question("draft", options, ({ question, clip, ...media }) => ({
      header: {
        question,
        clip,
        max_new_tokens: maxNewTokens,
        target: target && toGrid(target),
        sampling: sampling ? toSampling(sampling) : null,
        awaits_target: false,
        wants_scores: Boolean(options.onScored),
      },
      ...media,
    }));
  }

  async score(options) {
    options.signal?.throwIfAborted();
    const controller = new AbortController();
    const stop = () => controller.abort(aborted(options.signal));
    options.signal?.addEventListener("abort", stop, { once: true });
    try {
      const scored = await new Promise((resolve, reject) => {
        const asked = { ...options, maxNewTokens: 1, onScored: resolve, signal: controller.signal };
        this.draft(asked).then(
          () => reject(new AssistantError({ code: "engine_unavailable", message: "the model for the device came without a probe, so nothing is scored; give it one" })),
          reject,
        );
      });
      controller.abort(new DOMException("only the scores are wanted", "AbortError"));
      return scored;
    } finally {
      options.signal?.removeEventListener("abort", stop);
    }
  }

  async encode({ images = [], audio = null, signal }) {
    const asked = { question: LISTEN, images, audio, signal };
    const { pictures, recording } = await this.#question("encode", asked, ({ bitmaps, samples }) => ({ bitmaps, samples }));
    return { images: pictures, audio: recording };
  }

  async measure() {
    this.#check();
    return new Promise((resolve, reject) => {
      this.#measuring.push({ resolve, reject });
      this.#post({ type: "measure" });
    });
  }

  get privacy() {
    return { text: "open", vision: "open", audio: "open", ...this.#privacy };
  }

  set privacy(privacy) {
    const merged = { ...this.#privacy, ...privacy };
    const settings = toSettings(this.#options, merged);
    this.#check();
    this.#privacy = merged;
    this.#post({ type: "set", settings });
  }

  dispose(reason = new AssistantError({ code: "not_ready", message: "the assistant was disposed of" })) {
    this.#ended ??= reason;
    this.#reached?.dispose();
    this.#reached = undefined;
    for (const { reject } of [...this.#asked.values(), ...this.#measuring.splice(0)]) {
      reject(reason);
    }
    this.#asked.clear();
    this.#starting?.reject(reason);
    this.#starting = undefined;
    this.status = { edge: "off", cloud: "off" };
  }

  /** Asks something of the Worker, until it has ended or is aborted. */
  async #question(type, options, toMessage) {
    const { audio = null, images = [], question = "", signal } = options;
    signal?.throwIfAborted();
    this.#check();
    if (question.length > this.limits.question_chars) {
      const message = `the question has ${question.length} characters, the limit is ${this.limits.question_chars}; shorten it`;
      refuse("question_too_long", message);
    }
    if (question === "" && !audio) {
      refuse("empty_question", "type a question or record one");
    }
    const media = await this.#media({ ...options, images, audio });
    signal?.throwIfAborted();
    this.#check();
    const key = this.#nextKey++;
    const message = toMessage({ question: question.trim() || LISTEN, ...media });
    const answer = new Promise((resolve, reject) => {
      this.#asked.set(key, { resolve, reject, options, tokens: [] });
    });
    const transfer = [...message.bitmaps, ...(message.samples ? [message.samples.buffer] : [])];
    const cancel = () => {
      this.#asked.get(key)?.reject(aborted(signal));
      this.#asked.delete(key);
      this.#post({ type: "cancel", key });
    };
    this.#post({ type, key, ...message }, transfer);
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await answer;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  async #media({ images, audio, video, signal, onFrame }) {
    const { clips, pictures } = this.#model ?? {};
    const samples = audio && (await toSamples(audio, this.limits));
    if (video) {
      if (images.length > 0) {
        refuse("unsupported", "pictures and a video were given; ask about either");
      }
      const most = clips ? Math.min(clips.max_frames, this.limits.clip_frames) : Math.min(CLIP_FRAMES, this.limits.images);
      const sampling = { fps: 1e9, longest_edge_px: 0, ...clips, max_frames: most };
      const frames = await toFrames(video, sampling, signal, onFrame);
      return { ...frames, samples, longest: sampling.longest_edge_px };
    }
    if (images.length > this.limits.images) {
      refuse("too_many_images", `${images.length} pictures were given, the limit is ${this.limits.images}; give fewer`);
    }
    const bitmaps = await Promise.all(images.map((image) => toBitmap(image, this.limits)));
    return { bitmaps, samples, longest: pictures?.longest_edge_px ?? 0 };
  }

  #check() {
    if (this.#ended) {
      throw this.#ended;
    }
  }

  #post(message, transfer = []) {
    this.#reached?.port.postMessage(message, transfer);
  }

  #receive({ type, key, ...message }) {
    switch (type) {
      case "edge":
        return this.#edge(message.event);
      case "told":
        return key === undefined ? this.#cloud(message.told) : this.#told(key, message.told);
      case "drafted":
        return this.#drafted(key, message.event);
      case "encoded":
        return this.#take(key)?.resolve(message);
      case "token_wanted":
        return this.#giveToken(message.id);
      case "failed":
        if (key === undefined) {
          return this.dispose(new AssistantError(message.failure));
        }
        return this.#take(key)?.reject(new AssistantError(message.failure));
      default:
        return undefined;
    }
  }

  async #giveToken(id) {
    const { token } = this.#options;
    try {
      this.#post({ type: "token", id, token: typeof token === "function" ? await token() : token });
    } catch (error) {
      this.#post({ type: "token", id, error: String(error?.message ?? error) });
    }
  }

  #edge(event) {
    switch (event.type) {
      case "progress":
        return this.#options.onProgress?.({
          stage: event.stage,
          engine: event.engine,
          loadedBytes: event.loaded_bytes,
          totalBytes: event.total_bytes,
          secondsLeft: event.seconds_left ?? null,
        });
      case "ready":
        this.engine = event.engine;
        this.threads = event.threads;
        this.model = event.model;
        this.scores = event.has_probe;
        this.kept = event.kept;
        return this.#setStatus("ready", this.status.cloud);
      case "engine_changed":
        this.engine = event.to;
        this.threads = event.threads;
        return this.#options.onEngineChange?.(event);
      case "measured":
        return this.#measuring.shift()?.resolve(event);
      case "error":
        this.engine = undefined;
        for (const { reject } of this.#measuring.splice(0)) {
          reject(new AssistantError(event));
        }
        return this.#setStatus("failed", this.status.cloud, new AssistantError(event));
      default:
        return undefined;
    }
  }

  #cloud(told) {
    switch (told.type) {
      case "cloud_ready":
        this.#model = told.model;
        this.target = told.model.name;
        this.limits = { ...DEFAULT_LIMITS, ...told.limits };
        return this.#setStatus(this.status.edge, "ready");
      case "cloud_away": {
        this.#model = this.target = undefined;
        const message = `there is no session with the server: ${told.reason}`;
        const error = new AssistantError({ code: "connection_lost", message, retryable: true, retry_after_ms: told.retry_in_ms });
        return this.#setStatus(this.status.edge, "away", error);
      }
      case "cloud_complains":
        return this.#setStatus(this.status.edge, this.status.cloud, new AssistantError({ code: "connection_lost", message: told.message }));
      default:
        return undefined;
    }
  }

  #setStatus(edge, cloud, error = null) {
    this.status = { edge, cloud };
    this.#options.onStatus?.({ edge, cloud, error });
    const starting = this.#starting;
    const isReady = edge === "ready" || cloud === "ready";
    const isPending = edge === "loading" || cloud === "connecting";
    if (starting && isReady && (!isPending || starting.ready === "any")) {
      this.#starting = undefined;
      starting.resolve();
    } else if (starting && !isPending) {
      starting.reject(error);
    }
  }

  #told(key, told) {
    const entry = this.#asked.get(key);
    switch (told.type) {
      case "answer":
        return entry && this.#show(entry, told.tokens);
      case "scored":
        return entry?.options.onScored?.(fromScored({ modalities: told.modalities, images: [], audio: null }));
      case "planned":
        return this.#take(key)?.resolve(told.receipt);
      case "done": {
        if (!entry) {
          return undefined;
        }
        this.#show(entry, told.tokens);
        const { text, finish_reason: finishReason, tokens, usage, receipt } = told;
        this.#hear(entry, "onReceipt", receipt);
        if (receipt.plan.shadow !== "pending") {
          this.#asked.delete(key);
        }
        return entry.resolve({ text, finishReason, tokens, usage, receipt });
      }
      case "receipt":
        if (entry) {
          this.#hear(entry, "onReceipt", told.receipt);
          if (told.receipt.plan.shadow !== "pending") {
            this.#asked.delete(key);
          }
        }
        return undefined;
      case "failed":
        return this.#take(key)?.reject(new AssistantError(told));
      default:
        return undefined;
    }
  }

  /** Tells each token that is new or another than before, and each that was withdrawn. */
  #show(entry, tokens) {
    const before = entry.tokens;
    entry.tokens = tokens;
    for (let index = 0; index < Math.max(tokens.length, before.length); index += 1) {
      if (!isSame(tokens[index], before[index])) {
        this.#hear(entry, "onToken", tokens[index] ?? null, index, tokens);
      }
    }
  }

  #hear({ options }, name, ...told) {
    options[name]?.(...told);
    this.#options[name]?.(...told);
  }

  #drafted(key, event) {
    const { options } = this.#asked.get(key) ?? { options: {} };
    switch (event.type) {
      case "scored":
        return options.onScored?.(fromScored(event.scored));
      case "token":
        return options.onToken?.(event.token, event.index);
      case "done": {
        const { text, finish_reason: finishReason, receipt, engine } = event;
        return this.#take(key)?.resolve({ text: text.trim(), finishReason, receipt, engine });
      }
      case "error":
        return this.#take(key)?.reject(new AssistantError(event));
      default:
        return undefined;
    }
  }

  #take(key) {
    const entry = this.#asked.get(key);
    this.#asked.delete(key);
    return entry;
  }
}

const isSame = (one, other) =>
  one?.text === other?.text && one?.settled === other?.settled && one?.fate === other?.fate;
