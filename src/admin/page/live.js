// Requests as they end. The stream is read only while this part is on the screen, and drawn twice a second: what has gone by
// until then is not even parsed.

import { events, parsed } from "./api.js";
import { byId, el, empty, put, say, table } from "./dom.js";
import { bytes, count, millis } from "./words.js";

const KEPT = 30;
const PAUSE = 500;
/** After an end of the stream it is opened again. */
const AGAIN = 3000;

/** The data of events, the latest last. */
let rows = [];
let missed = 0;
let controller = null;
let drawing = null;
let paused = false;
let visible = false;

/** The word of `X-Cache`; of a hit by meaning, how near the question is whose answer was served. */
const cache = (row) => el("span", {}, el("strong", {}, row.cache ?? "–"), typeof row.similarity === "number" ? ` ${row.similarity}` : "");

const columns = [
  { title: "Time", cell: (row) => (row.time ?? "").slice(11, 23) },
  { title: "Request", mono: true, cell: (row) => `${row.method ?? ""} ${row.path ?? ""}` },
  { title: "Status", number: true, cell: (row) => row.status ?? "" },
  { title: "Cache", cell: cache },
  { title: "Reason", mono: true, cell: (row) => row.reason ?? "" },
  { title: "Route", mono: true, cell: (row) => row.route ?? "" },
  { title: "Took", number: true, cell: (row) => millis(row.ms) },
  { title: "Bytes", number: true, cell: (row) => bytes(row.bytes) },
];

function draw() {
  drawing = null;
  if (rows.length === 0) {
    put("live-list", empty("Nothing has come since this page looks. Send a request through the proxy."));
    return;
  }
  put("live-list", table("The latest first", columns, rows.slice(-KEPT).reverse().map(parsed)));
}

function drawSoon() {
  drawing ??= setTimeout(draw, PAUSE);
}

function take(name, data) {
  if (name === "missed") {
    missed += parsed(data).missed ?? 0;
    say("live-said", `${count(missed)} requests came too fast for this page and are not shown.`);
    return;
  }
  // The stream is back, if it was not there.
  if (missed === 0) say("live-said", "");
  rows.push(data);
  if (rows.length > 20 * KEPT) rows = rows.slice(-KEPT);
  drawSoon();
}

async function read() {
  controller = new AbortController();
  const { signal } = controller;
  drawSoon();
  try {
    await events("/requests", signal, take);
  } catch (error) {
    if (signal.aborted) return;
    say("live-said", error.message);
  }
  if (controller?.signal === signal) controller = null;
  setTimeout(follow, AGAIN);
}

/** Reads while somebody looks, and else does not. */
function follow() {
  const wanted = visible && !paused && !document.hidden;
  if (wanted && controller === null) read();
  if (!wanted && controller !== null) {
    controller.abort();
    controller = null;
  }
}

export function prepareLive() {
  const button = byId("live-pause");
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    follow();
  });
  document.addEventListener("visibilitychange", follow);
  new IntersectionObserver((seen) => {
    visible = seen[seen.length - 1].isIntersecting;
    follow();
  }).observe(byId("live"));
  say("live-said", "");
}
