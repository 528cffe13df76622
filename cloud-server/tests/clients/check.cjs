// OpenAI's own client for Node against a server: node check.cjs BASE_URL CASES_JSON (answers | busy | keys) [KEY], with
// NODE_PATH where it is installed. It is used as its documentation says and not adapted. Exits non-zero where anything is not as it has to be.
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const OpenAI = require("openai");

const [baseURL, cases, mode, apiKey = "unused"] = process.argv.slice(2);
const model = "pocket-cloud";
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

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

// The key may make 4 requests a minute, and only for answers.
async function keys() {
  const question = "what is this?";
  const denied = (kind, code) => (error) => {
    assert.ok(error instanceof kind, String(error));
    assert.equal(error.code, code);
    return error.message.length > 20;
  };
  const notKnown = denied(OpenAI.AuthenticationError, "invalid_api_key");
  for (const wrong of ["unused", apiKey.slice(0, -1), "msao_0_0"]) {
    await assert.rejects(client.withOptions({ apiKey: wrong }).models.list(), notKnown);
  }
  const anonymous = client.withOptions({ defaultHeaders: { Authorization: null } });
  for (const stream of [false, true]) {
    const request = { model, messages: [{ role: "user", content: question }], stream };
    await assert.rejects(anonymous.chat.completions.create(request), notKnown);
  }
  const notForThat = denied(OpenAI.PermissionDeniedError, "insufficient_scope");
  await assert.rejects(client.post("/session-tokens", { body: {} }), notForThat);

  const first = await ask(question, { max_tokens: 8 });
  const { content } = first.choices[0].message;
  const messages = [
    { role: "user", content: question },
    { role: "assistant", content },
    { role: "user", content: "and now?" },
  ];
  const second = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 8 });
  const cached = (answer) => answer.usage.prompt_tokens_details.cached_tokens;
  assert.equal(cached(first), 0);
  assert.ok(cached(second) >= first.usage.prompt_tokens - 1);
  await assert.rejects(client.models.retrieve("gpt-4o"), OpenAI.NotFoundError);
  await assert.rejects(ask(question, { n: 2 }), OpenAI.BadRequestError);
  // One comes back every 15 s, which is longer than any of these takes.
  const askOn = async () => {
    for (let count = 0; count < 100; count++) await client.models.list();
  };
  await assert.rejects(askOn(), (error) => {
    const seconds = Number(error.headers.get("retry-after"));
    return denied(OpenAI.RateLimitError, "rate_limit_exceeded")(error) && seconds >= 1 && seconds <= 15;
  });
}

({ answers, busy, keys })[mode]().then(() => {
  console.log(`openai for Node: ${mode}: all as it has to be`);
});
