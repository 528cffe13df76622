// Keeps the page's own files, so that it opens with the server and the network away.
//
// The build writes two constants in front of this: FILES, each with its SHA-256 and when it is kept ("first": before
// this worker serves; "soon": after it, unless data is to be saved; "used": when the page has used it), and ENTRY, the
// page's own script. Files are kept by their hash, so a new version fetches only what has changed.
//
// Names with a hash come from the cache. All others are asked for first, as the server wants it, and come from the
// cache where it does not answer: whoever is online sees one version, the server's. Everything that is not listed is
// none of our business: sessions, the API, metrics, and the weights, which the engine keeps itself.

const CACHE = "msao-page-v1";
/** Longest wait for a network that says nothing, where there is a kept copy. */
const PATIENCE_MS = 4_000;
/** A name that changes with its content. */
const HASHED = /-[0-9a-f]{14,}(_bg)?\.(js|wasm|css|svg)$/;
/** Answers of a proxy whose server is away. */
const AWAY = [502, 503, 504];

/** The visitor has removed everything: nothing is kept any more while this worker still serves an open page. */
let isForgetful = false;

const scope = new URL("./", self.location.href);
const addressOf = (path) => new URL(path, scope);
const keyOf = (path) => `${addressOf(path)}?sha256=${FILES[path][0]}`;
const pathsOf = (when) => Object.keys(FILES).filter((path) => FILES[path][1] === when);

/** The file that a request means; `undefined` for what is not ours. */
function pathOf({ method, url, headers }) {
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || headers.has("range") || origin !== scope.origin || !pathname.startsWith(scope.pathname)) {
    return undefined;
  }
  const path = pathname.slice(scope.pathname.length) || "index.html";
  return Object.hasOwn(FILES, path) ? path : undefined;
}

/** Keeps a copy if it is the very file of this version. Returns whether it is. */
async function keep(path, response) {
  const bytes = await response.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (!response.ok || hash !== FILES[path][0] || isForgetful) {
    return false;
  }
  const headers = new Headers(response.headers);
  // What is kept is unpacked.
  headers.delete("content-encoding");
  headers.delete("content-length");
  await (await caches.open(CACHE)).put(keyOf(path), new Response(bytes, { headers }));
  return true;
}

const kept = (path) => caches.match(keyOf(path), { cacheName: CACHE });

async function fetchAndKeep(path) {
  if (!(await kept(path)) && !(await keep(path, await fetch(addressOf(path), { cache: "no-cache" })))) {
    throw new Error(`${path} is not of this version`);
  }
}

/** Whatever fails is fetched when it is used. */
const fetchAndKeepAll = (paths) => Promise.allSettled(paths.map(fetchAndKeep));

async function install() {
  try {
    for (const path of pathsOf("first")) {
      await fetchAndKeep(path);
    }
  } catch (error) {
    // Without room the page goes on as it would without this worker.
    if (error.name !== "QuotaExceededError") {
      throw error;
    }
  }
  // Pages of an older version are served by the network as before, so nobody has to wait for them to close.
  await self.skipWaiting();
}

async function activate() {
  const cache = await caches.open(CACHE);
  const current = new Set(Object.keys(FILES).map(keyOf));
  for (const { url } of await cache.keys()) {
    if (!current.has(url)) {
      await cache.delete(url);
    }
  }
  await self.clients.claim();
  for (const client of await self.clients.matchAll()) {
    client.postMessage({ entry: ENTRY });
  }
}

async function serve(path, request, event) {
  if (HASHED.test(path)) {
    return (await kept(path)) ?? fetchAnew(path, request, event);
  }
  const fresh = fetchAnew(path, request, event);
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
  const first = await Promise.race([fresh.catch(() => undefined), late]);
  if (first && !AWAY.includes(first.status)) {
    return first;
  }
  return (await kept(path)) ?? fresh;
}

async function fetchAnew(path, request, event) {
  const response = await fetch(request);
  if (response.ok && !(await kept(path))) {
    event.waitUntil(keep(path, response.clone()).catch(() => undefined));
  }
  return response;
}

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const path = pathOf(event.request);
  if (path) {
    event.respondWith(serve(path, event.request, event));
  }
});
// The page says: `{ which }`, which version is served? `{ keep: prefix }`, it has used these files before this worker was
// there; `{ forget }`, everything is being removed.
self.addEventListener("message", (event) => {
  const { which, keep: prefix, forget } = event.data;
  if (forget !== undefined) {
    isForgetful = true;
  } else if (prefix !== undefined) {
    event.waitUntil(fetchAndKeepAll(pathsOf("used").filter((path) => path.startsWith(prefix))));
  } else if (which !== undefined) {
    event.source.postMessage({ entry: ENTRY });
    if (!navigator.connection?.saveData) {
      event.waitUntil(fetchAndKeepAll(pathsOf("soon")));
    }
  }
});
