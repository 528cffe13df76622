/**
 * One helper of the Wasm SIMD engine (`threads.js`): the engine's own module on the engine's own memory, for tasks of products
 * and nothing else. It waits by blocking, so it hears no message after the first; whoever started it ends it.
 */

/** Tasks need little; the engine's own stack is four times as large. */
const STACK_BYTES = 256 << 10;

self.onmessage = async ({ data: { module, memory, number } }) => {
  const imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    imports[from][name] = kind === "memory" ? memory : missing(name);
  }
  const { exports } = await WebAssembly.instantiate(module, imports);
  // Gives this instance a stack of its own.
  exports.__wbindgen_start(STACK_BYTES);
  const words = new Int32Array(memory.buffer);
  postMessage("ready");
  try {
    for (;;) {
      const place = exports.msao_help(number) >>> 0;
      Atomics.wait(words, place / Int32Array.BYTES_PER_ELEMENT, 1);
    }
  } catch (error) {
    // Whoever waits for its part of a product learns that it will not come.
    exports.msao_helper_failed(number);
    throw error;
  }
};

/** Tasks call nothing of JavaScript's. The start asks for a table of its objects, and there are none here. */
function missing(name) {
  return name === "__wbindgen_init_externref_table"
    ? () => {}
    : () => {
        throw new Error(`a helper has no ${name}`);
      };
}
