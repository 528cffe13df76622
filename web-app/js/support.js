// Says so, instead of showing nothing, where this browser cannot run the page.
// The bytes are the smallest module with a 128-bit SIMD instruction.
(() => {
  const simd = new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
  ]);
  const supported = typeof WebAssembly === "object" && WebAssembly.validate(simd);
  document.getElementById(supported ? "starting" : "unsupported").hidden = false;
})();
