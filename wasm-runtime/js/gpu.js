/**
 * Hears when a GPU is lost, out of memory or at fault, whoever made the device: without it an engine would wait for
 * results that never come, or go on with wrong ones.
 */

/** @param {(reason: { message: string, isOutOfMemory: boolean }) => void} onLost */
export function watchGpu(onLost) {
  if (!globalThis.GPUAdapter) {
    return;
  }
  const { requestDevice } = GPUAdapter.prototype;
  // This Worker is the engine's own: nobody else finds the method changed.
  GPUAdapter.prototype.requestDevice = async function (...options) {
    const device = await requestDevice.apply(this, options);
    device.lost.then(({ message }) => onLost({ message: told("the GPU was lost", message), isOutOfMemory: false }));
    device.addEventListener("uncapturederror", ({ error }) => {
      const isOutOfMemory = error instanceof GPUOutOfMemoryError;
      const what = isOutOfMemory ? "the GPU's memory is full" : "the GPU reports an error";
      onLost({ message: told(what, error.message), isOutOfMemory });
    });
    return device;
  };
}

/** Drivers write at length; the beginning says it. */
const told = (what, message) => (message ? `${what} (${message.split("\n")[0].slice(0, 120)})` : what);
