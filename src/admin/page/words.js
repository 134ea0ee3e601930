// Numbers and times as people read them.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** 1234567 as 1,234,567. */
export const count = (number) => (number ?? 0).toLocaleString("en", { maximumFractionDigits: 0 });

/** At most three digits that count: 0.123, 12.3, 1,230. */
export function short(number) {
  if (number === null || number === undefined) return "–";
  const size = Math.abs(number);
  if (size >= 1e6) return `${trim(number / 1e6)}M`;
  if (size >= 1e4) return `${trim(number / 1e3)}k`;
  return trim(number);
}

const trim = (number) => Number(number.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 6 });

/** A share of 1 as a percentage. */
export const percent = (share) => (share === null ? "–" : `${(share * 100).toFixed(1)} %`);

/** hits by all lookups; null without lookups. */
export const rate = (hits, misses) => (hits + misses === 0 ? null : hits / (hits + misses));

/** Milliseconds as ms, s or min. */
export function millis(number) {
  if (number === null || number === undefined) return "–";
  if (number < 1000) return `${trim(number)} ms`;
  return number < 120000 ? `${trim(number / 1000)} s` : duration(number / 1000);
}

/** Seconds as their two largest units. */
export function duration(seconds) {
  if (seconds < 60) return `${trim(seconds)} s`;
  const at = UNITS.findIndex(([unit]) => seconds >= unit);
  const [[large, name], next] = [UNITS[at], UNITS[at + 1]];
  const rest = next ? Math.floor((seconds % large) / next[0]) : 0;
  return `${Math.floor(seconds / large)} ${name}${rest > 0 ? ` ${rest} ${next[1]}` : ""}`;
}

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  const at = Math.min(4, Math.floor(Math.log2(Math.max(1, number)) / 10));
  return at === 0 ? `${number} B` : `${trim(number / 2 ** (10 * at))} ${["KiB", "MiB", "GiB", "TiB"][at - 1]}`;
}

export const money = (number, currency) => `${trim(number)} ${currency}`;

const two = (number) => String(number).padStart(2, "0");

/** Unix seconds as the clock on the wall, with seconds if asked. */
export function clock(seconds, withSeconds = false) {
  const date = new Date(seconds * 1000);
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return withSeconds ? `${minutes}:${two(date.getSeconds())}` : minutes;
}
