import { createAssistant } from "https://your.server/engine/index.js";

const element = (id) => document.getElementById(id);
let assistant;

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [picture] = element("picture").files;
  try {
    assistant ??= createAssistant({ server: "https://your.server" });
    const { text, receipt } = await (await assistant).ask({
      question: element("question").value,
      images: picture ? [picture] : [],
    });
    element("answer").textContent = text;
    element("receipt").textContent = receipt.plan.modalities
      .map(({ modality, sent_bytes, cloud_only_bytes }) => `${modality}: ${sent_bytes} of ${cloud_only_bytes} bytes sent`)
      .join(", ");
  } catch (error) {
    element("answer").textContent = error.message;
  }
});
