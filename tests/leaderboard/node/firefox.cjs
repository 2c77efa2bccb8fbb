// A site in Firefox, from disk: every page given, in one colour scheme and several widths, then what
// its scripts do.
//   node firefox.cjs '{"firefox": PATH, "scheme": "light"|"dark", "widths": [..], "pages": [[URL, KIND], ..], "site": URL}'
// Prints one line a fault; ends with 1 where there is one.
"use strict";

const assert = require("node:assert/strict");
const puppeteer = require("puppeteer-core");

const asked = JSON.parse(process.argv[2]);
const faults = [];
let where = "";

function note(text) { faults.push(`${where}: ${text}`); }

function watch(page) {
  page.on("console", (message) => note(`console: ${message.text()}`));
  page.on("pageerror", (error) => note(`error: ${error.message}`));
  page.on("dialog", (dialog) => { note(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    if (!/^(file|data|about):/.test(request.url())) { note(`request: ${request.url()}`); }
  });
}

async function open(page, address) {
  await page.goto("about:blank");  // the same page with another anchor would not be loaded anew
  await page.goto(address);
}

async function looksRight(page, isDark) {
  const seen = await page.evaluate(() => {
    const ground = getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3);
    const main = document.querySelector("main");
    return {
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      brightness: ground.reduce((sum, each) => sum + Number(each), 0) / 3,
      isEmpty: !main || main.getBoundingClientRect().height < 100,
    };
  });
  if (seen.wide > 0) { note(`${seen.wide} pixels wider than its window`); }
  if ((seen.brightness < 128) !== isDark) { note(`its ground has brightness ${seen.brightness}`); }
  if (seen.isEmpty) { note("nothing stands in its main part"); }
  const broken = await page.evaluate(async () => {
    const images = Array.from(document.images);
    images.forEach((image) => { image.loading = "eager"; });
    await Promise.allSettled(images.map((image) => image.decode()));
    return images.filter((image) => !image.naturalWidth).length;
  });
  if (broken) { note(`${broken} pictures do not load`); }
}

// ---- what the scripts do ----------------------------------------------------------------------

const TABLE = "table[data-table='six-localisation']";
const HEAD = `${TABLE} th[data-key='brain.pixel_pro']`;

function names(page) {
  return page.$$eval(`${TABLE} tbody tr[data-source]:not([hidden]) .name`,
    (all) => all.map((each) => each.textContent));
}

function keys(page) {
  return page.evaluate((table, head) => {
    const label = document.querySelector(`${head} button`).getAttribute("aria-label").replace("Sort by ", "");
    return Array.from(document.querySelectorAll(`${table} tbody tr[data-source]:not([hidden])`))
      .map((line) => Array.from(line.cells).find((cell) => cell.dataset.label === label).dataset.k)
      .map((key) => (key === undefined ? null : Number(key)));
  }, TABLE, HEAD);
}

function press(page, selector) { return page.$eval(selector, (element) => element.click()); }

const TASKS = {
  async "a column sorts both ways, what is missing last, and a third press restores the order"(page) {
    await open(page, `${asked.site}/index.html`);
    const before = await names(page);
    for (const [direction, sign] of [["descending", -1], ["ascending", 1]]) {
      await press(page, `${HEAD} button`);
      assert.equal(await page.$eval(HEAD, (e) => e.getAttribute("aria-sort")), direction);
      const found = await keys(page);
      const numbers = found.filter((each) => each !== null);
      assert.ok(numbers.length > 5 && numbers.length < found.length);
      assert.deepEqual(found.slice(0, numbers.length), [...numbers].sort((a, b) => sign * (a - b)));
    }
    await press(page, `${HEAD} button`);
    assert.deepEqual(await names(page), before);
  },

  async "the keyboard alone sorts, and sees where it is"(page) {
    await open(page, `${asked.site}/index.html`);
    await page.focus(`${HEAD} button`);
    await page.keyboard.press("Enter");
    assert.equal(await page.$eval(HEAD, (e) => e.getAttribute("aria-sort")), "descending");
    await page.keyboard.press(" ");
    assert.equal(await page.$eval(HEAD, (e) => e.getAttribute("aria-sort")), "ascending");
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => [
      document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]);
    assert.deepEqual(focus[0], "BUTTON");
    assert.notEqual(focus[1], "none");
  },

  async "a filter leaves what fits, and its address opens the same view"(page) {
    await open(page, `${asked.site}/index.html`);
    const everything = await names(page);
    await page.select("#filters [name=family]", "memory bank");
    await press(page, `${HEAD} button`);
    const shown = await names(page);
    assert.ok(shown.length > 0 && shown.length < everything.length);
    const address = page.url();
    assert.match(address, /#family=memory\+bank&sort=brain\.pixel_pro&dir=desc$/);
    await open(page, address);
    assert.deepEqual(await names(page), shown);
    await press(page, "#filters button[type=reset]");
    assert.deepEqual(await names(page), everything);
  },

  async "an address of a row shows it below the heads that stay"(page) {
    await open(page, `${asked.site}/index.html`);
    const href = await page.$$eval(`${TABLE} .here`, (all) => all[all.length - 1].href);
    await open(page, href);
    const [top, heads] = await page.evaluate(() => {
      const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      const over = Array.from(row.closest("table").tHead.querySelectorAll("th"));
      return [row.getBoundingClientRect().top,
        Math.max(...over.map((each) => each.getBoundingClientRect().bottom))];
    });
    assert.ok(top >= heads - 1 && top < 844, `row at ${top}, heads to ${heads}`);
  },

  async "ticked rows are compared, and the comparison has an address"(page) {
    await open(page, `${asked.site}/index.html`);
    for (const name of ["Heron", "Otter"]) {
      await page.focus(`${TABLE} input[aria-label='Compare ${name}']`);
      await page.keyboard.press(" ");
    }
    const href = await page.$eval(".chosen .go", (link) => link.href);
    assert.match(href, /compare\.html#m=heron[^&]*,otter/);
    await open(page, href);
    await page.waitForSelector("#compared table");
    assert.equal((await page.$$(".verdict-list")).length, 1);
    assert.ok((await page.$$("#compared .overlaid polyline")).length > 0);
  },

  async "curves are chosen, and the choice has an address"(page) {
    await open(page, `${asked.site}/benchmarks/brain.html`);
    const before = page.url();
    const box = "#curve-choices input";
    await press(page, box);
    assert.notEqual(page.url(), before);
    const chosen = await page.$$eval(box, (all) => all.map((each) => each.checked));
    await open(page, page.url());
    assert.deepEqual(await page.$$eval(box, (all) => all.map((each) => each.checked)), chosen);
  },
};

async function main() {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: asked.firefox,
    headless: true,
    extraPrefsFirefox: {
      "layout.css.prefers-color-scheme.content-override": asked.scheme === "dark" ? 0 : 1,
    },
  });
  try {
    console.error(await browser.version(), asked.scheme);
    const page = await browser.newPage();
    watch(page);
    for (const width of asked.widths) {
      await page.setViewport({ width, height: 844 });
      for (const [address, kind] of asked.pages) {
        where = `${kind}, ${width} pixels`;
        await open(page, address);
        await looksRight(page, asked.scheme === "dark");
      }
      for (const [name, task] of Object.entries(TASKS)) {
        where = `${name}, ${width} pixels`;
        await task(page).catch((error) => note(error.message));
      }
    }
  } finally {
    await browser.close();
  }
  console.error(`${asked.pages.length} pages and ${Object.keys(TASKS).length} tasks in ${asked.widths.length} widths`);
}

main()
  .catch((error) => note(error.stack))
  .finally(() => {
    faults.forEach((each) => console.log(each));
    process.exitCode = faults.length ? 1 : 0;
  });
