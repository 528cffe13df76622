/**
 * What was said to an answer under way, for the engine to take up between two tokens, or after the last one.
 *
 * An engine's callback gets `true` to go on, `false` to stop, or a correction (`Correction` in steering.rs).
 */

export class Steering {
  cancelled = false;
  #released = false;
  /** @type {object | undefined} */
  #correction;
  #wake = () => {};

  /** Takes the place of a correction that was not taken up yet: each says all that stands. */
  correct(correction) {
    this.#correction = correction;
    this.#wake();
  }

  /** Ends the wait after the answer. */
  release() {
    this.#released = true;
    this.#wake();
  }

  cancel() {
    this.cancelled = true;
    this.#wake();
  }

  /** How to go on. */
  take() {
    const correction = this.#correction;
    this.#correction = undefined;
    return this.cancelled ? false : (correction ?? true);
  }

  /** How to go on after the answer, once that is known. */
  async wait() {
    while (!this.cancelled && !this.#released && !this.#correction) {
      await new Promise((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.take();
  }
}
