/**
 * What assistants fail with.
 */

/** A failure with a word for programs; index.d.ts lists them. */
export class AssistantError extends Error {
  /** @param {{ code: string, message: string, retryable?: boolean, retry_after_ms?: number | null, fits_as?: string | null }} failure */
  constructor({ code, message, retryable = false, retry_after_ms = null, fits_as = null }) {
    super(message);
    this.name = "AssistantError";
    this.code = code;
    /** Whether asking again may succeed as things are. */
    this.retryable = retryable;
    /** When that makes sense, in milliseconds from then. */
    this.retryAfterMs = retry_after_ms;
    /** The format in which a model fits that is too large. */
    this.fitsAs = fits_as;
  }
}

/** What an aborted call is rejected with. */
export const aborted = (signal) => signal.reason ?? new DOMException("aborted", "AbortError");
