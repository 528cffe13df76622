/** A page whose assistant has the model for the device: ready, then the first token of a question in words. */

import { createAssistant } from "./engine/index.js";
import { note } from "./visits.mjs";

const assistant = await createAssistant({ model: "/weights/pocket-edge/", engine: "simd" });
const ready_ms = performance.now();
let first_token_ms;
await assistant.draft({
  question: "what color is the star?",
  maxNewTokens: 4,
  onToken: () => (first_token_ms ??= performance.now() - ready_ms),
});
assistant.dispose();
note("ready", { ready_ms, first_token_ms });
