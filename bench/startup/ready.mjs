/** A page whose assistant has the model for the device: ready, then the first token of a question in words. */

import { createAssistant } from "./engine/index.js";
import { isFirst, note } from "./visits.mjs";

/** Questions of a first visit, and how long it then lasts: browsers keep what they have compiled of a module that was used. */
const QUESTIONS = 12;
const STAY_MS = 4_000;

const assistant = await createAssistant({ model: "/weights/pocket-edge/", engine: "simd" });
const ready_ms = performance.now();
let first_token_ms;
await assistant.draft({
  question: "what color is the star?",
  maxNewTokens: 4,
  onToken: () => (first_token_ms ??= performance.now() - ready_ms),
});
if (isFirst) {
  const images = [new ImageData(256, 256)];
  for (let count = 0; count < QUESTIONS; count += 1) {
    await assistant.draft({ question: "what color is the star?", images, maxNewTokens: 8 });
  }
  await new Promise((resolve) => setTimeout(resolve, STAY_MS));
}
assistant.dispose();
note("ready", { ready_ms, first_token_ms });
