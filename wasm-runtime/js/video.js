/**
 * Frames of a video, by the browser's own decoder: sought one after the other, each as large as a model gains from.
 */

import { refuse } from "./media.js";

/** How long one step of the decoder is waited for. */
const PATIENCE_MS = 15_000;
const WAIT_MS = 20;
/** Of `readyState`: there is a frame to draw. */
const HAVE_CURRENT_DATA = 2;
/** Shorter edge below which no frame is scaled: what the device's model sees of it. */
const SEEN_PX = 256;
/** How long the last frame is taken to be shown. */
const FRAME_S = 0.04;
/** Left out at either end of a video that is longer than all frames together. */
const SKIPPED_S = 1;

/**
 * @param {Blob | HTMLVideoElement} video an element is left as it was
 * @param {{ fps: number, max_frames: number, longest_edge_px: number }} sampling as the protocol's `ClipSampling`
 * @param {AbortSignal} [signal]
 * @param {(frame: number, frames: number) => void} [onFrame]
 * @returns {Promise<{ bitmaps: ImageBitmap[], clip: { duration_ms: number, times_ms: number[] } }>}
 */
export async function toFrames(video, { fps, max_frames, longest_edge_px }, signal, onFrame) {
  const isFile = video instanceof Blob;
  const shown = isFile ? document.createElement("video") : video;
  const { currentTime, paused } = shown;
  const [bitmaps, times_ms, listening] = [[], [], new AbortController()];
  const unreadable = () =>
    refuse("not_a_video", "the video has no frames that this browser can read; give MP4 (H.264) or WebM, not a live stream");
  const heard = (event, act) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      setTimeout(reject, PATIENCE_MS);
      for (const [name, hear] of [[event, resolve], ["error", reject]]) {
        shown.addEventListener(name, hear, { once: true, signal: listening.signal });
      }
      act();
    }).catch(() => signal?.throwIfAborted() ?? unreadable());
  const seek = async (to) => {
    await heard("seeked", () => (shown.currentTime = to));
    // After a seek across the whole video the frame comes a little later.
    for (let waits = 0; shown.readyState < HAVE_CURRENT_DATA; waits += 1) {
      signal?.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
      waits * WAIT_MS < PATIENCE_MS || unreadable();
    }
  };
  try {
    if (isFile) {
      shown.muted = true;
      shown.preload = "auto";
      await heard("loadeddata", () => (shown.src = URL.createObjectURL(video)));
    } else {
      shown.pause();
    }
    if (!shown.videoWidth || shown.srcObject) {
      unreadable();
    }
    // Recorders that stream write no length; it ends where seeking does.
    if (shown.duration === Infinity) {
      await seek(1e7);
    }
    const duration = shown.duration === Infinity ? shown.currentTime : shown.duration;
    const frames = Math.round(Math.min(Math.max(duration * fps, 1), max_frames));
    const start = duration - 2 * SKIPPED_S > max_frames * fps ? SKIPPED_S : 0;
    const step = Math.max(duration - Math.max(start, FRAME_S) - start, 0) / Math.max(frames - 1, 1);
    const [width, height] = [shown.videoWidth, shown.videoHeight];
    const scale = Math.min(Math.max(longest_edge_px / Math.max(width, height), SEEN_PX / Math.min(width, height)), 1);
    const size = { resizeWidth: Math.round(width * scale), resizeHeight: Math.round(height * scale) };
    for (let frame = 0; frame < frames; frame += 1) {
      await seek(start + frame * step);
      bitmaps.push(await createImageBitmap(shown, { ...size, resizeQuality: "high" }));
      times_ms.push(Math.floor((start + frame * step) * 1e3));
      onFrame?.(frame + 1, frames);
    }
    return { bitmaps, clip: { duration_ms: Math.floor(duration * 1e3), times_ms } };
  } catch (error) {
    bitmaps.forEach((bitmap) => bitmap.close());
    throw error;
  } finally {
    listening.abort();
    if (isFile) {
      URL.revokeObjectURL(shown.src);
      shown.removeAttribute("src");
      shown.load();
    } else {
      shown.currentTime = currentTime;
      paused || shown.play();
    }
  }
}
