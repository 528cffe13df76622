/**
 * In `frame.html`: holds an assistant's Worker for a page of another origin, which speaks with it through a port of its
 * own. Which pages may do so is what the server's `frame-ancestors` says.
 */

addEventListener("message", function open({ source, data, ports: [talk, control] }) {
  if (source !== parent || data?.type !== "msao-open" || !talk || !control) {
    return;
  }
  removeEventListener("message", open);
  const worker = new Worker(new URL("./assistant.js", import.meta.url), { type: "module", name: "msao-assistant" });
  worker.onerror = (event) => {
    event.preventDefault();
    control.postMessage({ type: "crashed", message: event.message });
  };
  worker.postMessage({ type: "open" }, [talk]);
  control.postMessage({ type: "opened" });
});
