/**
 * The way to the Worker that holds an assistant, wherever this package was loaded from.
 *
 * Browsers start Workers only from a page's own origin. Where the package is of that origin, or bundled into the page,
 * the Worker is the page's. Where it came from another server, that server's `frame.html` holds the Worker, in an iframe
 * without a picture: Wasm, Workers, weights and WebSocket are that server's own then, and the page need allow no more of
 * it than its script and its frame. Either way page and Worker speak through a `MessagePort`.
 */

import { AssistantError } from "./errors.js";

/** Longest wait for the frame, which is a few kilobytes. */
const FRAME_TIMEOUT_MS = 20_000;

/**
 * @typedef {object} Reached
 * @property {MessagePort} port
 * @property {() => void} dispose ends the Worker and all that it has started
 */

/**
 * @param {URL} packageUrl folder of this package
 * @param {boolean} isElsewhere whether that is not where this file lies
 * @param {(error: AssistantError) => void} onCrash hears once that the Worker has ended by itself
 * @param {AbortSignal} [signal]
 * @returns {Promise<Reached>}
 */
export function reach(packageUrl, isElsewhere, onCrash, signal) {
  const isOwn = packageUrl.origin === globalThis.location?.origin;
  return isOwn ? inWorker(packageUrl, isElsewhere, onCrash) : inFrame(packageUrl, onCrash, signal);
}

const crashed = (reason) =>
  new AssistantError({
    code: "worker_crashed",
    message: `the assistant's Worker stopped: ${reason || "its script could not be loaded"}; make a new one`,
  });

async function inWorker(packageUrl, isElsewhere, onCrash) {
  const options = { type: "module", name: "msao-assistant" };
  // The second form is literal, so that bundlers see it.
  const worker = isElsewhere
    ? new Worker(new URL("assistant.js", packageUrl), options)
    : new Worker(new URL("./assistant.js", import.meta.url), { type: "module", name: "msao-assistant" });
  const { port1, port2 } = new MessageChannel();
  worker.onerror = (event) => {
    event.preventDefault();
    onCrash(crashed(event.message));
  };
  worker.postMessage({ type: "open" }, [port2]);
  return { port: port1, dispose: () => (worker.terminate(), port1.close()) };
}

async function inFrame(packageUrl, onCrash, signal) {
  const frame = document.createElement("iframe");
  frame.src = new URL("frame.html", packageUrl).href;
  frame.title = "MSAO";
  frame.setAttribute("aria-hidden", "true");
  frame.tabIndex = -1;
  frame.style.cssText = "position:absolute;width:0;height:0;border:0;visibility:hidden";
  const talk = new MessageChannel();
  const control = new MessageChannel();
  let stop = () => {};
  const dispose = () => {
    frame.remove();
    talk.port1.close();
    control.port1.close();
  };
  try {
    await new Promise((resolve, reject) => {
      const refused = () =>
        reject(
          new AssistantError({
            code: "frame_refused",
            message: `${frame.src} cannot be shown in this page: its server must be started with --allow-origin ${location.origin}, and this page's policy must allow it as frame-src`,
          }),
        );
      const timer = setTimeout(refused, FRAME_TIMEOUT_MS);
      control.port1.onmessage = ({ data }) => {
        if (data.type === "opened") {
          clearTimeout(timer);
          resolve(undefined);
        } else {
          onCrash(crashed(data.message));
        }
      };
      stop = () => (clearTimeout(timer), reject(signal.reason));
      signal?.addEventListener("abort", stop);
      frame.addEventListener("load", () => {
        const ports = [talk.port2, control.port2];
        // A frame that was refused is of no origin, and hears nothing of this.
        frame.contentWindow?.postMessage({ type: "msao-open" }, packageUrl.origin, ports);
      }, { once: true });
      document.documentElement.append(frame);
    });
  } catch (error) {
    dispose();
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
  return { port: talk.port1, dispose };
}
