/**
 * `<msao-assistant server="https://your.server">`: a question, its media, the answer and what left the device, in a shadow
 * root. README.md lists attributes, events and methods; the page's policy need allow neither styles nor blobs.
 */

import { createAssistant } from "./index.js";
import { TEMPLATE, styles } from "./element-look.js";
import { receiptLine, tokenNode } from "./element-words.js";

const RELOADS = ["server", "model", "policy", "mode", "epsilon", "engine"];

export class MsaoAssistant extends HTMLElement {
  static observedAttributes = ["privacy", ...RELOADS];

  /** A session token, or a function that yields one; else the attribute counts. */
  token;
  /** @type {Promise<import("./index.js").Assistant> | undefined} */
  #assistant;
  /** Ends what is under way. @type {AbortController | undefined} */
  #under;
  /** Ends the loading. */
  #life = new AbortController();
  /** @type {(ImageBitmapSource | Blob)[]} */
  #images = [];
  /** @type {Blob | null} */
  #audio = null;
  /** @type {MediaStream | undefined} */
  #camera;
  /** @type {MediaRecorder | undefined} */
  #recorder;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open", delegatesFocus: true });
    root.adoptedStyleSheets = [styles()];
    root.append(TEMPLATE().content.cloneNode(true));
    this.#on("form", "submit", (event) => {
      event.preventDefault();
      this.ask().catch(() => undefined);
    });
    this.#on("textarea", "keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#get("form").requestSubmit();
      }
    });
    this.#on("textarea", "focus", () => this.#load().catch(() => undefined));
    this.#on("[part=stop]", "click", () => this.stop());
    this.#on("input", "change", () => this.#take([...this.#get("input").files]));
    this.#on("[part=files]", "click", () => this.#get("input").click());
    this.#on("[part=camera]", "click", () => this.#toggleCamera());
    this.#on("[part=microphone]", "click", () => this.#toggleMicrophone());
    this.#on("[part=clear]", "click", () => this.#clear());
    root.addEventListener("paste", (event) => this.#take([...(event.clipboardData?.files ?? [])], event));
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => this.#take([...(event.dataTransfer?.files ?? [])], event));
  }

  connectedCallback() {
    const hasDevices = Boolean(navigator.mediaDevices?.getUserMedia);
    this.#get("[part=camera]").hidden = this.#get("[part=microphone]").hidden = !hasDevices;
    if (this.hasAttribute("preload")) {
      this.#load().catch(() => undefined);
    }
  }

  disconnectedCallback() {
    this.dispose();
  }

  attributeChangedCallback(name, before, now) {
    if (before === now || !this.#assistant) {
      return;
    }
    if (name === "privacy") {
      this.#assistant.then((assistant) => (assistant.privacy = this.#privacy()), () => undefined);
    } else {
      this.dispose();
    }
  }

  /**
   * Asks what is in the box, or what is given.
   * @param {string} [question]
   * @param {{ images?: (ImageBitmapSource | Blob)[], audio?: Blob | AudioBuffer | null }} [media]
   */
  async ask(question, media) {
    this.stop();
    const box = this.#get("textarea");
    const under = (this.#under = new AbortController());
    const words = question ?? box.value;
    this.#busy(true);
    this.#get("[part=answer]").replaceChildren();
    this.#get("[part=receipt]").textContent = "";
    this.#say("");
    try {
      const { images = this.#images, audio = this.#audio } = media ?? { images: await this.#pictures() };
      const assistant = await this.#load();
      under.signal.throwIfAborted();
      this.#say("Thinking…", { isQuiet: true });
      const answer = await assistant.ask({ question: words, images, audio, signal: under.signal });
      box.value = question === undefined ? "" : box.value;
      this.#say(answer.text, { isHeardOnly: true });
      this.#tell("msao-answer", answer);
      return answer;
    } catch (error) {
      if (under.signal.aborted) {
        this.#say("Stopped.");
      } else {
        this.#say(`${error.message}`, { isError: true });
        this.#tell("msao-error", error);
      }
      throw error;
    } finally {
      if (this.#under === under) {
        this.#under = undefined;
        this.#busy(false);
      }
    }
  }

  /** Stops the answer under way; what is written stays. */
  stop() {
    this.#under?.abort();
    this.#under = undefined;
    this.#busy(false);
  }

  /** Gives Workers, camera and microphone back. The element can be used again, and loads again then. */
  dispose() {
    this.stop();
    this.#life.abort();
    this.#life = new AbortController();
    this.#assistant?.then((assistant) => assistant.dispose(), () => undefined);
    this.#assistant = undefined;
    this.#endCamera();
    if (this.#recorder?.state === "recording") {
      this.#recorder.stop();
    }
  }

  #load() {
    this.#assistant ??= this.#make().catch((error) => {
      this.#assistant = undefined;
      if (!this.#life.signal.aborted && error.name !== "AbortError") {
        this.#say(error.message, { isError: true });
        this.#tell("msao-error", error);
      }
      throw error;
    });
    return this.#assistant;
  }

  #make() {
    const given = Object.fromEntries(RELOADS.map((name) => [name, this.getAttribute(name)]).filter(([, value]) => value));
    const { epsilon, model, ...rest } = given;
    const token = this.token ?? this.getAttribute("token") ?? undefined;
    this.#say("Loading…", { isQuiet: true });
    return createAssistant({
      ...rest,
      ...(epsilon ? { epsilon: Number(epsilon) } : {}),
      ...(model ? { model: model === "none" ? null : model } : {}),
      token,
      privacy: this.#privacy(),
      ready: "any",
      signal: this.#life.signal,
      onProgress: ({ stage, loadedBytes, totalBytes }) => {
        const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
        const detail = stage === "weights" ? `: ${megabytes(loadedBytes)} of ${megabytes(totalBytes)} MB` : "";
        this.#say(`Loading the model on this device${detail}…`, { isQuiet: true });
      },
      onStatus: ({ edge, cloud, error }) => {
        this.dataset.edge = edge;
        this.dataset.cloud = cloud;
        if (edge === "ready" || cloud === "ready") {
          this.#say("Ready.", { isQuiet: true });
        }
        this.#tell("msao-status", { edge, cloud, error });
      },
      onToken: (token, index, tokens) => {
        this.#get("[part=answer]").replaceChildren(...tokens.map(tokenNode));
        this.#tell("msao-token", { token, index, tokens });
      },
      onReceipt: (receipt) => {
        this.#get("[part=receipt]").textContent = receiptLine(receipt);
        this.#tell("msao-receipt", receipt);
      },
    });
  }

  #privacy() {
    const locked = (this.getAttribute("privacy") ?? "").split(/[\s,]+/).filter(Boolean);
    const all = ["text", "vision", "audio"];
    // A word that is not known locks nothing, and is refused rather than overlooked.
    const unknown = locked.filter((name) => !all.includes(name)).map((name) => [name, "locked"]);
    return Object.fromEntries([...all.map((name) => [name, locked.includes(name) ? "locked" : "open"]), ...unknown]);
  }

  /** What was given, or what the camera shows now. */
  async #pictures() {
    const video = this.#get("video");
    const isLive = this.#camera && this.#images.length === 0 && video.videoWidth > 0;
    return isLive ? [await createImageBitmap(video)] : this.#images.slice();
  }

  async #take(files, event) {
    const pictures = files.filter(({ type }) => type.startsWith("image/"));
    const sounds = files.filter(({ type }) => type.startsWith("audio/"));
    if (pictures.length + sounds.length === 0) {
      return;
    }
    event?.preventDefault();
    this.#images = pictures.length > 0 ? pictures : this.#images;
    this.#audio = sounds.at(0) ?? this.#audio;
    await this.#preview();
  }

  /** Canvases, which no policy forbids. */
  async #preview() {
    const canvases = await Promise.all(
      this.#images.map(async (image, index) => {
        const canvas = document.createElement("canvas");
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", `Picture ${index + 1}`);
        const bitmap = await createImageBitmap(image);
        [canvas.width, canvas.height] = [Math.round((72 * bitmap.width) / bitmap.height), 72];
        canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
        bitmap.close();
        return canvas;
      }),
    ).catch(() => {
      this.#images = [];
      this.#say("The picture cannot be read; choose a PNG, JPEG or WebP.", { isError: true });
      return [];
    });
    const sound = document.createElement("span");
    sound.textContent = this.#audio ? "1 recording" : "";
    this.#get("[part=media]").replaceChildren(...canvases, sound);
    this.#get("[part=clear]").hidden = canvases.length === 0 && !this.#audio;
  }

  #clear() {
    [this.#images, this.#audio] = [[], null];
    this.#get("input").value = "";
    this.#preview();
  }

  async #toggleCamera() {
    if (this.#camera) {
      return this.#endCamera();
    }
    const stream = await this.#devices({ video: { facingMode: "environment" } }, "camera");
    if (stream) {
      this.#camera = stream;
      const video = this.#get("video");
      video.srcObject = stream;
      video.hidden = false;
      this.#get("[part=camera]").setAttribute("aria-pressed", "true");
      await video.play().catch(() => undefined);
    }
  }

  #endCamera() {
    this.#camera?.getTracks().forEach((track) => track.stop());
    this.#camera = undefined;
    this.#get("video").srcObject = null;
    this.#get("video").hidden = true;
    this.#get("[part=camera]").setAttribute("aria-pressed", "false");
  }

  async #toggleMicrophone() {
    if (this.#recorder) {
      return this.#recorder.stop();
    }
    const stream = await this.#devices({ audio: true }, "microphone");
    if (!stream) {
      return undefined;
    }
    const recorder = (this.#recorder = new MediaRecorder(stream));
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      this.#recorder = undefined;
      this.#get("[part=microphone]").setAttribute("aria-pressed", "false");
      this.#audio = new Blob(parts, { type: recorder.mimeType });
      this.#preview();
    };
    recorder.start();
    this.#get("[part=microphone]").setAttribute("aria-pressed", "true");
    return undefined;
  }

  async #devices(wanted, name) {
    try {
      return await navigator.mediaDevices.getUserMedia(wanted);
    } catch {
      this.#say(`The browser did not allow the ${name}. Files and typing still work.`, { isError: true });
      return undefined;
    }
  }

  #busy(isBusy) {
    this.#get("[part=ask]").hidden = isBusy;
    this.#get("[part=stop]").hidden = !isBusy;
    this.#get("[part=answer]").setAttribute("aria-busy", String(isBusy));
    this.toggleAttribute("data-busy", isBusy);
  }

  /** Screen readers hear whole sentences: answers when they are complete, and errors. */
  #say(text, { isError = false, isQuiet = false, isHeardOnly = false } = {}) {
    const status = this.#get("[part=status]");
    status.textContent = isHeardOnly ? "" : text;
    status.classList.toggle("error", isError);
    if (!isQuiet) {
      this.#get("[role=status]").textContent = text;
    }
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  #get(selector) {
    return this.shadowRoot.querySelector(selector);
  }

  #on(selector, event, listener) {
    this.#get(selector).addEventListener(event, listener);
  }
}

if (!customElements.get("msao-assistant")) {
  customElements.define("msao-assistant", MsaoAssistant);
}
