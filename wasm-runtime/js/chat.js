/**
 * `chat.completions.create` in the form of OpenAI's API, over `assistant.ask`.
 *
 * The models know user and assistant only: what a system message says is put in front of the question that follows it, on
 * lines of its own, as the server's own API does. Of pictures, videos and recordings the last ones given are looked at, with the
 * last question; earlier turns count by their words.
 */

import { AssistantError, aborted } from "./errors.js";
import { fetchFile, fromBase64, refuse } from "./media.js";

/** What would change the answer and is not done. */
const UNSUPPORTED = ["tools", "tool_choice", "functions", "function_call", "response_format", "stop", "logprobs", "audio"];
/** Most of a video file; only its frames are sent. */
const VIDEO_BYTES = 256 << 20;
const MIME = { wav: "audio/wav", mp3: "audio/mpeg" };

/**
 * @param {{ ask: Function, limits: object, target?: string, model?: string }} assistant
 */
export const chatOf = (assistant) => ({
  completions: {
    create: (body, options = {}) => {
      const { signal = options.signal, stream = false, stream_options } = body;
      const controller = new AbortController();
      const stop = () => controller.abort(aborted(signal));
      signal?.addEventListener("abort", stop, { once: true });
      if (signal?.aborted) {
        stop();
      }
      const done = () => signal?.removeEventListener("abort", stop);
      const started = { ...head(assistant, stream), signal: controller.signal };
      return stream
        ? streamed(assistant, body, started, controller, Boolean(stream_options?.include_usage), done)
        : whole(assistant, body, started).finally(done);
    },
  },
});

const head = ({ target, model }, stream) => ({
  id: `chatcmpl-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`,
  object: stream ? "chat.completion.chunk" : "chat.completion",
  created: Math.floor(Date.now() / 1000),
  model: target ?? model ?? "msao",
  system_fingerprint: "msao",
});

async function whole(assistant, body, { signal, ...started }) {
  const asked = await toAsked(body, assistant.limits, signal);
  const { text, finishReason, usage, tokens, receipt } = await assistant.ask({ ...asked, signal });
  const message = { role: "assistant", content: text, refusal: null };
  return {
    ...started,
    choices: [{ index: 0, message, logprobs: null, finish_reason: finishReason }],
    usage: toUsage(usage),
    msao: { receipt, tokens },
  };
}

/** The stream's object at once; nothing is asked before it is read. */
function streamed(assistant, body, { signal, ...started }, controller, withUsage, done) {
  const iterator = chunks(assistant, body, { signal, ...started }, withUsage);
  let isRead = false;
  return {
    controller,
    [Symbol.asyncIterator]() {
      if (isRead) {
        refuse("invalid_input", "a stream is read once; create another one");
      }
      isRead = true;
      return {
        next: () => iterator.next(),
        async return(value) {
          // Whoever stops reading wants no more of it.
          controller.abort(new DOMException("the stream is not read any more", "AbortError"));
          done();
          await iterator.return(value);
          return { done: true, value };
        },
      };
    },
  };
}

async function* chunks(assistant, body, { signal, ...started }, withUsage) {
  const chunk = (delta, finish_reason = null, more = {}) => ({
    ...started,
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    ...(withUsage ? { usage: null } : {}),
    ...more,
  });
  const asked = await toAsked(body, assistant.limits, signal);
  let settled = "";
  let wake = () => {};
  /** @type {any} */
  let end;
  const answer = assistant.ask({
    ...asked,
    signal,
    onToken: (_token, _index, tokens) => {
      settled = settledText(tokens);
      wake();
    },
  });
  answer.then(
    (result) => (end = { result }),
    (error) => (end = { error }),
  ).finally(() => wake());
  yield chunk({ role: "assistant", content: "" });
  let sent = "";
  for (;;) {
    if (settled.length > sent.length && settled.startsWith(sent)) {
      const content = settled.slice(sent.length);
      sent = settled;
      yield chunk({ content });
    } else if (end) {
      break;
    } else {
      await new Promise((resolve) => {
        wake = () => resolve(undefined);
      });
    }
  }
  if (end.error) {
    throw end.error;
  }
  const { text, finishReason, usage, tokens, receipt } = end.result;
  if (!text.startsWith(sent)) {
    const message = "the server was lost in the middle of the answer, and the device's own differs; ask again";
    throw new AssistantError({ code: "connection_lost", message, retryable: true });
  }
  if (text.length > sent.length) {
    yield chunk({ content: text.slice(sent.length) });
  }
  yield chunk({}, finishReason, { msao: { receipt, tokens } });
  if (withUsage) {
    yield { ...started, choices: [], usage: toUsage(usage) };
  }
}

/** The settled words from the beginning on, without space at either end, which may yet come to nothing. */
export function settledText(tokens) {
  const open = tokens.findIndex(({ settled }) => !settled);
  return (open < 0 ? tokens : tokens.slice(0, open)).map(({ text }) => text).join("").trim();
}

const toUsage = ({ prompt_tokens, completion_tokens, accepted_drafts, rejected_drafts }) => ({
  prompt_tokens,
  completion_tokens,
  total_tokens: prompt_tokens + completion_tokens,
  completion_tokens_details: {
    accepted_prediction_tokens: accepted_drafts,
    rejected_prediction_tokens: rejected_drafts,
  },
});

/** What `ask` takes of a request. */
async function toAsked(body, limits, signal) {
  signal?.throwIfAborted();
  const { max_completion_tokens, max_tokens = max_completion_tokens, n = 1 } = body;
  const unsupported = n === 1 ? UNSUPPORTED.find((name) => body[name] != null && body[name] !== false) : "n";
  if (unsupported) {
    refuse("unsupported", `\`${unsupported}\` is not done here; leave it out`);
  }
  if (max_tokens != null && !(Number.isInteger(max_tokens) && max_tokens > 0)) {
    refuse("invalid_input", `max_tokens is ${max_tokens}; it must be a whole number above 0`);
  }
  const asked = await conversation(body.messages, limits, signal);
  return { ...asked, sampling: toSampling(body), ...(max_tokens ? { maxNewTokens: max_tokens } : {}) };
}

/** Nothing said, and a temperature of 0, take the most likely token each time, as the server's own API does. */
function toSampling({ temperature, top_p, seed }) {
  for (const [name, value, most] of [["temperature", temperature, 2], ["top_p", top_p, 1]]) {
    if (value != null && !(value >= 0 && value <= most)) {
      refuse("invalid_input", `${name} is ${value}; it must be 0 to ${most}`);
    }
  }
  if ((temperature == null && top_p == null) || temperature === 0 || top_p === 0) {
    return null;
  }
  const drawn = crypto.getRandomValues(new Uint32Array(1))[0];
  return { temperature: temperature ?? 1, topP: top_p ?? 1, seed: Math.abs(Math.trunc(seed ?? drawn)) };
}

async function conversation(messages, limits, signal) {
  if (!Array.isArray(messages) || messages.length === 0) {
    refuse("invalid_input", "`messages` is empty; give at least a question");
  }
  const history = [];
  let asked = null;
  let instructions = [];
  let media = { images: [], audio: null, video: null };
  for (const [index, { role, content }] of messages.entries()) {
    const where = `messages[${index}]`;
    if (role === "system" || role === "developer") {
      instructions.push(wordsOf(content, where));
    } else if (role === "user") {
      const { words, ...given } = await partsOf(content, where, limits, signal);
      asked = [...(asked ?? []), ...instructions, ...words];
      instructions = [];
      media = given.images.length || given.audio || given.video ? given : media;
    } else if (role === "assistant" && asked) {
      history.push({ question: asked.join("\n"), answer: wordsOf(content, where) });
      asked = null;
    } else {
      refuse("invalid_input", `${where}: \`${role}\` cannot stand here; use system, user and assistant in turn`);
    }
  }
  if (!asked) {
    refuse("invalid_input", "the last message is not a question; end with one of the role user");
  }
  return { history, question: asked.join("\n"), ...media };
}

function wordsOf(content, where) {
  const parts = typeof content === "string" ? [{ type: "text", text: content }] : (content ?? []);
  if (parts.some(({ type, text }) => type !== "text" || typeof text !== "string")) {
    refuse("invalid_input", `${where}: only text can stand here`);
  }
  return parts.map(({ text }) => text).join("\n");
}

async function partsOf(content, where, limits, signal) {
  const parts = typeof content === "string" ? [{ type: "text", text: content }] : (content ?? []);
  const [words, images] = [[], []];
  let [audio, video] = [null, null];
  for (const [index, part] of parts.entries()) {
    if (part.type === "text") {
      words.push(part.text);
    } else if (part.type === "image_url") {
      if (images.length === limits.images) {
        refuse("too_many_images", `more than ${limits.images} pictures were given; give fewer`);
      }
      images.push(await fetchFile(part.image_url.url, limits.image_bytes, signal));
    } else if (part.type === "video_url" && !video) {
      video = await fetchFile(part.video_url.url, VIDEO_BYTES, signal);
    } else if (part.type === "input_audio" && !audio) {
      const { data, format } = part.input_audio;
      if (data.length > limits.audio_bytes * 1.4) {
        refuse("too_large", `the recording has ${data.length} characters, the limit is ${limits.audio_bytes} bytes; cut it`);
      }
      audio = fromBase64(data, MIME[format] ?? "");
    } else {
      const message = `${where}.content[${index}]: parts of type \`${part.type}\` are not read here; use text, image_url, one video_url and one input_audio`;
      refuse("unsupported", message);
    }
  }
  return { words, images, audio, video };
}
