/**
 * Asks MSAO's package and transformers.js the same questions in turn, on the same weights, and posts the times to where the page
 * came from. Both run Wasm SIMD on one thread, or with more threads both on those and MSAO on one as
 * well; each had a question to warm up.
 *
 * All begin with what a page has, a bitmap and words, but one: "given pixels and ids" is transformers.js with the picture read, made
 * smaller and normalised before its time begins, which leaves the model alone. (Ids are given to it in any case.) MSAO's work is
 * done in Workers and its tokens come by message; that of transformers.js on this thread. "scoring" is MSAO where somebody wants to
 * know which parts of the picture matter.
 *
 * Tokens a second are those of whole answers of five tokens and more, from the question to the end. On WebGPU the work of a token is
 * counted, without a clock: what an answer of some tokens takes more than one of a single token.
 *
 * MSAO runs once for each format of weights that is asked for. A page whose address names an engine (`?only=`) loads nothing else and
 * asks one question, so that its process tells what that engine takes in memory.
 */

import { CHANNEL, counts } from "./gpu-work.mjs";
import { createAssistant } from "/engine/index.js";
import { env, AutoModelForImageTextToText, RawImage, SiglipImageProcessor, Tensor } from "/transformers/transformers.min.js";

/** The format that the files have. */
const STORED = "stored";
const PEER = "transformers.js";
const GIVEN = "transformers.js, given pixels and ids";

const post = (path, body) => fetch(path, { method: "POST", body: JSON.stringify(body) });
/** Tokens of the longer answer whose work is counted. */
const COUNTED = 17;
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

async function transformersJs(device, threads, longest) {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = "/models/";
  env.backends.onnx.wasm.numThreads = threads;
  env.backends.onnx.wasm.wasmPaths = "/onnxruntime/";
  const model = await AutoModelForImageTextToText.from_pretrained("checkpoint", { device, dtype: "fp32" });
  const ask = async ({ ids, frames, side, pixels }, most = longest, began = performance.now()) => {
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
      max_new_tokens: most, do_sample: false, streamer,
    });
    const ended = performance.now();
    if (tokens.at(-1) === 2) tokens.pop();
    return { first_ms: first - began, all_ms: ended - began, tokens };
  };
  return { ask, work: () => ({ ...counts }) };
}

/** The same with the library's own way from a bitmap to pixels. */
function fromPicture({ ask, work }, side, longest) {
  const half = [0.5, 0.5, 0.5];
  const processor = new SiglipImageProcessor({
    do_resize: true, size: { width: side, height: side }, resample: 1, do_rescale: true, rescale_factor: 1 / 255,
    do_normalize: true, image_mean: half, image_std: half,
  });
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = (bitmap) => {
    Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    context.drawImage(bitmap, 0, 0);
    return RawImage.fromCanvas(canvas).rgb();
  };
  const askFrom = async (question, most = longest) => {
    const began = performance.now();
    const { pixel_values } = await processor(question.bitmaps.map(read));
    return ask({ ...question, pixels: pixel_values.data }, most, began);
  };
  return { ask: askFrom, work };
}

async function msao(engine, threads, format, longest) {
  const assistant = await createAssistant({ model: "/weights/", engine, threads, ...(format === STORED ? {} : { format }) });
  if (engine === "simd" && assistant.threads !== threads) throw new Error(`${assistant.threads} threads run, not ${threads}`);
  const channel = new BroadcastChannel(CHANNEL);
  const work = () =>
    new Promise((resolve) => {
      channel.onmessage = ({ data }) => resolve(data);
      channel.postMessage("how much?");
    });
  const asking = (listens) => async ({ question, bitmaps }, most = longest) => {
    const began = performance.now();
    const tokens = [];
    let first = 0;
    await assistant.draft({
      question, images: bitmaps, maxNewTokens: most,
      onToken: ({ id }) => {
        if (tokens.length === 0) first = performance.now();
        tokens.push(id);
      },
      ...listens,
    });
    const ended = performance.now();
    return { first_ms: first - began, all_ms: ended - began, tokens };
  };
  return (listens) => ({ ask: asking(listens), work });
}

/** What the GPU is given for one more token. */
async function workOfToken({ ask, work }, question) {
  const spent = async (most) => {
    const before = await work();
    const { tokens } = await ask(question, most);
    const after = await work();
    return { tokens: tokens.length, ...Object.fromEntries(Object.keys(after).map((what) => [what, after[what] - before[what]])) };
  };
  const [one, more] = [await spent(1), await spent(COUNTED)];
  const { tokens, ...counted } = more;
  return Object.fromEntries(Object.keys(counted).map((what) => [what, (more[what] - one[what]) / (tokens - one.tokens)]));
}

/** A browser's first adapter may be none; the next one is there. */
async function requireGpu(vendor) {
  const found = (await navigator.gpu.requestAdapter()) ?? (await navigator.gpu.requestAdapter());
  if (vendor && found?.info.vendor !== vendor) {
    throw new Error(`the GPU is of ${found?.info.vendor ?? "nobody"}, not of ${vendor}`);
  }
  return `${found?.info.vendor} ${found?.info.architecture}`;
}

async function load(question) {
  const pixels = new Float32Array(await (await fetch(question.pixels)).arrayBuffer());
  const bitmaps = await Promise.all(
    question.images.map(async (image) => createImageBitmap(await (await fetch(image)).blob())),
  );
  return { ...question, pixels, bitmaps, frames: question.images.length };
}

async function run() {
  const { rounds, device, threads, vendor, formats, longest, questions: listed } = await (await fetch("questions.json")).json();
  const adapter = device === "webgpu" ? await requireGpu(vendor) : "";
  const questions = await Promise.all(listed.map(load));
  const engine = device === "webgpu" ? "webgpu" : "simd";
  const only = new URL(location.href).searchParams.get("only");
  const engines = {};
  for (const format of formats) {
    const name = format === STORED ? "MSAO" : `MSAO, ${format}`;
    if ((only ?? name) !== name) continue;
    const ours = await msao(engine, 1, format, longest);
    engines[name] = ours({});
    if (format === STORED && !only) engines[`${name}, scoring`] = ours({ onScored() {} });
  }
  if ((only ?? PEER) === PEER) {
    const theirs = await transformersJs(device, threads, longest);
    engines[PEER] = fromPicture(theirs, questions[0].side, longest);
    if (!only) engines[GIVEN] = theirs;
  }
  if (only) {
    const { tokens } = await engines[only].ask(questions[0]);
    return post("/result", { only, tokens: tokens.length });
  }
  if (threads > 1) engines[`MSAO, ${threads} threads`] = (await msao(engine, threads, formats[0], longest))({});
  const turns = Object.entries(engines);
  const runs = Object.fromEntries(turns.map(([name]) => [name, []]));
  for (const [name, { ask }] of Object.entries(engines)) {
    await ask(questions[0]).catch((error) => {
      throw new Error(`${name}: ${error.stack}`);
    });
  }
  // Nobody knows what random weights answer; one engine's answers serve.
  for (const question of questions) question.answer ??= (await engines[GIVEN].ask(question)).tokens;
  for (let round = 0; round < rounds; round++) {
    for (const [index, question] of questions.entries()) {
      // Each comes first in turn, since whoever follows itself finds its memory in the caches.
      const first = (index + round) % turns.length;
      for (const [name, { ask }] of [...turns.slice(first), ...turns.slice(0, first)]) {
        const { tokens, ...times } = await ask(question);
        const isEqual = JSON.stringify(tokens) === JSON.stringify(question.answer);
        runs[name].push({ id: question.id, ...times, tokens: tokens.length, answer: tokens, isEqual });
      }
    }
  }
  const summary = Object.fromEntries(Object.entries(runs).map(([name, all]) => {
    const long = all.filter(({ tokens }) => tokens >= 5);
    return [name, {
      first_token_ms: median(all.map(({ first_ms }) => first_ms)),
      tokens_per_s: median(long.map(({ all_ms, tokens }) => (tokens / all_ms) * 1e3)),
      token_ms: median(long.map(({ first_ms, all_ms, tokens }) => (all_ms - first_ms) / (tokens - 1))),
      equal_answers: all.filter(({ isEqual }) => isEqual).length,
      answers: all.length,
    }];
  }));
  const work = {};
  if (device === "webgpu") {
    const long = questions.find(({ answer }) => answer.length >= 5);
    for (const [name, engine] of Object.entries(engines)) work[name] = await workOfToken(engine, long);
  }
  await post("/result", { adapter, summary, work, runs });
}

await run().catch((error) => post("/result", { error: String(error.stack ?? error) }));
