// OpenAI's own client for Node against a server: node check.cjs BASE_URL CASES_JSON (answers | busy), with NODE_PATH where
// it is installed. It is used as its documentation says and not adapted. Exits non-zero where anything is not as it has to be.
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const OpenAI = require("openai");

const [baseURL, cases, mode] = process.argv.slice(2);
const model = "pocket-cloud";
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });

const ask = (content, more = {}) =>
  client.chat.completions.create({ model, messages: [{ role: "user", content }], temperature: 0, ...more });
const encoded = (path) => readFileSync(path).toString("base64");

function contentOf({ question, images, audio }) {
  const parts = question ? [{ type: "text", text: question }] : [];
  for (const path of images) {
    parts.push({ type: "image_url", image_url: { url: `data:image/png;base64,${encoded(path)}` } });
  }
  if (audio) parts.push({ type: "input_audio", input_audio: { data: encoded(audio), format: "wav" } });
  return parts;
}

async function answers() {
  const names = [];
  for await (const one of client.models.list()) names.push(one.id);
  assert.deepEqual(names, [model]);
  assert.equal((await client.models.retrieve(model)).owned_by, "msao");

  for (const one of JSON.parse(cases)) {
    const content = contentOf(one);
    const whole = await ask(content);
    assert.equal(whole.choices[0].message.content, one.answer);
    assert.equal(whole.choices[0].finish_reason, "stop");

    let text = "";
    let usage;
    for await (const chunk of await ask(content, { stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, one.answer);
    assert.equal(usage.completion_tokens, whole.usage.completion_tokens);

    const predicted = await ask(content, { prediction: { type: "content", content: one.answer } });
    assert.equal(predicted.choices[0].message.content, one.answer);
    assert.ok(predicted.usage.completion_tokens_details.accepted_prediction_tokens > 0);

    const told = (await ask(content, { logprobs: true, top_logprobs: 2 })).choices[0].logprobs.content;
    const said = Buffer.concat(told.map((token) => Buffer.from(token.bytes))).toString().trim();
    assert.equal(said, one.answer);

    const stop = one.answer.slice(1, 3);
    const cut = (await ask(content, { stop })).choices[0];
    assert.equal(cut.message.content, one.answer.slice(0, one.answer.indexOf(stop)));
  }

  await assert.rejects(ask("what is this?", { n: 2 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    return error.param === "n" && error.code === "unsupported_parameter";
  });
  await assert.rejects(ask("what is this?", { model: "gpt-4o" }), OpenAI.NotFoundError);
  const image = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
  await assert.rejects(ask([image, { type: "text", text: "what?" }]), OpenAI.UnprocessableEntityError);
}

async function busy() {
  await assert.rejects(ask("what is this?"), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    return error.code === "busy" && Number(error.headers.get("retry-after")) >= 1;
  });
}

({ answers, busy })[mode]().then(() => {
  console.log(`openai for Node: ${mode}: all as it has to be`);
});
