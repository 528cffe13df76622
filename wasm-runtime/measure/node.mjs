/**
 * Times the Wasm SIMD engine in Node: `node wasm-runtime/measure/node.mjs [checkpoint folder with a probe] [question]`.
 *
 * Needs the built package (`cargo xtask engines`). Prints the time to load, the timings that the browser's choice
 * of engine rests on, the cost of verifying drafts in decode steps, and an answer with its receipt.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import init, { Engine } from "../pkg/simd/msao_runtime.js";

const home = fileURLToPath(new URL("../..", import.meta.url));
const folder = process.argv[2] ?? join(home, "models/weights/pocket-edge");
const question = process.argv[3] ?? "what color is the star?";
const say = (label, value) => console.log(`${label.padEnd(26)} ${value}`);
const ms = (value) => `${value.toFixed(2)} ms`;

const started = performance.now();
await init({ module_or_path: await readFile(new URL("../pkg/simd/msao_runtime_bg.wasm", import.meta.url)) });
say("compile", ms(performance.now() - started));

const names = ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors", "mas_probe.json", "mas_probe.safetensors"];
const files = Object.fromEntries(await Promise.all(names.map(async (name) => [name, new Uint8Array(await readFile(join(folder, name)))])));
const loading = performance.now();
const engine = await Engine.load("simd", files);
say("load", `${ms(performance.now() - loading)}, ${engine.parameters} parameters`);
await engine.warm_up();

await engine.measure();
const { prefill_ms, decode_step_ms } = await engine.measure();
say("encode + prefill", ms(prefill_ms));
say("decode step", ms(decode_step_ms));
for (const rows of [1, 2, 4, 8, 16]) {
  const time = await engine.time_rows(rows);
  say(`pass over ${rows} rows`, `${ms(time)}, ${(time / decode_step_ms).toFixed(2)} decode steps`);
}

const side = 64;
const pixels = Uint8Array.from({ length: side * side * 4 }, (_, at) => (at % 4 === 0 ? 200 : 40));
const tone = Float32Array.from({ length: 16000 }, (_, at) => 0.3 * Math.sin((at * 440 * 2 * Math.PI) / 16000));
const images = [{ width: side, height: side, pixels }];
const audio = { sample_rate_hz: 16000, samples: tone };
const target = {
  image: { side_px: 192, tokens_per_side: 6 },
  audio: { sample_rate_hz: 16000, window_samples: 1280, tokens: 60 },
};
const onScored = async ({ modalities }) => {
  for (const { modality, mas } of modalities) {
    say(modality, `relevance ${mas.relevance.toFixed(3)}, density ${mas.density.toFixed(2)}, MAS ${mas.mas.toFixed(2)}`);
  }
  return true;
};
const onStep = async () => true;
const answer = await engine.ask(question, images, audio, { max_new_tokens: 32, target }, onScored, onStep);
const { text, finish_reason, receipt } = answer;
say("answer", `${JSON.stringify(text)} (${finish_reason})`);
for (const span of receipt.spans) {
  say(`  ${span.kind}`, ms(span.ms));
}
const decode = receipt.spans.find((span) => span.kind === "decode");
say("tokens", `${receipt.prompt_tokens} read, ${receipt.completion_tokens} written`);
say("tokens/s", ((receipt.completion_tokens / decode.ms) * 1000).toFixed(0));
const logits = await engine.first_token_logits(question, images, audio);
say("logits", `${logits.length}, highest ${Math.max(...logits).toFixed(3)}`);
