/** Lets waiting messages in between two steps of Wasm, such as a cancellation. */

const breath = new MessageChannel();
/** @type {() => void} */
let breathed = () => {};
breath.port1.onmessage = () => breathed();

/** Resolves once they are in; a timer would be held back by the browser. */
export const breathe = () =>
  new Promise((resolve) => {
    breathed = () => resolve(undefined);
    breath.port2.postMessage(null);
  });
