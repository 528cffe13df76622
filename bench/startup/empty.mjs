/** The least that a page with the engine's module does: one Worker that fetches, compiles and instantiates it. */

import { note } from "./visits.mjs";

const worker = new Worker(new URL("./empty-worker.mjs", import.meta.url), { type: "module" });
worker.onmessage = () => note("empty", { ready_ms: performance.now() });
