/** Which engine answers: `auto` begins with `simd` and moves to `webgpu` once that is measured to be faster. */
export type EnginePreference = "auto" | "simd" | "webgpu";
/** How weights are kept in memory, from the largest on. */
export type WeightsFormat = "f32" | "f16" | "int8" | "q4";
export type EngineKind = "simd" | "webgpu";

/** What may leave the device. A locked modality never does, whatever it costs. */
export interface Privacy {
  /** Locked, nothing at all leaves it: no question is asked without its words. */
  text?: "open" | "locked";
  /** Pictures, whether of the camera or of files. */
  vision?: "open" | "locked";
  /** Recordings. */
  audio?: "open" | "locked";
}

/** What a question may use; the baselines are for measurements. */
export type Policy =
  | "msao"
  | "edge_only"
  | "cloud_only"
  | "co_located"
  | "distributed"
  | "msao_without_mas"
  | "msao_without_speculation";

/** What an answer is held to: every token is the server's own, or a confident answer of the device may stand. */
export type Mode = "verified" | "risk_controlled";

export interface CreateOptions {
  /** Address of an MSAO server (`https:`, `http:`, `wss:`, `ws:`). Without it the device answers alone. */
  server?: string | URL | null;
  /** A session token, or what yields one for each connection. */
  token?: string | (() => string | Promise<string>);
  /**
   * Name of a checkpoint at the server, or the address of its folder, with its `MANIFEST.json`; `null` for no model on the
   * device. Default: `pocket-edge`.
   */
  model?: string | URL | null;
  /**
   * How the model's weights are kept in memory, rounded when they are loaded: `f16` (half of `f32`), `int8` (a quarter) or `q4` (a
   * seventh). Default: as they are stored. A model that does not fit is refused before it is downloaded, as `too_large`.
   */
  format?: WeightsFormat;
  /** Folder of this package; where `index.js` lies unless given. */
  packageUrl?: string | URL;
  /** Default: `auto`. */
  engine?: EnginePreference;
  /**
   * How many threads Wasm SIMD uses where the page, or the frame that holds the engine, is cross-origin isolated; 1 to 16.
   * Default: one a core but one, 4 at most. Elsewhere there is one.
   */
  threads?: number;
  /** Default: all open. */
  privacy?: Privacy;
  /** Default: `msao`. */
  policy?: Policy;
  /** Default: `verified`. */
  mode?: Mode;
  /** Bound of `risk_controlled` on the share of questions whose answer stands and differs; 0.001 to 0.5. Default: 0.05. */
  epsilon?: number;
  /**
   * Whether the device leaves out tiles in which little stands out, of pictures that the server's model looks at in tiles, and frames
   * of videos in which nothing has changed: less is sent and read, and answers may change. Default: `false`.
   */
  pruneTiles?: boolean;
  /** Whether the promise waits for device and server, or for the quicker of them. Default: `all`. */
  ready?: "all" | "any";
  /** Stops the loading; the promise is rejected with its reason. */
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
  onEngineChange?: (change: EngineChange) => void;
  onStatus?: (status: Status & { error: AssistantError | null }) => void;
  /** As in `AskOptions`, for all questions. */
  onToken?: OnToken;
  onReceipt?: (receipt: AnswerReceipt) => void;
}

/** How far each side is. */
export interface Status {
  edge: "off" | "loading" | "ready" | "failed";
  cloud: "off" | "connecting" | "ready" | "away";
}

/**
 * Hears each token that is new or has become another, with all of the answer as it stands; `null` where the token at that
 * position was withdrawn.
 */
export type OnToken = (token: AnswerToken | null, index: number, tokens: AnswerToken[]) => void;

export interface LoadProgress {
  stage: "engine" | "weights" | "model" | "warm_up" | "measure";
  /** WebGPU is loaded in the background, after the assistant is ready. */
  engine: EngineKind;
  /** Of the checkpoint; 0 outside the stage `weights`. */
  loadedBytes: number;
  totalBytes: number;
  /** Until all of it is there; `null` while nothing tells, as in the first half second and outside the stage `weights`. */
  secondsLeft: number | null;
}

export interface EngineChange {
  from: EngineKind;
  to: EngineKind;
  /** Of the new one. */
  threads: number;
  reason: "faster" | "failed" | "slower";
  /** For people. */
  message: string;
}

export interface Pixels {
  width: number;
  height: number;
  /** RGBA. */
  data: Uint8ClampedArray | Uint8Array;
}

export interface Samples {
  sampleRateHz: number;
  /** One channel, -1 to 1. */
  samples: Float32Array | number[];
}

/** A question and its media. */
export interface Asked {
  /** May be empty if `audio` holds a spoken question. */
  question?: string;
  /** One picture, or the frames of a clip in order of time. */
  images?: (Pixels | ImageBitmapSource)[];
  /** Instead of pictures: a video, of which the browser reads the frames that the server's model looks at (else four). */
  video?: Blob | HTMLVideoElement | null;
  /** Hears of each frame that was read of it. */
  onFrame?: (frame: number, frames: number) => void;
  /** A recording. Both models hear 4.8 s; of a longer one the loudest are taken. */
  audio?: AudioBuffer | Samples | Blob | null;
  /** Stops the call; the promise is rejected with its reason. */
  signal?: AbortSignal;
}

export interface AskOptions extends Asked {
  /** What was asked and answered before, oldest first, in words. The device does not read it. */
  history?: { question: string; answer: string }[];
  /** Default: 128. */
  maxNewTokens?: number;
  /** As of the assistant, for this question. */
  pruneTiles?: boolean;
  /** How tokens are drawn; without it the most likely one is taken each time. */
  sampling?: Sampling | null;
  onToken?: OnToken;
  /** What the question needs of its media, once the device has looked at them. */
  onScored?: (scored: Scored) => void;
  /** Hears the receipt with the answer, and again if a check finds something afterwards. */
  onReceipt?: (receipt: AnswerReceipt) => void;
}

export interface DraftOptions extends Asked {
  /** Default: 128. */
  maxNewTokens?: number;
  /** How tokens are drawn; without it the most likely one is taken each time. */
  sampling?: Sampling | null;
  /** What media are cut for; without it they are scored and nothing is cut. */
  target?: TargetGrid | null;
  /**
   * Hears once, before the first token, what the question needs of its media, if the assistant `scores`. A second time:
   * the answer began anew on another engine. Without it nothing is scored, and the answer comes sooner.
   */
  onScored?: (scored: Scored) => void;
  /** Hears each token as it is written. Index 0 again: the answer began anew on another engine. */
  onToken?: (token: Token, index: number) => void;
}

/** The same engine with the same seed draws the same answer; tokens are drawn from the 16 most likely ones at most. */
export interface Sampling {
  /** Above 0, up to 2. Default: 1. */
  temperature?: number;
  /** Only the most likely tokens that together have this probability are drawn from; above 0, up to 1. Default: 1. */
  topP?: number;
  /** A whole number, not negative. Default: 0. */
  seed?: number;
}

/** How the model that gets the media divides them into tokens. */
export interface TargetGrid {
  /** Side of the square picture that it sees, and its tokens along a side, which divide it. */
  image: { sidePx: number; tokensPerSide: number };
  /** Missing or `null` where it cannot hear. */
  audio?: { sampleRateHz: number; windowSamples: number; tokens: number } | null;
}

/**
 * What a question needs of its media. Nothing is cut out of a modality with a relevance below 0.01, which is better left
 * out.
 */
export interface Scored {
  /** One entry for each of vision and audio that was given. */
  modalities: ModalityScores[];
  /** The kept frames, each with its kept squares; empty without a `target`. */
  images: {
    /** Position among the pictures of the question. */
    frame: number;
    /** The kept squares of the target's grid, row by row. */
    mask: boolean[];
    /** The squares in the mask's order, four in a row. */
    tiles: { width: number; height: number; data: Uint8ClampedArray };
  }[];
  /** The kept windows of the recording, one behind the other; `null` without a `target` that hears. */
  audio: { mask: boolean[]; windows: { sampleRateHz: number; samples: Float32Array } } | null;
}

/** On the target's grids; without a target on the edge's patches, and on tenths of a second. */
export interface ModalityScores {
  modality: "vision" | "audio";
  mas: {
    /** Probability that the answer changes without the modality. */
    relevance: number;
    /** Kept share of squares times kept share of frames, or kept share of windows. */
    density: number;
    /** 1 - relevance * density: the share that this question does not need. */
    mas: number;
    kept_patches: number;
    patches: number;
    kept_frames: number;
    frames: number;
    kept_windows: number;
    windows: number;
  };
  /** Empty where the modality has no such parts. Patches are those of the kept frames, one frame after the other. */
  kept: { patches: boolean[]; frames: boolean[]; windows: boolean[] };
  /**
   * For each picture that was given, row by row on the device's own patches: the probability that a patch decides the answer,
   * given that the pictures matter. Empty for sound.
   */
  patch_probabilities: number[][];
}

export interface Token {
  id: number;
  /** Text that the token adds; may be empty. */
  text: string;
  /** The model's probability of it, 0 to 1, whatever the temperature. */
  probability: number;
}

/** A token of the answer as it is shown. */
export interface AnswerToken {
  text: string;
  /** How sure its writer was of it, 0 to 1; the server's model, where it has verified it. */
  probability: number;
  /** Whether it stands. What stands is never taken back. */
  settled: boolean;
  /** Who wrote it first. */
  source: "edge_draft" | "partial_context" | "co_located_draft" | "target";
  /** What became of it; `null` while it is only proposed. */
  fate: "accepted" | "corrected" | "written" | "unverified" | null;
  /** Text of the draft that it corrects. */
  replaced: string | null;
}

/** An answer that is complete. */
export interface Answer {
  text: string;
  finishReason: "stop" | "length" | "cancelled";
  tokens: AnswerToken[];
  usage: { prompt_tokens: number; completion_tokens: number; accepted_drafts: number; rejected_drafts: number };
  receipt: AnswerReceipt;
}

/** What an answer took, on both sides. */
export interface AnswerReceipt {
  plan: PlanReceipt;
  /** `null` where the device was not asked. */
  edge: Receipt | null;
  /** `null` where the server was not asked. */
  cloud: Receipt | null;
  /** From the question to the first token that stands. */
  first_token_ms: number | null;
  /** From the question to the end. */
  total_ms: number | null;
}

export type Strategy =
  | "edge_only"
  | "cloud"
  | { co_located: { draft_tokens: number } }
  | { distributed: { draft_tokens: number; pipelined: boolean } };

/** What was decided, why, and what came of it: `PlanReceipt` of the protocol. */
export interface PlanReceipt {
  policy: Policy;
  mode: "verified" | { risk_controlled: { epsilon: number } };
  strategy: Strategy;
  reason:
    | "cheapest"
    | "by_policy"
    | "needed_modality_locked"
    | "cloud_away"
    | "edge_not_ready"
    | "other_tokenizer"
    | "confident_edge"
    | "look_costs_more";
  predicted: {
    first_token_ms: number;
    latency_ms: number;
    uplink_bytes: number;
    edge_flops: number;
    cloud_flops: number;
  };
  edge_confidence: number | null;
  changes: { at_token: number; strategy: Strategy; reason: string }[];
  /** Whether an answer that stood without the server was checked afterwards. */
  shadow: "pending" | "agreed" | "differed" | "failed" | null;
  modalities: {
    modality: "text" | "vision" | "audio";
    action: "drop" | "edge" | "pruned" | "whole";
    locked: boolean;
    mas: ModalityScores["mas"] | null;
    kept: unknown;
    sent_bytes: number;
    cloud_only_bytes: number;
  }[];
  tokens: { source: AnswerToken["source"]; fate: NonNullable<AnswerToken["fate"]> }[];
  rounds: number;
  proposed_drafts: number;
  accepted_drafts: number;
  edge_flops: number;
  cloud_flops: number;
}

/** The device's own answer. */
export interface Draft {
  text: string;
  finishReason: "stop" | "length" | "cancelled";
  receipt: Receipt;
  /** The engine that wrote it. */
  engine: EngineKind;
}

/** Media as models and wire take them. */
export interface Encoded {
  images: { width: number; height: number; data: Uint8ClampedArray; file: Blob }[];
  audio: { sampleRateHz: number; samples: Float32Array; file: Blob } | null;
}

/** What one side did. */
export interface Receipt {
  modalities: {
    modality: "text" | "vision" | "audio"; bytes: number; prompt_tokens: number;
    /** Prompt tokens that all of it would have become; 0 where that is not known. */
    given_tokens: number;
    /** Tiles, whole pictures and frames, or recordings; and those of which something was looked at. */
    inputs: number; kept_inputs: number;
  }[];
  prompt_tokens: number;
  completion_tokens: number;
  /** Milliseconds, in order. */
  spans: { kind: string; ms: number }[];
  /** Who wrote each token, and what became of it. */
  tokens: { source: string; fate: string }[];
  rounds: number;
  proposed_drafts: number;
  accepted_drafts: number;
  /** Floating-point operations, counted from the model's configuration; 0 where they are not known. */
  flops: number;
}

export interface EngineTimings {
  prefill_ms: number;
  decode_step_ms: number;
}

export interface Measured {
  simd: EngineTimings | null;
  webgpu: EngineTimings | null;
  chosen: EngineKind;
}

/** A part of a message, as OpenAI's API has it. */
export type ContentPart =
  | { type: "text"; text: string }
  | { type: "image_url"; image_url: { url: string } }
  | { type: "video_url"; video_url: { url: string } }
  | { type: "input_audio"; input_audio: { data: string; format: "wav" | "mp3" } };

export interface ChatMessage {
  role: "system" | "developer" | "user" | "assistant";
  content: string | ContentPart[];
}

export interface ChatRequest {
  messages: ChatMessage[];
  stream?: boolean;
  stream_options?: { include_usage?: boolean };
  max_tokens?: number;
  max_completion_tokens?: number;
  /** Without it and `top_p` the most likely token is taken each time. */
  temperature?: number;
  top_p?: number;
  seed?: number;
  /** Of OpenAI's fields any other is taken; those that would change the answer are refused. */
  model?: string;
  signal?: AbortSignal;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  completion_tokens_details: { accepted_prediction_tokens: number; rejected_prediction_tokens: number };
}

/** Not of OpenAI's: what the answer took, and its tokens. */
export interface MsaoField {
  receipt: AnswerReceipt;
  tokens: AnswerToken[];
}

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  system_fingerprint: string;
  choices: {
    index: 0;
    message: { role: "assistant"; content: string; refusal: null };
    logprobs: null;
    finish_reason: "stop" | "length";
  }[];
  usage: Usage;
  msao: MsaoField;
}

export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  system_fingerprint: string;
  choices: {
    index: 0;
    /** `content` stands: no later chunk takes it back. */
    delta: { role?: "assistant"; content?: string };
    logprobs: null;
    finish_reason: "stop" | "length" | null;
  }[];
  usage?: Usage | null;
  /** In the chunk with the `finish_reason`. */
  msao?: MsaoField;
}

/** Read once. Ending the loop early stops the answer, as `controller.abort()` does. */
export interface ChatStream extends AsyncIterable<ChatCompletionChunk> {
  readonly controller: AbortController;
}

export interface Assistant {
  /** The engine in use; missing where the device does not answer. */
  readonly engine?: EngineKind;
  /** How many threads it runs on. */
  readonly threads?: number;
  /** Name of the checkpoint on the device. */
  readonly model?: string;
  /** Name of the model on the server, while there is a session. */
  readonly target?: string;
  /** Whether the checkpoint came with a probe, so that questions are scored. */
  readonly scores?: boolean;
  /** Where the next visit finds the checkpoint: on `disk`, or nowhere, since there is `no_room` or `no_store`. */
  readonly kept?: "disk" | "no_room" | "no_store";
  readonly status: Status;
  /** What a question may hold: the server's budgets, or the protocol's own. */
  readonly limits: { image_bytes: number; image_pixels: number; images: number; audio_bytes: number; audio_s: number; question_chars: number };
  /** What may leave the device. What is set holds at once, for questions under way too; the rest stays as it was. */
  privacy: Privacy;
  readonly chat: {
    completions: {
      create(request: ChatRequest & { stream: true }, options?: { signal?: AbortSignal }): ChatStream;
      create(request: ChatRequest & { stream?: false }, options?: { signal?: AbortSignal }): Promise<ChatCompletion>;
    };
  };
  /** The whole method: what the plan sends is verified by the server. */
  ask(options: AskOptions): Promise<Answer>;
  /** What would be done, and what it would take. Nothing is sent. */
  plan(options: Asked): Promise<AnswerReceipt>;
  /** The device's own answer. */
  draft(options: DraftOptions): Promise<Draft>;
  /** What the question needs of its media, and with a `target` those parts. */
  score(options: Asked & { target?: TargetGrid | null }): Promise<Scored>;
  encode(media: Pick<Asked, "images" | "audio" | "signal">): Promise<Encoded>;
  /** Times the engine in use on a small fixed prompt. */
  measure(): Promise<Measured>;
  /** Ends the Workers and gives their memory back; what is in flight is rejected. */
  dispose(): void;
}

/** What assistants fail with. */
export class AssistantError extends Error {
  /** Besides these, the words of `ErrorCode` in docs/protocol.md, such as `busy`. */
  readonly code:
    | "worker_crashed"
    | "frame_refused"
    | "download_failed"
    | "download_corrupt"
    | "engine_unavailable"
    | "checkpoint_invalid"
    | "too_large"
    | "invalid_input"
    | "not_ready"
    | "engine_failed"
    | "nobody_answers"
    | "connection_lost"
    | "locked"
    | "policy_unavailable"
    | "encoding_failed"
    | "unsupported"
    | (string & {});
  /** Whether asking again may succeed as things are. */
  readonly retryable: boolean;
  /** When that makes sense, in milliseconds from then. */
  readonly retryAfterMs: number | null;
  /** Of a model that is `too_large`: the largest format in which it fits, to be given as `format`; `null` where it fits in none. */
  readonly fitsAs: WeightsFormat | null;
}

/** Loads what was asked for; ready to answer when the promise resolves. */
export function createAssistant(options?: CreateOptions): Promise<Assistant>;
