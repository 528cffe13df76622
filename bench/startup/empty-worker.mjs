/** Nothing but the engine's module, as its own glue loads it. */

import init from "./engine/simd/msao_runtime.js";

await init();
postMessage("ready");
