/**
 * A question on its way through the engines: what stands of its answer, and what the page is told of it.
 *
 * The tokens that stand are kept here, not in an engine. So each correction says the whole answer up to where it goes
 * on, the last one holds no matter how many came before, and an engine that takes over after a failure goes on where
 * the lost one was.
 */

import { buffersOf } from "./buffers.js";
import { EngineError } from "./engines.js";

const NOTHING = { modalities: [], prompt_tokens: 0, completion_tokens: 0, tokens: [], flops: 0 };
/** Shorter answers say nothing about an engine's pace. */
const TELLING_TOKENS = 4;
const NO_DRAFTS = { rounds: 0, proposed_drafts: 0, accepted_drafts: 0 };

export class Question {
  attempts = 0;
  cancelled = false;
  #post;
  #request;
  #since = performance.now();
  /** @type {import("./engines.js").Asked | undefined} */
  #asked;
  /** Ids of the tokens that stand: corrections, and what the engine wrote knowing them. @type {number[]} */
  #standing = [];
  /** Of the last correction. */
  #revision = 0;
  #released = false;
  /** Whether the page has heard the end of the first answer. */
  #isDone = false;
  /** Why it cannot be answered, whatever the engine. @type {EngineError | undefined} */
  failure;
  /** Milliseconds of a token of the first answer; `undefined` where it is too short to tell. @type {number | undefined} */
  stepMs;

  /**
   * @param {any} request an `ask`
   * @param {(event: object, transfer?: ArrayBuffer[]) => void} post
   */
  constructor(request, post) {
    this.#request = request;
    this.#post = post;
  }

  get id() {
    return this.#request.request_id;
  }

  /**
   * Has an engine answer, until the question has ended.
   * @param {import("./engines.js").EngineHandle} handle
   */
  async run(handle) {
    const queued = { kind: "queue", ms: performance.now() - this.#since };
    const { kind: engine } = handle;
    this.attempts += 1;
    const done = ({ receipt, ...answer }) => this.#done({ ...answer, receipt: withSpan(receipt, queued), engine });
    const asked = handle.ask(this.#request, {
      onScored: (scored) => this.#tell({ type: "scored", scored }, buffersOf(scored)),
      onStep: (step) => (step.type === "ended" ? this.#ended(step.answer, done) : this.#token(step)),
    });
    this.#asked = asked;
    if (this.#revision > 0) {
      this.#pass();
    }
    if (this.#released) {
      asked.release();
    }
    try {
      const answer = await asked.answer;
      if (this.failure) {
        throw this.failure;
      }
      done(answer);
      this.#release(withSpan(answer.receipt, queued));
    } finally {
      this.#asked = undefined;
    }
  }

  /** From `start` on `tokens` stand; refused with a hole before them. */
  correct({ revision, start, tokens }) {
    if (start > this.#standing.length) {
      const known = this.#standing.length;
      const message = `a correction from token ${start} on, when ${known} are known; give those between as well`;
      this.failure = new EngineError("invalid_input", message);
      this.#asked?.cancel();
      return;
    }
    this.#standing = [...this.#standing.slice(0, start), ...tokens];
    this.#revision = revision;
    this.#pass();
  }

  /** Nothing will be corrected any more. */
  release() {
    this.#released = true;
    this.#asked?.release();
  }

  cancel() {
    this.cancelled = true;
    this.#asked?.cancel();
  }

  /** Ends what no engine has in hand. */
  drop(engine) {
    const spans = [{ kind: "queue", ms: performance.now() - this.#since }];
    const receipt = { ...NOTHING, ...NO_DRAFTS, spans };
    this.#done({ text: "", finish_reason: "cancelled", revision: this.#revision, receipt, engine });
    this.#release(receipt);
  }

  /** @param {{ code?: string, message: string }} error */
  fail({ code = "engine_failed", message }) {
    this.#tell({ type: "error", code, message });
  }

  #pass() {
    this.#asked?.correct({ revision: this.#revision, start: 0, tokens: this.#standing });
  }

  #token({ revision, index, token, candidates }) {
    // What was written before the engine knew the last correction is void.
    if (revision === this.#revision) {
      this.#standing = [...this.#standing.slice(0, index), token.id];
      this.#tell({ type: "token", revision, index, token, candidates });
    }
  }

  #ended(answer, done) {
    if (!this.#isDone) {
      done(answer);
    } else if (answer.revision === this.#revision) {
      this.#tell({ type: "redrafted", revision: answer.revision });
    }
  }

  #done({ text, finish_reason, receipt, engine, revision }) {
    if (!this.#isDone) {
      this.#isDone = true;
      const decode = receipt.spans.find(({ kind }) => kind === "decode");
      this.stepMs = receipt.completion_tokens >= TELLING_TOKENS ? decode?.ms / receipt.completion_tokens : undefined;
      this.#tell({ type: "done", text, finish_reason, receipt, engine, revision });
    }
  }

  #release(receipt) {
    if (this.#request.awaits_target) {
      this.#tell({ type: "released", receipt });
    }
  }

  #tell({ type, ...event }, transfer = []) {
    this.#post({ type, request_id: this.id, ...event }, transfer);
  }
}

const withSpan = (receipt, span) => ({ ...receipt, spans: [span, ...receipt.spans] });
