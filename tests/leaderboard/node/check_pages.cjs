// Every page and style sheet under a folder against the HTML and CSS standards.
//   node check_pages.cjs FOLDER
// Prints one line a fault, `path:line: rule: message`; ends with 1 where there is one.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const csstree = require("css-tree");
const { FileSystemConfigLoader, HtmlValidate } = require("html-validate");

// What is left out is taste, not conformance, or asks for what these pages have no use for.
const CONFIG = {
  root: true,
  extends: ["html-validate:recommended", "html-validate:document", "html-validate:a11y"],
  rules: {
    "doctype-style": "off",           // upper and lower case are the same to the standard
    "long-title": "off",              // a stranger's method may have a long name
    "prefer-native-element": "off",   // <div role="region"> conforms
    "require-sri": "off",             // no file comes from another host
    "valid-id": ["error", { relaxed: true }],  // what HTML allows; stricter is for CSS 1
    "wcag/h32": "off",                // filters act at once: there is nothing to submit
  },
};

function found(folder, ending) {
  return fs.readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(ending)).sort();
}

function faultsOfPage(validator, folder, name) {
  const report = validator.validateFileSync(path.join(folder, name));
  return report.results.flatMap((result) => result.messages)
    .map((each) => `${name}:${each.line}: ${each.ruleId}: ${each.message}`);
}

// A grammar knows no custom property: what the sheets' roots say stands in for var(--name).
function customProperties(texts) {
  const values = new Map();
  for (const text of texts) {
    csstree.walk(csstree.parse(text), (node) => {
      if (node.type === "Declaration" && node.property.startsWith("--") && !values.has(node.property)) {
        values.set(node.property, csstree.generate(node.value).trim());
      }
    });
  }
  return values;
}

function filledIn(value, values, unknown) {
  return value.replace(/var\((--[\w-]+)\)/g, (whole, name) => {
    if (!values.has(name)) { unknown.push(name); return whole; }
    return values.get(name);
  });
}

function faultsOfSheet(folder, name, values) {
  const faults = [];
  const note = (line, rule, message) => faults.push(`${name}:${line}: ${rule}: ${message.split("\n")[0]}`);
  const text = fs.readFileSync(path.join(folder, name), "utf8");
  const tree = csstree.parse(text, {
    positions: true,
    onParseError: (error) => note(error.line, "css-syntax", error.message),
  });
  csstree.walk(tree, {
    visit: "Declaration",
    enter(node) {
      if (node.property.startsWith("--")) { return; }
      const unknown = [];
      const value = filledIn(csstree.generate(node.value), values, unknown);
      const isDescriptor = this.atrule && this.atrule.name === "page" && !this.rule;
      const match = isDescriptor && csstree.lexer.getAtrule("page").descriptors[node.property]
        ? csstree.lexer.matchAtruleDescriptor("page", node.property, value)
        : csstree.lexer.matchProperty(node.property, value);
      unknown.forEach((each) => note(node.loc.start.line, "css-unknown-variable", each));
      if (match.error && !unknown.length) {
        note(node.loc.start.line, "css-value", `${node.property}: ${value}: ${match.error.message}`);
      }
    },
  });
  return faults;
}

const folder = process.argv[2];
const pages = found(folder, ".html");
const sheets = found(folder, ".css");
const validator = new HtmlValidate(new FileSystemConfigLoader(CONFIG));
const values = customProperties(sheets.map((name) => fs.readFileSync(path.join(folder, name), "utf8")));
const faults = [
  ...pages.flatMap((name) => faultsOfPage(validator, folder, name)),
  ...sheets.flatMap((name) => faultsOfSheet(folder, name, values)),
];
faults.forEach((each) => console.log(each));
console.error(`${pages.length} pages and ${sheets.length} style sheets: ${faults.length} faults`);
process.exitCode = faults.length ? 1 : 0;
