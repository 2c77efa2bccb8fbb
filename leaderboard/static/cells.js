// What is behind a value, beside its table: a value's link opens a panel instead of another page.
//   #cell=heron/brain.image_auroc    the panel of a value; view, filters and order may stand before it
// Every text comes finished from data/cells/heron.js (leaderboard/cell_panels.py). Without this
// script the link leads to the same on the entry's page.
(function () {
  "use strict";

  var root = new URL("../", document.currentScript.src).href;
  var LINKS = "table.board td > a";
  var KNOWN_STEM = /^[a-z0-9][a-z0-9._-]*$/;
  var panel = null;
  var opener = null;  // the link that the panel was opened from

  function list(from, selector) { return Array.prototype.slice.call(from.querySelectorAll(selector)); }

  // ---- addresses ------------------------------------------------------------------------

  // Of a link to entries/heron.html#brain.image_auroc: {stem: "heron", key: "brain.image_auroc"}.
  function target(link) {
    var start = root + "entries/";
    var parts = link.href.slice(start.length).split(".html#");
    if (link.href.indexOf(start) !== 0 || parts.length !== 2) { return null; }
    return { stem: parts[0], key: decodeURIComponent(parts[1]) };
  }

  function asked() {
    var given = new URLSearchParams(location.hash.slice(1)).get("cell");
    var slash = given ? given.indexOf("/") : -1;
    return slash < 0 ? null : { stem: given.slice(0, slash), key: given.slice(slash + 1) };
  }

  // The address with this cell, or with none; what is filtered and sorted stays in it.
  function write(cell) {
    var given = location.hash.indexOf("=") < 0 ? "" : location.hash.slice(1);
    var parts = given.split("&").filter(function (part) { return part && part.indexOf("cell=") !== 0; });
    if (cell) { parts.push("cell=" + encodeURIComponent(cell.stem + "/" + cell.key).replace(/%2F/g, "/")); }
    history.replaceState(null, "", parts.length ? "#" + parts.join("&") : location.pathname + location.search);
  }

  function linkOf(cell) {
    var end = "entries/" + cell.stem + ".html#" + cell.key;
    var found = list(document, LINKS).filter(function (link) {
      return decodeURIComponent(link.href).slice(root.length) === end;
    });
    return found.filter(function (link) { return link.getClientRects().length; })[0] || found[0] || null;
  }

  function isKnown(stem) {
    return KNOWN_STEM.test(stem) && list(document, LINKS).some(function (link) {
      return link.href.indexOf(root + "entries/" + stem + ".html#") === 0;
    });
  }

  // ---- pieces ---------------------------------------------------------------------------

  function h(tag, attributes) {
    var made = document.createElement(tag);
    Object.keys(attributes || {}).forEach(function (name) { made.setAttribute(name, attributes[name]); });
    Array.prototype.slice.call(arguments, 2).forEach(function add(child) {
      if (Array.isArray(child)) { child.forEach(add); } else if (child) { made.append(child); }
    });
    return made;
  }

  function part(title, content) { return content && [h("h3", null, title), content]; }

  function page(path, text) { return h("a", { href: root + path }, text); }

  function copier(text, told) {
    var button = h("button", { type: "button", "class": "quiet" }, told);
    window.bmadCopies(button, function () { return text; });
    return button;
  }

  // ---- what the panel says --------------------------------------------------------------

  function value(line, section) {
    var spread = line.std ? " ± " + line.std : "";
    var interval = line.interval ? "95 % interval " + line.interval : "";
    var units = line.units && line.mean !== "NA" ? "over " + line.units + " " + section.unit : "";
    return h("p", { "class": "cell-value" }, h("b", null, line.mean + (/^ ± [\d.]/.test(spread) ? spread : "")),
      line.std && !/^[\d.]/.test(line.std) ? h("span", null, line.std) : null,
      interval || units ? h("span", null, [interval, units].filter(Boolean).join(" ")) : null,
      line.note ? h("span", null, line.note) : null, line.remark ? h("span", null, line.remark) : null);
  }

  function records(section) {
    var found = {};
    (section.records || []).forEach(function (each) { found["seed " + each[0]] = each[1]; });
    return found;
  }

  function record(path) {
    return path ? h("a", { href: root + path, download: "" }, "JSON") : "";
  }

  function seeds(line, section) {
    var of = records(section);
    var values = line.seeds || [];
    var names = section.seeds || [];
    if (!names.length) { return null; }
    return h("table", { "class": "numbers" },
      h("thead", null, h("tr", null, ["Seed", "Value", "95 % interval", "Record"].map(function (each) {
        return h("th", { scope: "col" }, each);
      }))),
      h("tbody", null, names.map(function (name, n) {
        var told = values[n] || ["", ""];
        return h("tr", null, h("th", { scope: "row" }, name), h("td", null, told[0]), h("td", null, told[1]),
          h("td", null, record(of[name])));
      })));
  }

  function paper(line) {
    if (!line.reported) { return null; }
    var measured = line.onPaperGrid ? "; on its grid it is " + line.onPaperGrid + " here" : "";
    var difference = !line.difference ? "." : /^not/.test(line.difference) ? ". It is " + line.difference + "."
      : "; measured less reported: " + line.difference + " points.";
    return h("p", null, "The paper reports " + line.reported + measured + difference);
  }

  function failures(section) {
    return section.failures && h("div", null, section.failures.map(function (each) {
      return h("div", { "class": "cell-failure" },
        h("p", null, h("strong", { "class": "failed" }, "Seed " + each.seed + ": " + each.status), " ", each.told || "",
          each.detail ? h("small", null, each.detail) : null),
        each.remedy ? h("p", null, "Remedy: " + each.remedy) : null,
        each.log ? h("pre", { "class": "log", tabindex: "0" }, each.log.join("\n")) : null);
    }));
  }

  function paragraphs(texts) {
    return texts && h("div", null, texts.map(function (each) { return h("p", null, each); }));
  }

  function costs(section) {
    return section.costs && h("dl", { "class": "cell-costs" }, section.costs.map(function (each) {
      return h("div", null, h("dt", null, each[0]), h("dd", null, each[1]));
    }));
  }

  function cite(section) {
    return h("div", { "class": "command" }, h("pre", { tabindex: "0" }, h("code", null, section.cite)),
      copier(section.cite, "Copy BibTeX"));
  }

  function body(data, cell) {
    var known = Object.prototype.hasOwnProperty.call(data.lines, cell.key) ? data.lines[cell.key] : null;
    var section = known ? data.sections[known[0]] : data.sections.filter(function (each) {
      return each.key === cell.key || each.costKey === cell.key;
    })[0];
    var here = "entries/" + cell.stem + ".html#" + cell.key;
    if (!section) {
      return { title: data.title, content: h("p", null, "What is behind this value stands on ", page(here, "the entry’s page"), ".") };
    }
    var line = known && known[1];
    var isCost = section.costKey === cell.key;
    return {
      title: data.title + ", " + section.title + ": " + (line ? line.title : isCost ? "cost" : section.status),
      content: [
        h("p", { "class": "facts" }, section.summary),
        line ? value(line, section) : null,
        line && h("p", { "class": "facts" }, line.meaning ? line.meaning + " " : "", page("guide.html#" + line.guide, "Definition")),
        isCost ? costs(section) || h("p", null, "What it costs was not measured.") : null,
        section.isHidden ? h("p", { "class": "note" }, "The pack is hidden: rounded means, ranks and statuses alone are published.") : null,
        part("Runs without a result", failures(section)),
        line && part("Why this rank", paragraphs(line.why)),
        part("Seeds", seeds(line || {}, section)),
        line && part("Against the paper", paper(line)),
        part("How the row was made", section.made ? h("p", null, section.made + ".") : null),
        part("To be known of it", paragraphs(section.remarks)),
        isCost ? null : part("Cost", costs(section)),
        part("Cite", cite(section)),
        h("p", { "class": "cell-ways" }, page(here, "On the entry’s page"), data.isWhole ? null : " (it has more than fits here)",
          page("entries/" + cell.stem + ".html#rerun-" + section.key, "How it was made, and how to rerun it"),
          copier(location.href, "Copy link"))
      ]
    };
  }

  // ---- opening and closing --------------------------------------------------------------

  function make() {
    panel = h("dialog", { "class": "cell-panel", "aria-labelledby": "cell-title" });
    panel.addEventListener("click", function (event) { if (event.target === panel) { panel.close(); } });
    panel.addEventListener("close", function () {
      var back = opener;
      opener = null;
      write(null);
      if (back) { back.focus(); }
    });
    document.body.append(panel);
  }

  function show(told) {
    var close = h("button", { type: "button", "class": "quiet", autofocus: "" }, "Close");
    if (!panel) { make(); }
    close.addEventListener("click", function () { panel.close(); });
    panel.textContent = "";
    panel.append(h("div", { "class": "cell-head" },
      h("h2", { id: "cell-title" }, told.title,
        document.body.classList.contains("made-up") ? [" ", h("span", { "class": "tag demo" }, "made-up data")] : null),
      close), h("div", { "class": "cell-body" }, told.content));
    if (!panel.open) { panel.showModal(); }
    panel.scrollTop = 0;
    close.focus();
  }

  function data(stem) {
    var all = window.bmadCells || {};
    return Object.prototype.hasOwnProperty.call(all, stem) ? all[stem] : null;
  }

  function load(stem, then, failed) {
    if (data(stem)) { then(); return; }
    var script = document.createElement("script");
    script.src = root + "data/cells/" + stem + ".js";
    script.addEventListener("load", then);
    script.addEventListener("error", failed);
    document.head.append(script);
  }

  function open(cell, link) {
    load(cell.stem, function () {
      opener = link;
      write(cell);
      show(body(data(cell.stem), cell));
    }, function () { location.href = root + "entries/" + cell.stem + ".html#" + cell.key; });
  }

  function openAsked() {
    var cell = asked();
    if (!cell) {
      if (panel && panel.open) { panel.close(); }
      return;
    }
    if (!isKnown(cell.stem)) {
      show({ title: "No such value", content: h("p", null, "No row here is called “" + cell.stem + "”.") });
      return;
    }
    var link = linkOf(cell);
    if (link) { link.scrollIntoView({ block: "center", inline: "center" }); }
    open(cell, link);
  }

  document.addEventListener("click", function (event) {
    var cell = event.target.closest && event.target.closest("table.board td");
    var link = cell && cell.querySelector(":scope > a");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) { return; }
    if (event.target !== link && String(getSelection())) { return; }  // text is being marked
    var wanted = target(link);
    if (!wanted || !KNOWN_STEM.test(wanted.stem)) { return; }
    event.preventDefault();
    open(wanted, link);
  });

  // ---- keyboard: one stop a row, arrows within the table --------------------------------

  function isInSight(link) { return link && !link.parentNode.hidden && !link.closest("tr").hidden; }

  function rove() {
    list(document, "table.board tbody tr").forEach(function (line) {
      var isFirst = true;
      list(line, "td > a").forEach(function (link) {
        var isStop = isFirst && isInSight(link);
        link.tabIndex = isStop ? 0 : -1;
        if (isStop) { isFirst = false; }
      });
    });
  }

  // The next value in sight from a link, in a row or in a column.
  function next(link, across, down) {
    var row = link.closest("tr");
    var place = link.parentNode.cellIndex;
    var rows = across ? [row] : list(row.closest("table"), "tbody tr[data-source]");
    var at = rows.indexOf(row);
    var links = across ? list(row, "td > a") : rows.map(function (line) { return line.cells[place] && line.cells[place].querySelector(":scope > a"); });
    var n = across ? links.indexOf(link) : at;
    do { n += across || down; } while (n >= 0 && n < links.length && !isInSight(links[n]));
    return links[n] || null;
  }

  document.addEventListener("keydown", function (event) {
    var steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    var link = event.target.closest && event.target.closest(LINKS);
    if (!steps || !link || event.ctrlKey || event.metaKey || event.altKey) { return; }
    var found = next(link, steps[0], steps[1]);
    event.preventDefault();
    if (found) { found.focus(); }
  });

  function later() { setTimeout(rove, 0); }  // after the script that filters

  if (!document.querySelector(LINKS)) { return; }
  rove();
  document.addEventListener("input", later);
  document.addEventListener("reset", later);
  window.addEventListener("hashchange", function () { later(); openAsked(); });
  openAsked();
})();
