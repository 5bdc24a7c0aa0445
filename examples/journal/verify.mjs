// Verify the journal's chain of hashes without Chainfold (`db.journal.canonical`):
//
//     psql --tuples-only --no-align --file entries.sql <database> | node verify.mjs
//
// It prints the number of entries and the last hash, or the first entry that is wrong.
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+/g;
// Integers stay text, since a number of JavaScript would round them; no text has a NUL.
const parse = (line) => JSON.parse(line.replace(TOKEN, (t) => (t[0] === '"' ? t : `"\\u0000${t}"`)));
const byCodePoint = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const write = (value) => {
  if (typeof value === "string" && value[0] === "\0") return value.slice(1);
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(write)}]`;
  const names = Object.keys(value).sort(byCodePoint);
  return `{${names.map((name) => `${JSON.stringify(name)}:${write(value[name])}`)}}`;
};

let count = 0;
let last = null;
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === "") continue;
  const { hash, ...entry } = parse(line);
  const text = `chainfold.journal.entry.1\n${write(entry)}`;
  const ours = createHash("sha256").update(text).digest("hex");
  if (ours !== hash || (last !== null && entry.previous !== last)) {
    console.log(`entry ${write(entry.seq)} is wrong`);
    process.exit(1);
  }
  last = hash;
  count += 1;
}
console.log(`${count} entries, last hash ${last}`);
