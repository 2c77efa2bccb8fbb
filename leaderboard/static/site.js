// Sorting, filtering and copying over tables that are complete without this script.
// A classic script, because modules and fetch() do not work from file://.
// The state lives in location.hash, so that every view has an address:
//   #view=dice&rows=measured&track=open&q=pad&sort=brain.image_auroc&dir=desc
(function () {
  "use strict";

  var DEFAULTS = { view: "localisation", rows: "all", track: "", q: "", sort: "", dir: "" };
  var ALLOWED = { view: ["localisation", "dice"], rows: ["all", "measured", "paper"] };
  var form = document.getElementById("filters");
  var tables = Array.prototype.slice.call(document.querySelectorAll("table[data-table]"));
  // Columns start with the order a reader wants: the best first, but names from A and cost from 0.
  function firstDirection(header) {
    return header.dataset.sort === "text" || /\.seconds$/.test(header.dataset.key) ? "asc" : "desc";
  }

  function readState() {
    var given = new URLSearchParams(location.hash.slice(1));
    var state = {};
    Object.keys(DEFAULTS).forEach(function (name) {
      var isKnown = !ALLOWED[name] || ALLOWED[name].indexOf(given.get(name)) >= 0;
      state[name] = given.has(name) && isKnown ? given.get(name) : DEFAULTS[name];
    });
    return state;
  }

  function writeState(state) {
    var told = new URLSearchParams();
    Object.keys(DEFAULTS).forEach(function (name) {
      if (state[name] !== DEFAULTS[name]) { told.set(name, state[name]); }
    });
    var text = told.toString();
    history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
  }

  // ---- sorting --------------------------------------------------------------------------

  function prepare(table) {
    table.lines = Array.prototype.slice.call(table.tBodies[0].rows);
    table.sortable = Array.prototype.slice.call(table.querySelectorAll("th[data-key]"));
    table.sortable.forEach(function (header) {
      var button = document.createElement("button");
      button.type = "button";
      while (header.firstChild) { button.appendChild(header.firstChild); }
      header.appendChild(button);
      button.addEventListener("click", function () {
        var state = readState();
        var key = header.dataset.key;
        var first = firstDirection(header);
        if (state.sort !== key) { state.sort = key; state.dir = first; }
        else if (state.dir === first) { state.dir = first === "asc" ? "desc" : "asc"; }
        else { state.sort = ""; state.dir = ""; }  // the third press restores the page's order
        writeState(state);
        apply(state);
      });
    });
  }

  // The cell of a line that stands under a header of the (two-row) head.
  function positions(table) {
    var keys = {};
    var next = 0;
    var second = Array.prototype.slice.call(table.tHead.rows[1].cells);
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (header) {
      if (header.dataset.key) { keys[header.dataset.key] = next; next += 1; return; }
      for (var i = 0; i < header.colSpan; i += 1) {
        keys[second.shift().dataset.key] = next;
        next += 1;
      }
    });
    return keys;
  }

  function valueOf(line, position, isText) {
    var cell = line.cells[position];
    // The first node is the name or word itself; what follows are remarks.
    if (isText) { return cell.firstChild ? cell.firstChild.textContent.trim().toLowerCase() : null; }
    return cell.hasAttribute("data-k") ? Number(cell.dataset.k) : null;
  }

  function sortTable(table, state) {
    var chosen = null;
    table.sortable.forEach(function (header) {
      var isChosen = header.dataset.key === state.sort;
      if (isChosen) {
        chosen = header;
        header.setAttribute("aria-sort", state.dir === "asc" ? "ascending" : "descending");
      } else {
        header.removeAttribute("aria-sort");
      }
    });
    var lines = table.lines.slice();
    if (chosen) {
      var position = positions(table)[state.sort];
      var isText = chosen.dataset.sort === "text";
      var sign = state.dir === "asc" ? 1 : -1;
      var keyed = lines.map(function (line, index) {
        return { line: line, index: index, value: valueOf(line, position, isText) };
      });
      keyed.sort(function (a, b) {
        // Missing is last in both directions.
        if (a.value === null || b.value === null) {
          return (a.value === null) - (b.value === null) || a.index - b.index;
        }
        var order = isText ? a.value.localeCompare(b.value, "en") : a.value - b.value;
        return sign * order || a.index - b.index;
      });
      lines = keyed.map(function (entry) { return entry.line; });
    }
    table.tBodies[0].append.apply(table.tBodies[0], lines);
  }

  // ---- filtering ------------------------------------------------------------------------

  function isShown(line, state, words) {
    if (state.rows !== "all" && line.dataset.source !== state.rows) { return false; }
    if (state.track && line.dataset.track !== state.track) { return false; }
    var text = line.textContent.toLowerCase();
    return words.every(function (word) { return text.indexOf(word) >= 0; });
  }

  function filterTable(table, state) {
    var words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    table.lines.forEach(function (line) {
      line.hidden = !isShown(line, state, words);
      if (!line.hidden) { shown += 1; }
    });
    return shown;
  }

  function apply(state) {
    var shown = 0;
    var total = 0;
    tables.forEach(function (table) {
      var section = table.closest(".view");
      section.hidden = section.dataset.view !== state.view;
      sortTable(table, state);
      var count = filterTable(table, state);
      if (!section.hidden) { shown += count; total += table.lines.length; }
    });
    document.querySelectorAll(".boards").forEach(function (board) {
      board.hidden = !board.querySelector(".view:not([hidden])");
    });
    form.elements.view.value = state.view;
    form.elements.rows.value = state.rows;
    form.elements.track.value = state.track;
    if (form.elements.q.value !== state.q) { form.elements.q.value = state.q; }
    document.getElementById("count").textContent = shown + " of " + total + " rows";
  }

  // An address like #demo-dice, as links without this script use them, shows that table's view.
  function applyHash() {
    var name = location.hash.slice(1);
    var target = name && name.indexOf("=") < 0 ? document.getElementById(name) : null;
    if (!target) { apply(readState()); return; }
    var state = Object.assign({}, DEFAULTS);
    if (target.dataset.view) { state.view = target.dataset.view; }
    apply(state);
    target.scrollIntoView();
  }

  if (form && tables.length) {
    tables.forEach(prepare);
    form.hidden = false;
    form.addEventListener("input", function () {
      var state = readState();
      ["view", "rows", "track", "q"].forEach(function (name) {
        state[name] = form.elements[name].value;
      });
      writeState(state);
      apply(state);
    });
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("reset", function (event) {
      event.preventDefault();
      writeState(DEFAULTS);
      apply(DEFAULTS);
    });
    window.addEventListener("hashchange", applyHash);
    applyHash();
  }

  // ---- copying --------------------------------------------------------------------------

  function copyText(text) {
    if (navigator.clipboard && window.isSecureContext) { return navigator.clipboard.writeText(text); }
    var area = document.createElement("textarea");  // file:// is no secure context everywhere
    area.value = text;
    document.body.appendChild(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    return Promise.resolve();
  }

  document.querySelectorAll(".command").forEach(function (box) {
    var button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Copy";
    button.addEventListener("click", function () {
      copyText(box.querySelector("code").textContent).then(function () {
        button.textContent = "Copied";
        setTimeout(function () { button.textContent = "Copy"; }, 1500);
      });
    });
    box.appendChild(button);
  });
})();
