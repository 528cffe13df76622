/**
 * Session tokens, which the Worker asks the page for: one for each connection, since they expire.
 */

/** Tokens asked for, by id, each with `resolve` and `reject`. */
const wanted = new Map();
let last = 0;

/**
 * @param {(message: object) => void} post to the page
 * @returns {Promise<string | undefined>}
 */
export function nextToken(post) {
  const id = ++last;
  return new Promise((resolve, reject) => {
    wanted.set(id, { resolve, reject });
    post({ type: "token_wanted", id });
  });
}

/** @param {{ id: number, token?: string, error?: string }} message */
export function receiveToken({ id, token, error }) {
  const { resolve, reject } = wanted.get(id) ?? {};
  wanted.delete(id);
  if (error === undefined) {
    resolve?.(token);
  } else {
    reject?.(new Error(error));
  }
}
