/**
 * What a page says, in the form in which the Worker and the module take it, and back.
 */

import { refuse } from "./media.js";

const MODALITIES = ["text", "vision", "audio"];
const POLICIES = ["msao", "edge_only", "cloud_only", "co_located", "distributed", "msao_without_mas", "msao_without_speculation"];
const DEFAULT_MODEL = "pocket-edge";
const DEFAULT_EPSILON = 0.05;
/** Below nothing would ever stand, above a bound says little. */
const [LEAST_EPSILON, MOST_EPSILON] = [0.001, 0.5];

/** The engine takes no more (`MOST_HELPERS` in kernels/src/pool/workers.rs). */
const MOST_THREADS = 16;

/** `Settings` of driver/mod.rs. */
export function toSettings({ policy = "msao", mode = "verified", epsilon = DEFAULT_EPSILON, pruneTiles = false }, privacy) {
  for (const [name, value] of Object.entries(privacy)) {
    if (!MODALITIES.includes(name) || !["open", "locked"].includes(value)) {
      refuse("invalid_input", `privacy.${name} is \`${value}\`; text, vision and audio are \`open\` or \`locked\``);
    }
  }
  if (!POLICIES.includes(policy)) {
    refuse("invalid_input", `\`${policy}\` is no policy; there are ${POLICIES.join(", ")}`);
  }
  if (!["verified", "risk_controlled"].includes(mode)) {
    refuse("invalid_input", `\`${mode}\` is no mode; there are verified and risk_controlled`);
  }
  if (!(epsilon >= LEAST_EPSILON && epsilon <= MOST_EPSILON)) {
    refuse("invalid_input", `epsilon is ${epsilon}; it must be ${LEAST_EPSILON} to ${MOST_EPSILON}`);
  }
  const locks = Object.fromEntries(MODALITIES.map((name) => [name, privacy[name] === "locked"]));
  return { locks, policy, mode: mode === "verified" ? mode : { risk_controlled: { epsilon } }, prune_tiles: Boolean(pruneTiles) };
}

/** How many threads the device's engine may use; `undefined` leaves it to the engine. */
export function toThreads({ threads }) {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
    refuse("invalid_input", `threads is ${threads}; it must be a whole number, 1 to ${MOST_THREADS}`);
  }
  return threads;
}

/** The address of the session on a server, of which the page's own may be said by a path. */
export function sessionUrl(server) {
  const url = folder(server);
  url.protocol = ["https:", "wss:"].includes(url.protocol) ? "wss:" : "ws:";
  url.pathname = url.pathname.replace(/(v1\/session\/)?$/, "v1/session");
  return url.href;
}

/**
 * The folder of the model for the device; `null` for none.
 * @param {{ model?: string | URL | null, server?: string | URL | null }} options
 * @param {URL} packageUrl
 */
export function weightsUrl({ model = DEFAULT_MODEL, server }, packageUrl) {
  if (model === null) {
    return null;
  }
  if (/[/:]/.test(String(model))) {
    return folder(model).href;
  }
  // A server has its checkpoints beside its package.
  const base = server ? folder(server) : new URL("../", packageUrl);
  base.protocol = base.protocol.replace(/^ws/, "http");
  base.pathname = base.pathname.replace(/v1\/session\/$/, "");
  return new URL(`weights/${encodeURIComponent(model)}/`, base).href;
}

function folder(address) {
  const url = new URL(address, globalThis.location?.href);
  if (!["http:", "https:", "ws:", "wss:"].includes(url.protocol)) {
    refuse("invalid_input", `${address} is no address of a server; it begins with https://, http://, wss:// or ws://`);
  }
  url.pathname = url.pathname.replace(/\/?$/, "/");
  url.search = url.hash = "";
  return url;
}

/** A TargetGrid of scored.rs. */
export const toGrid = ({ image, audio }) => ({
  image: { side_px: image.sidePx, tokens_per_side: image.tokensPerSide },
  audio: audio && {
    sample_rate_hz: audio.sampleRateHz,
    window_samples: audio.windowSamples,
    tokens: audio.tokens,
  },
});

/** A Sampling of the protocol. */
export const toSampling = ({ temperature = 1, topP = 1, seed = 0 }) => ({ temperature, top_p: topP, seed });

/** One flag for each part of a mask. */
export const toFlags = ({ parts, bits }) =>
  Array.from({ length: parts }, (_, part) => ((bits[part >> 3] >> (part & 7)) & 1) === 1);

export function fromScored({ modalities, images, audio }) {
  return {
    modalities: modalities.map(({ modality, mas, kept: { patches, frames, windows }, patch_probabilities }) => ({
      modality,
      mas,
      patch_probabilities: patch_probabilities ?? [],
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
