// Prints the newest of the versions it is given, or its own.
"use strict";

const semver = require("semver");
const own = require("./package.json");

const versions = process.argv.slice(2);
if (versions[0] === "--version") {
  console.log(`${own.name} ${own.version}`);
} else {
  console.log(`newest is ${semver.rsort(versions)[0]}`);
}
