/** How fast a download is, and how long the rest of it takes. */

/** What came in this time tells what is to come. */
const WINDOW_MS = 5_000;
/** Before that, a guess would jump about. */
const LEAST_MS = 500;

export class Pace {
  /** When bytes came, and how many. @type {{ at: number, bytes: number }[]} */
  #came = [];

  /** @param {number} bytes that have just come over the network */
  add(bytes) {
    const at = performance.now();
    if (bytes > 0) {
      this.#came.push({ at, bytes });
      this.#came.splice(0, this.#came.findIndex((one) => at - one.at < WINDOW_MS));
    }
  }

  /** @returns {number | null} seconds until so many more bytes have come; `null` while nothing tells */
  secondsFor(bytes) {
    const [first, ...later] = this.#came;
    const ms = first ? performance.now() - first.at : 0;
    const rate = later.reduce((sum, one) => sum + one.bytes, 0) / ms;
    return ms >= LEAST_MS && rate > 0 ? bytes / rate / 1_000 : null;
  }
}
