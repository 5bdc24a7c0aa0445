// Compiles the Solidity sources under the directory given as argument and prints a JSON object on stdout:
// {"compiler": "...", "errors": [...], "contracts": {"<source>": {"<name>": {abi, evm}}}}.
// Imports are read from that directory and from node_modules beside this file (or CHAINFOLD_NODE_MODULES).
"use strict";

const fs = require("fs");
const path = require("path");

const root = path.resolve(process.argv[2]);
const modules = process.env.CHAINFOLD_NODE_MODULES || path.join(__dirname, "node_modules");
const solc = require(path.join(modules, "solc"));

function sourcesUnder(directory) {
  return fs
    .readdirSync(directory, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const full = path.join(directory, entry.name);
      if (entry.isDirectory()) return sourcesUnder(full);
      return entry.name.endsWith(".sol") ? [full] : [];
    });
}

function resolveImport(name) {
  for (const base of [root, modules]) {
    const file = path.join(base, name);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, "utf8") };
  }
  return { error: `${name} is neither under the sources nor in node_modules` };
}

const sources = {};
for (const file of sourcesUnder(root)) {
  const name = path.relative(root, file).split(path.sep).join("/");
  sources[name] = { content: fs.readFileSync(file, "utf8") };
}

const input = {
  language: "Solidity",
  sources,
  settings: {
    evmVersion: "paris",
    optimizer: { enabled: true, runs: 200 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
};

const output = JSON.parse(solc.compile(JSON.stringify(input), { import: resolveImport }));
const contracts = {};
for (const name of Object.keys(sources)) contracts[name] = (output.contracts || {})[name] || {};
process.stdout.write(
  JSON.stringify({ compiler: solc.version(), errors: output.errors || [], contracts }),
);
