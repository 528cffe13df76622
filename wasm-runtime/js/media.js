/**
 * Pictures and recordings on their way from the page to the Worker: held to their budgets by their headers, then decoded by
 * the browser.
 */

import { AssistantError } from "./errors.js";

/** Samples in a second of what both models hear, and how many of them they hear at a time. */
const SAMPLE_RATE_HZ = 16_000;
const WINDOW_SAMPLES = 76_800;
/** Samples of the steps in which the loudest window is looked for: 20 ms. */
const STEP_SAMPLES = 320;
/** A recording whose loudest 20 ms stay below this root mean square (-60 dB of full scale) is silent. */
const SILENCE_RMS = 0.001;

/** What a server takes unless it says otherwise: `Limits` of the protocol. */
export const DEFAULT_LIMITS = {
  image_bytes: 8 << 20,
  image_pixels: 40_000_000,
  images: 8,
  clip_frames: 64,
  audio_bytes: 8 << 20,
  audio_s: 30,
  question_chars: 4_000,
  history_turns: 16,
  history_chars: 16_000,
  max_new_tokens: 256,
};

export const refuse = (code, message) => {
  throw new AssistantError({ code, message });
};

/**
 * Anything that shows a picture, as a bitmap.
 * @param {any} image
 * @param {typeof DEFAULT_LIMITS} limits
 * @returns {Promise<ImageBitmap>}
 */
export async function toBitmap(image, limits) {
  if (image && "data" in image && "width" in image && !(image instanceof ImageData)) {
    const { width, height, data } = image;
    return createImageBitmap(new ImageData(new Uint8ClampedArray(data), width, height));
  }
  if (image instanceof Blob) {
    if (image.size > limits.image_bytes) {
      refuse("too_large", `the picture has ${image.size} bytes, the limit is ${limits.image_bytes}; scale it down`);
    }
    const [width, height] = dimensions(new DataView(await image.slice(0, 1 << 18).arrayBuffer())) ?? [0, 0];
    if (width * height > limits.image_pixels) {
      const message = `the picture has ${width} x ${height} pixels, the limit is ${limits.image_pixels}; scale it down`;
      refuse("too_many_pixels", message);
    }
  }
  try {
    return await createImageBitmap(image);
  } catch (error) {
    return refuse("not_an_image", `the picture cannot be read: ${error.message}; give a PNG, JPEG or WebP`);
  }
}

/** Width and height that a file's header announces, of the formats that servers take. @param {DataView} head */
function dimensions(head) {
  const word = (at) => (at + 4 <= head.byteLength ? head.getUint32(at) : 0);
  if (word(0) === 0x89504e47) {
    return [word(16), word(20)];
  }
  if (word(0) === 0x52494646 && word(8) === 0x57454250 && head.byteLength >= 30) {
    const at16 = (at) => head.getUint16(at, true) & 0x3fff;
    const at24 = (at) => (head.getUint8(at) | (head.getUint8(at + 1) << 8) | (head.getUint8(at + 2) << 16)) + 1;
    const bits = head.getUint32(21, true);
    const kinds = {
      [0x56503820]: () => [at16(26), at16(28)],
      [0x5650384c]: () => [(bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1],
      [0x56503858]: () => [at24(24), at24(27)],
    };
    return kinds[word(12)]?.();
  }
  if (word(0) >>> 16 === 0xffd8) {
    for (let at = 2; at + 9 <= head.byteLength && head.getUint8(at) === 0xff; ) {
      const marker = head.getUint8(at + 1);
      if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
        return [head.getUint16(at + 7), head.getUint16(at + 5)];
      }
      at += marker === 0xff ? 1 : 2 + head.getUint16(at + 2);
    }
  }
  return undefined;
}

/**
 * A recording as both models hear it: one channel of 16 kHz, its loudest window.
 * @param {any} audio an `AudioBuffer`, samples with their rate, or a file
 * @param {typeof DEFAULT_LIMITS} limits
 * @returns {Promise<Float32Array>}
 */
export async function toSamples(audio, limits) {
  const samples = loudestWindow(await mono(audio, limits));
  for (let start = 0; start < samples.length; start += STEP_SAMPLES) {
    const step = samples.subarray(start, start + STEP_SAMPLES);
    if (step.reduce((sum, sample) => sum + sample * sample, 0) >= SILENCE_RMS ** 2 * step.length) {
      return samples.slice();
    }
  }
  return refuse("audio_silent", "nothing can be heard in the recording; record it anew");
}

async function mono(audio, limits) {
  const tooLong = (seconds) => {
    if (seconds > limits.audio_s) {
      refuse("audio_too_long", `the recording lasts ${seconds.toFixed(1)} s, the limit is ${limits.audio_s} s; cut it`);
    }
  };
  let buffer = audio;
  if (audio instanceof Blob) {
    if (audio.size > limits.audio_bytes) {
      refuse("too_large", `the recording has ${audio.size} bytes, the limit is ${limits.audio_bytes}; cut it`);
    }
    const context = new OfflineAudioContext(1, 1, SAMPLE_RATE_HZ);
    buffer = await context.decodeAudioData(await audio.arrayBuffer()).catch((error) => {
      refuse("not_audio", `the recording cannot be read: ${error.message}; give a WAV or what the browser plays`);
    });
  } else if (!("getChannelData" in audio)) {
    const { sampleRateHz, samples } = audio;
    tooLong(samples.length / sampleRateHz);
    buffer = new AudioBuffer({ length: Math.max(samples.length, 1), sampleRate: sampleRateHz });
    buffer.copyToChannel(Float32Array.from(samples), 0);
  }
  tooLong(buffer.duration);
  if (buffer.sampleRate !== SAMPLE_RATE_HZ) {
    const context = new OfflineAudioContext(1, Math.ceil(buffer.duration * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    source.start();
    return (await context.startRendering()).getChannelData(0);
  }
  const mixed = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    buffer.getChannelData(channel).forEach((sample, index) => {
      mixed[index] += sample / buffer.numberOfChannels;
    });
  }
  return mixed;
}

/** All of it, or the window with most energy; of equally loud ones the first. */
function loudestWindow(samples) {
  let [best, start, energy] = [-1, 0, 0];
  const square = (at) => samples[at] * samples[at];
  for (let at = 0; at < samples.length && samples.length > WINDOW_SAMPLES; at += 1) {
    energy += square(at) - (at >= WINDOW_SAMPLES ? square(at - WINDOW_SAMPLES) : 0);
    const from = at + 1 - WINDOW_SAMPLES;
    if (from >= 0 && from % STEP_SAMPLES === 0 && energy > best) {
      [best, start] = [energy, from];
    }
  }
  return samples.subarray(start, start + WINDOW_SAMPLES);
}

/**
 * A file by its address. `data:` is decoded here, since a page's policy need not allow to fetch those.
 * @param {string} url
 * @param {number} mostBytes
 * @param {AbortSignal} [signal]
 * @returns {Promise<Blob>}
 */
export async function fetchFile(url, mostBytes, signal) {
  const data = /^data:([^;,]*)(?:;[^,;]*)*?(;base64)?,/i.exec(url.slice(0, 300));
  if (data) {
    if (url.length > mostBytes * 1.4 + 300) {
      refuse("too_large", `the data: URL has ${url.length} characters, the limit is ${mostBytes} bytes; scale it down`);
    }
    const body = url.slice(data[0].length);
    return data[2] ? fromBase64(body, data[1]) : new Blob([decodeURIComponent(body)], { type: data[1] });
  }
  const address = new URL(url, globalThis.location?.href);
  if (!["blob:", "http:", "https:"].includes(address.protocol)) {
    refuse("unsupported", `files at ${address.protocol} are not fetched; give a data:, blob: or https: URL`);
  }
  const response = await fetch(address, { signal }).catch((error) => {
    signal?.throwIfAborted();
    return refuse("download_failed", `${address} could not be fetched: ${error.message}; its site and this page's policy (connect-src) must allow it`);
  });
  if (!response.ok) {
    refuse("download_failed", `${address} could not be fetched: the answer is ${response.status}`);
  }
  if (Number(response.headers.get("content-length") ?? 0) > mostBytes) {
    refuse("too_large", `${address} is larger than ${mostBytes} bytes; scale it down`);
  }
  return response.blob();
}

/** @param {string} text @param {string} type @returns {Blob} */
export function fromBase64(text, type) {
  try {
    return new Blob([Uint8Array.from(atob(text), (char) => char.charCodeAt(0))], { type });
  } catch {
    return refuse("invalid_input", "the base64 cannot be read; encode the file again");
  }
}
