// Is it well? What do routes and kinds do, and why was something not stored or not asked for?

import { get } from "./api.js";
import { byId, el, empty, put, say, svg, table, tiles } from "./dom.js";
import { showMeaning } from "./meaning.js";
import { count, duration, millis, percent, rate } from "./words.js";

export async function showOverview() {
  const overview = await get("/overview");
  well(overview);
  routes(overview.routes, overview.health.semantic !== undefined);
  kinds(overview.kinds);
  reasons("not-stored", overview.not_stored, "Every answer that could be stored was.");
  reasons("bypassed", overview.bypassed, "The store was asked for every request.");
  showMeaning(overview, showOverview);
}

/** Where a client of this machine finds the proxy. */
function proxyUrl(listen) {
  const port = listen.slice(listen.lastIndexOf(":") + 1);
  const host = listen.slice(0, listen.lastIndexOf(":"));
  const isAny = host === "0.0.0.0" || host === "[::]";
  return `http://${isAny ? location.hostname : host}:${port}`;
}

function problems({ health, reload_failed: reloadFailed }) {
  const found = [];
  if (!health.cache.connected) found.push("The store is out of reach: every request goes to the service.");
  if (!health.upstream.reachable) found.push(`The service at ${health.upstream.url} is out of reach.`);
  if (reloadFailed) found.push("The last reload failed: the old settings stay. The log says why.");
  const steppedBack = (health.semantic?.routes ?? []).filter((route) => route.stepped_back).map((route) => route.route);
  if (steppedBack.length > 0) found.push(`Too many hits by meaning were wrong on ${steppedBack.join(", ")}: none is served there.`);
  if (health.semantic?.problem !== undefined) found.push(`Hits by meaning get no vectors: ${health.semantic.problem}.`);
  if (health.log.dropped > 0) found.push(`${count(health.log.dropped)} log lines were dropped.`);
  return found;
}

/** What is worth knowing; whether it is trouble, `/health` says. */
function notes({ cache, jwks }) {
  const found = [];
  if (cache.connected && cache.store_problem) found.push(`What the store lacks: ${cache.store_problem}.`);
  if (jwks?.last_error) found.push(`The keys of tokens were not read: ${jwks.last_error}.`);
  return found;
}

function well(overview) {
  const { health } = overview;
  const found = problems(overview);
  const isWell = found.length === 0 && health.status === "healthy";
  byId("state").className = `badge ${isWell ? "good" : "bad"}`;
  say("state", isWell ? "✓ healthy" : "✗ trouble");
  byId("problem").className = isWell ? "note" : "note bad";
  say("problem", [...found, ...notes(health)].join(" "));
  say("start", overview.requests > 0 ? "" : `No request yet: point a client at ${proxyUrl(overview.listen)} in place of ${health.upstream.url}.`);
  const { cache } = health;
  const limits = Object.entries(health.limits).filter(([, hits]) => hits > 0);
  tiles("well", [
    ["Store", cache.connected ? "✓ up" : "✗ lost", `${cache.store}, ${count(cache.total_keys)} entries, ${cache.memory_used ?? "?"}`],
    ...(cache.replicas === undefined ? [] : [["Replicas", count(cache.replicas), "share this Redis and namespace"]]),
    ["Service", health.upstream.reachable ? "✓ reachable" : "✗ out of reach", health.upstream.url],
    ["Under way", count(overview.in_flight), "requests at this moment"],
    ["Store errors", count(cache.errors), "lookups and writes that failed"],
    ["Limits reached", count(limits.reduce((all, [, hits]) => all + hits, 0)), limits.map(([name, hits]) => `${name} ${count(hits)}`).join(", ") || "none"],
    ["Lines dropped", count(health.log.dropped), "of the log"],
    ["Running for", duration(Math.floor(health.uptime_seconds)), `since the start: ${count(overview.requests)} requests, ${cache.hit_rate} hits`],
    ["Version", health.version, [overview.commit.slice(0, 12), health.environment].filter(Boolean).join(", ")],
  ]);
}

const timeColumns = [
  { title: "Hits p50", number: true, cell: (row) => millis(row.times.hits.p50_ms) },
  { title: "p99", number: true, cell: (row) => millis(row.times.hits.p99_ms) },
  { title: "Misses p50", number: true, cell: (row) => millis(row.times.misses.p50_ms) },
  { title: "p99", number: true, cell: (row) => millis(row.times.misses.p99_ms) },
];

/** `byMeaning`: whether there are hits by meaning. */
function routes(list, byMeaning) {
  if (list.length === 0) {
    put("by-route", empty("No request yet."));
    return;
  }
  const rows = [...list].sort((one, other) => other.requests - one.requests);
  const of = (word) => ({ title: word, number: true, cell: (row) => count(row.cache[word]) });
  put("by-route", table("Requests by route since the start; “none” is what no route covers", [
    { title: "Route", mono: true, cell: (row) => row.route },
    { title: "Kind", cell: (row) => row.kind },
    { title: "Requests", number: true, cell: (row) => count(row.requests) },
    { title: "Answered by the store", number: true, cell: (row) => percent(rate(row.hits, row.requests - row.hits)) },
    ...(byMeaning ? ["similar"] : []).map(of),
    ...["miss", "coalesced", "bypass", "pass"].map(of),
    { title: "5xx", number: true, cell: (row) => count(row.failed) },
  ], rows));
}

function kinds(list) {
  const rows = list.filter((row) => row.hits + row.misses + row.times.misses.count > 0);
  if (rows.length === 0) {
    put("by-kind");
    return;
  }
  put("by-kind", table("Lookups by kind since the start, and how long requests took", [
    { title: "Kind", cell: (row) => row.kind },
    { title: "Hit rate", number: true, cell: (row) => percent(rate(row.hits, row.misses)) },
    { title: "Hits", number: true, cell: (row) => count(row.hits) },
    { title: "Misses", number: true, cell: (row) => count(row.misses) },
    ...timeColumns,
  ], rows));
}

function reasons(id, list, otherwise) {
  if (list.length === 0) {
    put(id, empty(otherwise));
    return;
  }
  const most = list[0].count;
  put(id, el("ul", { class: "bars" }, list.map((row) => el("li", {},
    el("div", { class: "top" }, el("strong", { class: "mono" }, row.reason), el("span", {}, count(row.count))),
    svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "track", width: 100, height: 10 }),
      svg("rect", { class: "fill", width: Math.max(0.5, (100 * row.count) / most), height: 10 })),
    el("p", {}, row.means), el("p", { class: "dim" }, `→ ${row.do}`)))));
}
