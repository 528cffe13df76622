/**
 * Times the module for several threads in Node: `node wasm-runtime/measure/threads.mjs [checkpoint folder] [threads] [rounds]`.
 *
 * Needs the built package (`cargo xtask engines`). Engines of one thread and of several take turns; medians are printed, and
 * whether both give the same logits to the last bit.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker, isMainThread, parentPort } from "node:worker_threads";

const NAMES = ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors", "mas_probe.json", "mas_probe.safetensors"];
const ROWS = [1, 8, 16];
const side = 192;
const pixels = Uint8Array.from({ length: side * side * 4 }, (_, at) => (at % 4 === 0 ? 200 : 40));
const samples = Float32Array.from({ length: 32_000 }, (_, at) => 0.3 * Math.sin((at * 440 * 2 * Math.PI) / 16_000));
const asked = ["what color is the star?", [{ width: side, height: side, pixels }], { sample_rate_hz: 16_000, samples }];

/** As threads.js does it in a browser. */
async function start(threads, files) {
  // Another address is another instance.
  const module = await import(`../pkg/threads/msao_runtime.js?${threads}`);
  const compiled = await WebAssembly.compile(await readFile(new URL("../pkg/threads/msao_runtime_bg.wasm", import.meta.url)));
  const { memory } = await module.default({ module_or_path: compiled });
  module.await_helpers();
  for (let number = 0; number < threads - 1; number += 1) {
    const worker = new Worker(new URL(import.meta.url));
    worker.postMessage({ module: compiled, memory, number });
    await new Promise((resolve) => worker.once("message", resolve));
  }
  const engine = await module.Engine.load("simd", files);
  await engine.warm_up();
  return { engine, times: {} };
}

async function time({ engine, times }) {
  const note = (what, ms) => (times[what] ??= []).push(ms);
  const { receipt } = await engine.ask(...asked, { max_new_tokens: 32, target: null }, async () => true, async () => true);
  receipt.spans.forEach(({ kind, ms }) => note(kind, ms));
  for (const rows of ROWS) note(`pass over ${rows} rows`, await engine.time_rows(rows));
}

async function main() {
  const home = fileURLToPath(new URL("../..", import.meta.url));
  const folder = process.argv[2] ?? join(home, "models/weights/pocket-edge");
  const threads = Number(process.argv[3] ?? 2);
  const rounds = Number(process.argv[4] ?? 30);
  const file = async (name) => [name, new Uint8Array(await readFile(join(folder, name)))];
  const found = await Promise.all(NAMES.map((name) => file(name).catch(() => undefined)));
  const files = Object.fromEntries(found.filter(Boolean));
  const engines = [await start(1, files), await start(threads, files)];
  for (let round = 0; round < rounds; round += 1) {
    for (const engine of engines) await time(engine);
  }
  const [one, several] = engines.map(({ times }) => times);
  const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
  for (const what of Object.keys(one)) {
    const [alone, together] = [median(one[what]), median(several[what])];
    console.log(`${what.padEnd(20)} ${alone.toFixed(3)} ms, ${threads} threads ${together.toFixed(3)} ms, ${(alone / together).toFixed(2)} times as fast`);
  }
  const [ours, theirs] = await Promise.all(engines.map(({ engine }) => engine.first_token_logits(...asked)));
  console.log(`logits: ${ours.every((logit, at) => Object.is(logit, theirs[at])) ? "the same to the last bit" : "DIFFERENT"}`);
  process.exit();
}

if (isMainThread) {
  await main();
} else {
  globalThis.self = globalThis;
  globalThis.postMessage = (message) => parentPort.postMessage(message);
  await import("../pkg/helper.js");
  parentPort.once("message", (data) => self.onmessage({ data }));
}
