// Runs the book's search under Node: an index and queries as JSON on standard input, the results as JSON on standard output.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const script = path.join(__dirname, "..", "book", "assets", "search.js");
vm.runInThisContext(fs.readFileSync(script, "utf8"), { filename: "search.js" });
const { index, queries } = JSON.parse(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(queries.map((query) => globalThis.minigpt.search(index, query))));
