/**
 * Keeps what each visit found, in milliseconds since its navigation began, and goes on to the other page; after the last visit
 * its address says all of it.
 */

/** Time for what the visit before has left to do. */
const PAUSE_MS = 400;

const asked = new URL(location.href).searchParams;
const [most, first] = [Number(asked.get("visits")), Number(asked.get("first"))];
const found = JSON.parse(sessionStorage.getItem("visits") ?? "[]");

/** Whether this visit is one of those that fill the caches. */
export const isFirst = found.length < 2 * first;

export async function note(page, times) {
  found.push({ page, ...times });
  sessionStorage.setItem("visits", JSON.stringify(found));
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  if (found.length < 2 * (first + most)) {
    location.replace(`${page === "empty" ? "ready" : "empty"}.html?visits=${most}&first=${first}&visit=${found.length}`);
  } else {
    location.hash = encodeURIComponent(JSON.stringify(found));
  }
}
