/**
 * What `<msao-assistant>` shows of an answer: its tokens, told apart by more than colour, and a line on what it took.
 */

/** @param {import("./index.js").AnswerToken} token @param {number} index */
export function tokenNode({ text, settled, fate, replaced }, index) {
  const node = document.createElement("span");
  const state = settled ? (fate ?? "written") : "proposed";
  node.className = `token ${state}`;
  node.dataset.state = state;
  node.title = {
    proposed: "Proposed, not confirmed yet",
    accepted: "Proposed by this device or in haste, confirmed by the server",
    corrected: `Corrected by the server${replaced ? `: it said “${replaced.trim()}”` : ""}`,
    written: "Written by the server",
    unverified: "Written by this device alone",
  }[state];
  node.textContent = index === 0 ? text.trimStart() : text;
  return node;
}

const kilobytes = (bytes) => (bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`);

/** @param {import("./index.js").AnswerReceipt} receipt */
export function receiptLine({ plan, total_ms }) {
  const media = plan.modalities.filter(({ modality }) => modality !== "text");
  const sum = (field) => media.reduce((total, one) => total + one[field], 0);
  const time = total_ms === null ? "" : ` in ${Math.round(total_ms)} ms`;
  if (plan.strategy === "edge_only") {
    const check = { agreed: " The server, asked afterwards, agrees.", differed: " The server, asked afterwards, disagrees." };
    const why = plan.reason === "needed_modality_locked" ? ", since what the question needs is locked" : "";
    return `Answered on this device${time}${why}.${plan.shadow ? (check[plan.shadow] ?? "") : " Nothing left it."}`;
  }
  const locked = media.some(({ locked: isLocked }) => isLocked) ? " What is locked stayed here." : "";
  const sent = media.length > 0 ? ` Of ${kilobytes(sum("cloud_only_bytes"))}, ${kilobytes(sum("sent_bytes"))} were sent.` : "";
  const drafts = plan.proposed_drafts > 0 ? ` ${plan.accepted_drafts} of ${plan.proposed_drafts} drafts stand.` : "";
  const whose = plan.accepted_drafts > 0 ? "Confirmed" : "Written";
  return `${whose} by the server${time}.${sent}${drafts}${locked}`;
}
