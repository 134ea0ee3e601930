// Hits by meaning: what each route may serve, and the last ones that were served, each with a button for a wrong one.

import { change } from "./api.js";
import { brief, byId, confirmed, el, empty, put, say, table, tiles } from "./dom.js";
import { count } from "./words.js";

/** Shows the part, or hides it where the configuration has no hits by meaning. */
export function showMeaning({ health, similar_hits: hits = [] }, again) {
  const { semantic } = health;
  for (const id of ["meaning", "meaning-link"]) byId(id).hidden = semantic === undefined;
  if (semantic === undefined) return;
  const sum = (figure) => semantic.routes.reduce((all, route) => all + figure(route), 0);
  tiles("meaning-state", [
    ["Mode", semantic.mode, semantic.mode === "shadow" ? "compared only, nothing is served" : "served where a threshold is certified"],
    ["Limit", share(semantic.max_false_hits), "of the hits may be wrong, at 95 % confidence"],
    ["Embedder", semantic.problem === undefined ? "✓ well" : "✗ trouble", semantic.problem ?? semantic.embedder ?? "not asked yet"],
    ["Index", count(semantic.entries), `questions of at most ${count(semantic.max_entries)}`],
    ["Served", count(health.cache.similar), "hits by meaning since the start"],
    ["False", count(sum((route) => route.false_labels)), `of ${count(sum((route) => route.labels))} labels`],
  ]);
  routes(semantic.routes);
  similar(hits, again);
}

/** A rate as a percentage with as many digits as say something. */
const share = (rate) => (rate === null ? "–" : `${Number((rate * 100).toPrecision(2))} %`);

const four = (similarity) => similarity.toFixed(4);

function routes(list) {
  if (list.length === 0) {
    put("meaning-routes", empty("No route takes part: set ", el("code", {}, "semantic = true"), " for one."));
    return;
  }
  put("meaning-routes", table("What each route may serve", [
    { title: "Route", mono: true, cell: (row) => row.route },
    { title: "State", cell: state },
    { title: "Threshold", number: true, cell: (row) => (row.threshold === null ? "–" : four(row.threshold)) },
    { title: "Wrong at most", number: true, cell: (row) => share(row.bound) },
    { title: "Labels", number: true, cell: (row) => count(row.labels) },
    { title: "False", number: true, cell: (row) => count(row.false_labels) },
    { title: "Hits of the labels", number: true, cell: (row) => row.hit_rate },
    { title: "Served", number: true, cell: (row) => count(row.served) },
  ], list));
}

/** What a route does, and how far it is from its threshold. */
function state(row) {
  if (row.threshold !== null) return "✓ certified";
  const all = row.labels + row.labels_missing;
  const name = `${row.route}: labels of those that a threshold needs`;
  const missing = `${count(row.labels_missing)} more labels at least`;
  return el("div", {},
    row.stepped_back ? el("strong", { class: "bad" }, `✗ stepped back at ${moment(row.stepped_back_at)}`) : null,
    el("progress", { value: row.labels, max: Math.max(1, all), "aria-label": name }),
    el("div", { class: "dim" }, missing));
}

/** A time of the log, to the second. */
const moment = (time) => (time ?? "").slice(0, 19).replace("T", " ");

function similar(hits, again) {
  if (hits.length === 0) {
    put("similar-list", empty("No hit by meaning was served yet."));
    return;
  }
  put("similar-list", table("The last hits by meaning, the latest first; the texts are not kept", [
    { title: "Time (UTC)", cell: (row) => moment(row.time) },
    { title: "Route", mono: true, cell: (row) => row.route },
    { title: "Similarity", number: true, cell: (row) => four(row.similarity) },
    { title: "Asked", mono: true, cell: (row) => el("span", { title: row.key }, brief(row.key)) },
    { title: "Answered by", mono: true, cell: (row) => el("span", { title: row.original }, brief(row.original)) },
    { title: "Wrong?", cell: (row) => el("button", {
      type: "button", class: "danger", "aria-label": `Report ${row.key} as wrong`, on: { click: () => report(row, again) },
    }, "Wrong") },
  ], hits));
}

async function report(row, again) {
  const isSure = await confirmed({
    title: "Was this answer wrong?",
    what: `${row.key} was answered by ${row.original}`,
    then: "It counts as a false hit, which may stop hits by meaning on this route, and is never served for that question again.",
    no: "It was right",
    yes: "It was wrong",
  });
  if (!isSure) return;
  try {
    await change("POST", `/entries/${encodeURIComponent(row.key)}/wrong`);
    say("meaning-said", "The hit is reported as wrong.");
  } catch (error) {
    say("meaning-said", error.message);
  }
  await again().catch((error) => say("meaning-said", error.message));
}
