/**
 * Keeps what each visit found, in milliseconds since its navigation began, and goes on to the other page; after the last visit
 * its address says all of it.
 */

/** Time for what the visit before has left to do. */
const PAUSE_MS = 400;

const most = Number(new URL(location.href).searchParams.get("visits"));

export async function note(page, times) {
  const all = JSON.parse(sessionStorage.getItem("visits") ?? "[]");
  all.push({ page, ...times });
  sessionStorage.setItem("visits", JSON.stringify(all));
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  if (all.length < 2 * most) {
    location.replace(`${page === "empty" ? "ready" : "empty"}.html?visits=${most}&visit=${all.length}`);
  } else {
    location.hash = encodeURIComponent(JSON.stringify(all));
  }
}
