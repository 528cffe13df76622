import type { Answer, AnswerReceipt, AnswerToken, AssistantError, Status } from "./index.js";

/** `<msao-assistant>`; README.md lists its attributes. Importing `element.js` defines it. */
export class MsaoAssistant extends HTMLElement {
  /** A session token, or what yields one for each connection; else the attribute `token` counts. */
  token?: string | (() => string | Promise<string>);
  /** Asks what is in the box, or what is given. */
  ask(
    question?: string,
    media?: { images?: (ImageBitmapSource | Blob)[]; audio?: Blob | AudioBuffer | null },
  ): Promise<Answer>;
  /** Stops the answer under way; what is written stays. */
  stop(): void;
  /** Gives Workers, camera and microphone back. Used again, the element loads again. */
  dispose(): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "msao-assistant": MsaoAssistant;
  }
  interface HTMLElementEventMap {
    "msao-status": CustomEvent<Status & { error: AssistantError | null }>;
    "msao-token": CustomEvent<{ token: AnswerToken | null; index: number; tokens: AnswerToken[] }>;
    "msao-answer": CustomEvent<Answer>;
    "msao-receipt": CustomEvent<AnswerReceipt>;
    "msao-error": CustomEvent<AssistantError>;
  }
}
