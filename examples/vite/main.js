import { createAssistant } from "msao-runtime";

const element = (id) => document.getElementById(id);
const server = import.meta.env.VITE_MSAO_SERVER;
let assistant;

const toDataUrl = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [picture] = element("picture").files;
  const content = [{ type: "text", text: element("question").value }];
  try {
    if (picture) {
      content.push({ type: "image_url", image_url: { url: await toDataUrl(picture) } });
    }
    assistant ??= createAssistant({ server });
    const { chat } = await assistant;
    element("answer").textContent = "";
    for await (const chunk of chat.completions.create({ stream: true, messages: [{ role: "user", content }] })) {
      element("answer").textContent += chunk.choices[0].delta.content ?? "";
      if (chunk.msao) {
        element("receipt").textContent = `Who wrote it: ${JSON.stringify(chunk.msao.receipt.plan.strategy)}`;
      }
    }
  } catch (error) {
    element("answer").textContent = error.message;
  }
});
