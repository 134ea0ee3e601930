// The entries that were found most often, and purges: counted first, then done.

import { change, get } from "./api.js";
import { brief, byId, confirmed, el, empty, put, say, table } from "./dom.js";
import { bytes, count, duration } from "./words.js";

/** How many of the entries are shown. */
const SHOWN = 20;

export async function showEntries() {
  const { entries, more, partial } = await get(`/entries?sort=hits&limit=${SHOWN}`);
  if (entries.length === 0) {
    put("entry-list", empty("Nothing is stored yet. Ask the same question twice: the second answer comes from here."));
    return;
  }
  const some = more ? `The ${count(entries.length)} with the most hits; there are more` : "All entries";
  const caption = partial ? "The most hits among the entries that were looked at in two seconds; there are more" : some;
  put("entry-list", table(caption, [
    { title: "Key", mono: true, cell: (row) => el("span", { title: row.key }, brief(row.key)) },
    { title: "Path", cell: (row) => row.path ?? "–" },
    { title: "Route", cell: (row) => row.route ?? "–" },
    { title: "Hits", number: true, cell: (row) => count(row.hits) },
    { title: "Age", number: true, cell: (row) => duration(row.age) },
    { title: "Fresh for", number: true, cell: (row) => (row.ttl < 0 ? "stale" : duration(row.ttl)) },
    { title: "Size", number: true, cell: (row) => bytes(row.size) },
    { title: "Tags", cell: tags },
    { title: "Remove", cell: (row) => el("button", {
      type: "button", class: "danger", "aria-label": `Remove ${row.key}`, on: { click: () => remove(row.key) },
    }, "Remove") },
  ], entries));
}

/** An entry's tags; an earlier version of sidecache did not note them where a list finds them. */
function tags(row) {
  const list = (row.tags ?? []).map((tag) => el("span", { class: "tag" }, tag));
  return el("span", { class: "tags" }, list.length > 0 ? list : "none");
}

async function remove(key) {
  const isSure = await confirmed({
    title: "Remove this entry?",
    what: key,
    then: "The next request for it goes to the service.",
    no: "Keep it",
    yes: "Remove it",
  });
  if (!isSure) return;
  try {
    await change("DELETE", `/entries/${encodeURIComponent(key)}`);
    say("entries-said", "The entry is removed.");
  } catch (error) {
    say("entries-said", error.message);
  }
  await showEntries().catch((error) => say("entries-said", error.message));
}

const LABELS = { tag: "Tag", key: "Key", pattern: "Pattern, as in query:0f*" };

function selection(form) {
  const what = form.what.value;
  if (what === "all") return { all: true };
  return { [what]: what === "kind" ? form.kind.value : form.elements.value.value.trim() };
}

const entriesOf = (number) => `${count(number)} ${number === 1 ? "entry" : "entries"}`;

/** Counts on submit; the button that purges is there only for the very selection that was counted. */
export function preparePurge(onPurged) {
  const form = byId("purge-form");
  const button = byId("purge-now");
  let counted = null;
  const forget = () => {
    counted = null;
    button.hidden = true;
    say("purge-said", "");
    const what = form.what.value;
    byId("purge-kind-label").hidden = what !== "kind";
    byId("purge-value-label").hidden = !(what in LABELS);
    byId("purge-value-label").firstChild.textContent = `${LABELS[what] ?? ""} `;
    form.elements.value.required = what in LABELS;
  };
  form.addEventListener("input", forget);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    forget();
    const wanted = selection(form);
    try {
      const { purged } = await change("POST", "/purge", { ...wanted, dry_run: true });
      if (JSON.stringify(wanted) !== JSON.stringify(selection(form))) return;
      counted = wanted;
      button.hidden = false;
      button.textContent = `Purge ${entriesOf(purged)}`;
      say("purge-said", `${entriesOf(purged)} would go. Nothing is purged yet. A purge also counts for answers that are still coming.`);
    } catch (error) {
      say("purge-said", error.message);
    }
  });
  button.addEventListener("click", async () => {
    const wanted = counted;
    forget();
    if (wanted === null) return;
    try {
      const { purged } = await change("POST", "/purge", wanted);
      say("purge-said", `Purged. ${entriesOf(purged)} removed so far; none of them is served any more.`);
      onPurged();
    } catch (error) {
      say("purge-said", error.message);
    }
  });
  forget();
}
