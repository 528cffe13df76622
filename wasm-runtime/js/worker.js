/**
 * The Worker that a page starts: `new Worker("…/worker.js", { type: "module" })`. Requests and events are those
 * of messages.rs; index.js and the Rust `EdgeClient` speak them for you.
 */

import { EngineHost } from "./host.js";

const host = new EngineHost((event, transfer = []) => postMessage(event, transfer));
self.onmessage = ({ data }) => host.receive(data);
