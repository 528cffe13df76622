/**
 * Asks MSAO's package and transformers.js the same questions in turn, on the same weights, and posts the times to where the page
 * came from. Both run Wasm SIMD on one thread; each had a question to warm up. MSAO reads the picture and scores the question
 * before its first token, and its tokens come from a Worker; transformers.js gets ids and pixels ready made, on this thread.
 * Tokens a second are those of whole answers of five tokens and more, from the question to the end.
 */

import { createAssistant } from "/engine/index.js";
import { env, AutoModelForImageTextToText, Tensor } from "/transformers/transformers.min.js";

const post = (path, body) => fetch(path, { method: "POST", body: JSON.stringify(body) });
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

async function transformersJs(device) {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = "/models/";
  env.backends.onnx.wasm.numThreads = 1;
  env.backends.onnx.wasm.wasmPaths = "/onnxruntime/";
  const model = await AutoModelForImageTextToText.from_pretrained("checkpoint", { device, dtype: "fp32" });
  return async ({ ids, frames, side, pixels, answer }) => {
    const began = performance.now();
    const tokens = [];
    let first = 0;
    const streamer = {
      put(values) {
        // The prompt comes first.
        if (values[0].length > 1) return;
        if (tokens.length === 0) first = performance.now();
        tokens.push(Number(values[0][0]));
      },
      end() {},
    };
    await model.generate({
      input_ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]),
      attention_mask: new Tensor("int64", new BigInt64Array(ids.length).fill(1n), [1, ids.length]),
      pixel_values: new Tensor("float32", pixels, [1, frames, 3, side, side]),
      pixel_attention_mask: new Tensor("bool", new Uint8Array(frames * side * side).fill(1), [1, frames, side, side]),
      max_new_tokens: 80, do_sample: false, streamer,
    });
    const ended = performance.now();
    if (tokens.at(-1) === 2) tokens.pop();
    const isEqual = JSON.stringify(tokens) === JSON.stringify(answer);
    return { first_ms: first - began, all_ms: ended - began, tokens: tokens.length, isEqual };
  };
}

async function msao(engine) {
  const assistant = await createAssistant({ model: "/weights/", engine });
  return async ({ question, bitmaps, answer }) => {
    const began = performance.now();
    const tokens = [];
    let first = 0;
    await assistant.draft({
      question, images: bitmaps, maxNewTokens: 80,
      onToken: ({ id }) => {
        if (tokens.length === 0) first = performance.now();
        tokens.push(id);
      },
    });
    const ended = performance.now();
    const isEqual = JSON.stringify(tokens) === JSON.stringify(answer);
    return { first_ms: first - began, all_ms: ended - began, tokens: tokens.length, isEqual };
  };
}

async function load(question) {
  const pixels = new Float32Array(await (await fetch(question.pixels)).arrayBuffer());
  const bitmaps = await Promise.all(
    question.images.map(async (image) => createImageBitmap(await (await fetch(image)).blob())),
  );
  return { ...question, pixels, bitmaps, frames: question.images.length };
}

try {
  const { rounds, device, questions: listed } = await (await fetch("questions.json")).json();
  const questions = await Promise.all(listed.map(load));
  const engines = {
    msao: await msao(device === "webgpu" ? "webgpu" : "simd"),
    "transformers.js": await transformersJs(device),
  };
  const runs = { msao: [], "transformers.js": [] };
  for (const [name, answer] of Object.entries(engines)) await answer(questions[0]).catch((error) => { throw new Error(`${name}: ${error.stack}`); });
  for (let round = 0; round < rounds; round++) {
    for (const question of questions) {
      for (const [name, answer] of Object.entries(engines)) runs[name].push({ id: question.id, ...(await answer(question)) });
    }
  }
  const summary = Object.fromEntries(Object.entries(runs).map(([name, all]) => {
    const long = all.filter(({ tokens }) => tokens >= 5);
    return [name, {
      first_token_ms: median(all.map(({ first_ms }) => first_ms)),
      tokens_per_s: median(long.map(({ all_ms, tokens }) => (tokens / all_ms) * 1e3)),
      equal_answers: all.filter(({ isEqual }) => isEqual).length,
      answers: all.length,
    }];
  }));
  await post("/result", { summary, runs });
} catch (error) {
  await post("/result", { error: String(error.stack ?? error) });
}
