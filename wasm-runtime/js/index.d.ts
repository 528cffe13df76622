/** Which engine answers: `auto` begins with `simd` and moves to `webgpu` once that is measured to be faster. */
export type EnginePreference = "auto" | "simd" | "webgpu";
export type EngineKind = "simd" | "webgpu";

export interface CreateOptions {
  /** Folder of the checkpoint, with its `MANIFEST.json`. */
  weightsUrl: string | URL;
  /** Folder of this package; where `index.js` lies unless given. Must be of the page's own origin. */
  engineUrl?: string | URL;
  /** Default: `auto`. */
  engine?: EnginePreference;
  /** Stops the loading; the promise is rejected with its reason. */
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
  onEngineChange?: (change: EngineChange) => void;
}

export interface LoadProgress {
  stage: "engine" | "weights" | "model" | "warm_up" | "measure";
  /** WebGPU is loaded in the background, after the assistant is ready. */
  engine: EngineKind;
  /** Of the checkpoint; 0 outside the stage `weights`. */
  loadedBytes: number;
  totalBytes: number;
}

export interface EngineChange {
  from: EngineKind;
  to: EngineKind;
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

export interface AskOptions {
  /** May be empty if `audio` holds a spoken question. */
  question?: string;
  /** One picture, or the frames of a clip in order of time. */
  images?: (Pixels | ImageBitmapSource)[];
  audio?: AudioBuffer | Samples | null;
  /** Default: 128. */
  maxNewTokens?: number;
  /** How tokens are drawn; without it the most likely one is taken each time. */
  sampling?: Sampling | null;
  /** What media are cut for; without it they are scored and nothing is cut. */
  target?: TargetGrid | null;
  /**
   * Hears once, before the first token, what the question needs of its media, if the assistant `scores`. A second time:
   * the answer began anew on another engine.
   */
  onScored?: (scored: Scored) => void;
  /** Hears each token as it is written. Index 0 again: the answer began anew on another engine. */
  onToken?: (token: Token, index: number) => void;
  /** Stops the answer; the promise is rejected with its reason. */
  signal?: AbortSignal;
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
}

export interface Token {
  id: number;
  /** Text that the token adds; may be empty. */
  text: string;
  /** The model's probability of it, 0 to 1, whatever the temperature. */
  probability: number;
}

export interface Answer {
  text: string;
  finishReason: "stop" | "length" | "cancelled";
  receipt: Receipt;
  /** The engine that wrote it. */
  engine: EngineKind;
}

/** What the answer took on this device. */
export interface Receipt {
  modalities: { modality: "text" | "vision" | "audio"; bytes: number; prompt_tokens: number }[];
  prompt_tokens: number;
  completion_tokens: number;
  /** Milliseconds, in order. */
  spans: { kind: "queue" | "encode" | "score" | "prune" | "prefill" | "decode"; ms: number }[];
  /** Who wrote each token, and what became of it. */
  tokens: { source: "edge_draft"; fate: "unverified" }[];
  /** Floating-point operations, counted from the model's configuration. */
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

export interface Assistant {
  /** The engine in use. */
  readonly engine: EngineKind;
  /** Name of the checkpoint. */
  readonly model: string;
  /** Whether the checkpoint came with a probe, so that questions are scored. */
  readonly scores: boolean;
  ask(options: AskOptions): Promise<Answer>;
  /** Times the engine in use on a small fixed prompt. */
  measure(): Promise<Measured>;
  /** Ends the Workers and gives their memory back; what is in flight is rejected. */
  dispose(): void;
}

/** What assistants fail with. */
export class AssistantError extends Error {
  readonly code:
    | "worker_crashed"
    | "download_failed"
    | "download_corrupt"
    | "engine_unavailable"
    | "checkpoint_invalid"
    | "invalid_input"
    | "not_ready"
    | "engine_failed";
}

/** Loads engine and checkpoint; ready to answer when the promise resolves. */
export function createAssistant(options: CreateOptions): Promise<Assistant>;
