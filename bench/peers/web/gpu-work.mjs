/**
 * Counts what a script gives the GPU to do, from outside: on this thread, and for whoever asks on a channel.
 */

export const CHANNEL = "gpu-work";
const COUNTED = [
  [globalThis.GPUComputePassEncoder, "dispatchWorkgroups", "dispatches"],
  [globalThis.GPUComputePassEncoder, "dispatchWorkgroupsIndirect", "dispatches"],
  [globalThis.GPUCommandEncoder, "beginComputePass", "passes"],
  [globalThis.GPUQueue, "submit", "submissions"],
  [globalThis.GPUQueue, "writeBuffer", "writes"],
  [globalThis.GPUBuffer, "mapAsync", "reads"],
];

/** Since this script was loaded. */
export const counts = { dispatches: 0, passes: 0, submissions: 0, writes: 0, reads: 0 };

for (const [type, method, what] of COUNTED) {
  if (!type) continue;
  const original = type.prototype[method];
  type.prototype[method] = function (...values) {
    counts[what] += 1;
    return original.apply(this, values);
  };
}

if (!globalThis.document) {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => data === "how much?" && channel.postMessage(counts);
}
