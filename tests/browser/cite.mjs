// What Wikimedia's citation service reads of a page's citation_* elements: HTML on stdin, JSON on stdout.
// usage: node cite.mjs NODE_MODULES
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(path.join(path.resolve(process.argv[2]), "x.js"));
const { load } = require("cheerio");
const page = load(fs.readFileSync(0, "utf8"));
console.log(JSON.stringify(await require("html-metadata").parseHighwirePress(page)));
