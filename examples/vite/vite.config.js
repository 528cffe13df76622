export default {
  // The package's Workers load each other's modules.
  worker: { format: "es" },
  // It finds its Workers and Wasm beside itself.
  optimizeDeps: { exclude: ["msao-runtime"] },
  // A policy without `data:` is simpler to hold.
  build: { assetsInlineLimit: 0, target: "es2022" },
};
