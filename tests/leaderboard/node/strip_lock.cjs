// Takes out of package-lock.json what no installation needs: where to donate.
"use strict";

const fs = require("node:fs");
const lock = JSON.parse(fs.readFileSync("package-lock.json", "utf8"));
Object.values(lock.packages).forEach((each) => { delete each.funding; });
fs.writeFileSync("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
