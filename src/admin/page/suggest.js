// Requests that almost hit, and paths that no route covers, with the lines that would change that.

import { get } from "./api.js";
import { empty, lines, put, table } from "./dom.js";
import { count, percent } from "./words.js";

export async function showSuggestions() {
  let found;
  try {
    found = await get("/suggest");
  } catch (error) {
    put("almost-hits", empty(error.message));
    put("uncovered", empty(error.message));
    return;
  }
  almostHits(found.almost_hits);
  uncovered(found.uncovered);
}

function almostHits(list) {
  if (list.length === 0) {
    put("almost-hits", empty("No part of requests keeps misses from being hits, as far as is seen."));
    return;
  }
  put("almost-hits", table("One part alone makes these misses; leave it out of the key, if answers do not depend on it", [
    { title: "Route", mono: true, cell: (row) => row.route },
    { title: "What differs", mono: true, cell: (row) => row.part },
    { title: "Misses", number: true, cell: (row) => count(row.misses) },
    { title: "Would be hits", number: true, cell: (row) => percent(row.share) },
    { title: "What it means", cell: (row) => row.means },
    { title: "For the configuration", cell: (row) => (row.line ? lines(row.line) : "–") },
  ], list));
}

function uncovered(list) {
  if (list.length === 0) {
    put("uncovered", empty("Every request was covered by a route, or nothing has come yet."));
    return;
  }
  put("uncovered", table("What passes through; a route would keep the answers that repeat", [
    { title: "Request", mono: true, cell: (row) => `${row.method} ${row.path}` },
    { title: "Requests", number: true, cell: (row) => count(row.requests) },
    { title: "Repeats", number: true, cell: (row) => count(row.repeats) },
    { title: "Answers", cell: (row) => row.answers },
    { title: "For the configuration", cell: (row) => (row.line ? lines(row.line) : "–") },
  ], list));
}
