/**
 * The Worker that holds an assistant: the engine's host (`host.js`), and the module that plans and keeps the session with
 * the server (`session/`). The page speaks with it through the port of the first message.
 *
 * In: `start`, `ask`, `draft`, `encode`, `cancel`, `set`, `token`, `measure`. Out: `edge` (what the engine's host tells of itself),
 * `told` (as `Told` in driver/action.rs, with the question's `key`), `drafted` (what it tells of a draft), `encoded`,
 * `token_wanted`, `failed`. A `key` is the page's name of a question.
 */

import { EngineHost } from "./host.js";
import { encodeTiles, toBoth, toPixels } from "./pictures.js";
import { nextToken, receiveToken } from "./tokens.js";

/** Ids of what the page asks of the device alone; the driver counts its own from 1. */
const FIRST_DRAFT_ID = 2 ** 31;
/** What the engine's host tells of itself, and not of a question. */
const OF_ITSELF = new Set(["progress", "ready", "engine_changed", "measured", "unloaded"]);

class Held {
  /** @type {MessagePort} */
  #port;
  /** @type {EngineHost | undefined} */
  #host;
  /** Of session/msao_runtime.js. @type {any} */
  #session;
  /** Questions under way by the page's key: `{ id, isDraft }`, with `isCancelled` before there is an id. */
  #asked = new Map();
  /** The page's key by id. */
  #keys = new Map();
  /** Media for the engine by id, until they are asked about. */
  #media = new Map();
  /** What the engine's host told before the session's module was there. @type {[object, ArrayBuffer[]][]} */
  #early = [];
  #lastDraft = FIRST_DRAFT_ID;

  constructor(port) {
    this.#port = port;
    port.onmessage = async ({ data }) => {
      try {
        await this.#receive(data);
      } catch (failure) {
        this.#fail(data.key, failure);
      }
    };
  }

  #receive(message) {
    switch (message.type) {
      case "start":
        return this.#start(message);
      case "ask":
        return this.#ask(message);
      case "draft":
        return this.#draft(message);
      case "encode":
        return this.#encodeOnly(message);
      case "cancel":
        return this.#cancel(message.key);
      case "set":
        return this.#session.set(message.settings);
      case "token":
        return receiveToken(message);
      case "measure":
        return this.#host?.receive({ type: "measure" });
      default:
        return undefined;
    }
  }

  async #start({ engine, threads, format, weightsUrl, sessionUrl, settings, judgedUrl }) {
    if (weightsUrl) {
      this.#host = new EngineHost((event, transfer = []) => this.#hear(event, transfer));
      this.#host.receive({ type: "load", engine, threads, format, weights_url: weightsUrl });
    }
    try {
      const module = await import("./session/msao_runtime.js");
      await module.default();
      const [seed] = crypto.getRandomValues(new BigUint64Array(1));
      const post = (request) => this.#post(request);
      const tell = (told) => this.#tell(told);
      this.#session = new module.Assistant(settings, seed, post, (id, tiles) => this.#encode(id, tiles), tell);
    } catch (error) {
      const message = `the package's module could not be loaded: ${error.message}`;
      throw { code: "download_failed", message };
    }
    this.#early.splice(0).forEach(([event, transfer]) => this.#hear(event, transfer));
    if (sessionUrl) {
      this.#session.connect(sessionUrl, () => nextToken((message) => this.#port.postMessage(message)));
    }
    if (judgedUrl) {
      await this.#learn(judgedUrl);
    }
  }

  /** Without the judged answers nothing stands by its confidence until enough were compared, which is the safe side. */
  async #learn(url) {
    try {
      const response = await fetch(url);
      if (response.ok) {
        this.#session.learn(await response.json());
      }
    } catch {
      // As above.
    }
  }

  async #ask({ key, asked, bitmaps, samples, longest }) {
    const entry = { id: 0, isDraft: false, isCancelled: false };
    this.#asked.set(key, entry);
    const pictures = await toBoth(bitmaps, longest);
    if (entry.isCancelled) {
      return;
    }
    const images = pictures.map(([pixels]) => pixels);
    this.#session.ask(asked, pictures.map(([, file]) => file), samples ?? undefined, (id) => {
      entry.id = id;
      this.#keys.set(id, key);
      this.#media.set(id, { images, audio: toAudio(samples) });
    });
  }

  #draft({ key, header, bitmaps, samples }) {
    const entry = { id: this.#lastDraft++, isDraft: true, isCancelled: false };
    this.#asked.set(key, entry);
    this.#keys.set(entry.id, key);
    const media = { images: bitmaps.map(toPixels), audio: toAudio(samples) };
    const ask = { type: "ask", request_id: entry.id, ...header, ...media };
    if (this.#host) {
      this.#host.receive(ask);
    } else {
      const message = "this assistant was made without a model for the device; give it one";
      this.#hear({ type: "error", request_id: entry.id, code: "not_ready", message }, []);
    }
  }

  /** Media as both models take them, and as files for the wire. */
  async #encodeOnly({ key, bitmaps, samples }) {
    const pictures = await toBoth(bitmaps, 0);
    const recording = samples && { sampleRateHz: 16_000, samples, file: new Blob([this.#session.wav(samples)], { type: "audio/wav" }) };
    const toPublic = ([{ width, height, pixels }, { kind, bytes }]) => ({
      width,
      height,
      data: new Uint8ClampedArray(pixels),
      file: new Blob([bytes], { type: `image/${kind.toLowerCase()}` }),
    });
    this.#port.postMessage({ type: "encoded", key, pictures: pictures.map(toPublic), recording });
  }

  #cancel(key) {
    const entry = this.#asked.get(key);
    if (!entry) {
      return;
    }
    entry.isCancelled = true;
    if (entry.isDraft) {
      this.#host?.receive({ type: "cancel", request_id: entry.id });
    } else if (entry.id) {
      this.#session.cancel(entry.id);
    }
    this.#forget(key);
  }

  /** Ends a question, or without one everything. */
  #fail(key, { code = "invalid_input", message, retryable, retry_after_ms }) {
    this.#forget(key);
    this.#port.postMessage({ type: "failed", key, failure: { code, message, retryable, retry_after_ms } });
  }

  #forget(key) {
    const id = this.#asked.get(key)?.id;
    this.#asked.delete(key);
    this.#keys.delete(id);
    this.#media.delete(id);
  }

  /** What the driver wants the engine to hear. */
  #post(request) {
    const media = request.type === "ask" ? this.#media.get(request.request_id) : {};
    this.#host?.receive({ ...request, ...media });
  }

  async #encode(id, tiles) {
    const files = await Promise.all(tiles.map(encodeTiles)).catch(() => undefined);
    this.#session.encoded(id, files);
  }

  /** What the engine's host tells: to the driver, or to the page. */
  #hear(event, transfer) {
    if (!this.#session) {
      this.#early.push([event, transfer]);
      return;
    }
    const isDraft = event.request_id >= FIRST_DRAFT_ID;
    if (!isDraft) {
      this.#session.edge_event(event);
    }
    if (OF_ITSELF.has(event.type) || (event.type === "error" && event.request_id === null)) {
      this.#port.postMessage({ type: "edge", event });
    } else if (isDraft && this.#keys.has(event.request_id)) {
      const key = this.#keys.get(event.request_id);
      if (event.type === "done" || event.type === "error") {
        this.#forget(key);
      }
      this.#port.postMessage({ type: "drafted", key, event }, transfer);
    }
  }

  /** What the driver tells of a question or of the session. */
  #tell(told) {
    const key = this.#keys.get(told.request_id);
    if (told.request_id !== undefined && key === undefined) {
      return;
    }
    if (told.type === "planned" || told.type === "failed" || (told.type === "done" && !isChecked(told.receipt))) {
      this.#forget(key);
    } else if (told.type === "receipt" && !isChecked(told.receipt)) {
      this.#forget(key);
    }
    this.#port.postMessage({ type: "told", key, told });
  }
}

/** Whether the answer, which the user has, is still being checked. */
const isChecked = ({ plan }) => plan.shadow === "pending";

const toAudio = (samples) => samples && { sample_rate_hz: 16_000, samples: samples.buffer };

self.onmessage = ({ ports: [port] }) => new Held(port);
