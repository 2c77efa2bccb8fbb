// Sorting, filtering, choosing curves and copying over pages that are complete without this script.
// A classic script, because modules and fetch() do not work from file://.
// The state lives in location.hash, so that every view has an address:
//   #view=dice&rows=measured&track=open&bench=brain&q=pad&sort=brain.image_auroc&dir=desc
//   #curves=patchcore,rd4ad
(function () {
  "use strict";

  var DEFAULTS = {
    view: "localisation", rows: "all", bench: "", track: "", isolation: "", methods: "", family: "", pre: "", labels: "",
    seen: "", maps: "", q: "", sort: "", dir: ""
  };
  var CHOICES = ["view", "rows", "bench", "track", "isolation", "methods", "family", "pre", "labels", "seen", "maps", "q"];
  var form = document.getElementById("filters");
  var tables = list(document, "table[data-table]");

  function list(root, selector) { return Array.prototype.slice.call(root.querySelectorAll(selector)); }

  // Columns start with the order a reader wants: the best first, but names from A and cost from 0.
  function firstDirection(header) {
    var isAscending = header.dataset.sort === "text" || header.dataset.first === "asc" ||
      /\.seconds$/.test(header.dataset.key);
    return isAscending ? "asc" : "desc";
  }

  // What the form offers under a name; null where anything may be typed.
  function offered(name) {
    var field = form && form.elements[name];
    if (!field || field.type === "search") { return null; }
    return Array.prototype.map.call(field.options || field, function (each) { return each.value; });
  }

  function readState() {
    var given = new URLSearchParams(location.hash.slice(1));
    var state = {};
    Object.keys(DEFAULTS).forEach(function (name) {
      var values = offered(name);
      var isKnown = given.has(name) && (!values || values.indexOf(given.get(name)) >= 0);
      state[name] = isKnown ? given.get(name) : DEFAULTS[name];
    });
    if (state.dir !== "asc" && state.dir !== "desc") { state.sort = state.dir = ""; }
    return state;
  }

  function writeState(state) {
    var told = new URLSearchParams();
    Object.keys(DEFAULTS).forEach(function (name) {
      if (state[name] !== DEFAULTS[name]) { told.set(name, state[name]); }
    });
    writeHash(told.toString());
  }

  function writeHash(text) {
    history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
  }

  // ---- sorting --------------------------------------------------------------------------

  // By key of a column, "Brain MRI: Image AUROC": where its group's head is not in sight.
  function columnNames(table) {
    var names = {};
    var second = Array.prototype.slice.call(table.tHead.rows[1].cells);
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (header) {
      if (header.dataset.key) { names[header.dataset.key] = header.textContent.trim(); return; }
      second.splice(0, header.colSpan).forEach(function (column) {
        names[column.dataset.key] = header.textContent.trim() + ": " + column.textContent.trim();
      });
    });
    return names;
  }

  // A card a row, where the window is too narrow for columns: each cell says what it is, and a list
  // stands in for the heads that sort.
  function prepareCards(table) {
    var isOfOne = list(table, "th[data-group]").length === 1;
    var chooser = document.createElement("select");
    chooser.append(new Option("the page's order", ""));
    table.sortable.forEach(function (header) {
      var key = header.dataset.key;
      var name = isOfOne ? header.textContent.trim() : table.names[key];
      chooser.append(new Option(name, key));
      table.lines.forEach(function (line) { line.cells[table.places[key]].dataset.label = name; });
    });
    chooser.addEventListener("change", function () {
      var state = readState();
      var header = table.sortable.find(function (each) { return each.dataset.key === chooser.value; });
      state.sort = chooser.value;
      state.dir = header ? firstDirection(header) : "";
      writeState(state);
      apply(state);
    });
    var label = document.createElement("label");
    label.className = "field sorter";
    label.append("Order by", chooser);
    table.chooser = chooser;
    table.classList.add("stacked");
    table.parentNode.before(label);
  }

  function prepare(table) {
    table.lines = list(table, "tbody tr[data-source]");
    table.headings = list(table, "tbody tr.heading");
    table.lines.forEach(function (line) { line.section = line.parentNode; });
    table.sortable = list(table, "th[data-key]");
    table.places = positions(table);
    table.names = columnNames(table);
    prepareCards(table);
    table.sortable.forEach(function (header) {
      var button = document.createElement("button");
      button.type = "button";
      // It lies over the head, whose text stays where it is: print repeats texts, not buttons.
      button.setAttribute("aria-label", "Sort by " + table.names[header.dataset.key]);
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

  // By key of a column (and of a group: first and last), the place of its cells in a line.
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
      if (header.dataset.key === state.sort) {
        chosen = header;
        header.setAttribute("aria-sort", state.dir === "asc" ? "ascending" : "descending");
      } else {
        header.removeAttribute("aria-sort");
      }
    });
    table.chooser.value = chosen ? state.sort : "";
    var lines = table.lines.slice();
    if (chosen) {
      var position = table.places[state.sort];
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
    // Sorted lines stand in one order across the sections; the page's own order is by section.
    table.isSorted = Boolean(chosen);
    lines.forEach(function (line) { (chosen ? table.tBodies[0] : line.section).append(line); });
  }

  // ---- filtering ------------------------------------------------------------------------

  function isShown(line, state, words) {
    var told = line.dataset;
    if (state.rows === "paper" && told.source !== "paper") { return false; }
    if (state.rows === "measured" && told.source === "paper") { return false; }
    if (state.track && told.track !== state.track) { return false; }
    if (state.isolation && told.isolation !== state.isolation) { return false; }
    if (state.methods && told.methods !== state.methods) { return false; }
    if (state.family && told.family !== state.family) { return false; }
    if (state.pre && told.pre !== state.pre) { return false; }
    if (state.labels && told.labels !== state.labels) { return false; }
    if (state.seen && told.seen !== state.seen) { return false; }
    if (state.maps && told.maps !== state.maps) { return false; }
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
    table.headings.forEach(function (heading) {
      heading.hidden = table.isSorted || table.lines.every(function (line) {
        return line.hidden || line.section !== heading.parentNode;
      });
    });
    return shown;
  }

  // Show the columns of one benchmark alone; true where the table has it.
  function filterColumns(table, bench) {
    var hasBench = !bench;
    list(table, "th[data-group]").forEach(function (group) {
      var isOn = !bench || group.dataset.group === bench;
      if (isOn) { hasBench = true; }
      group.hidden = !isOn;
    });
    if (table.bench !== bench) {
      table.bench = bench;
      table.sortable.forEach(function (header) {
        if (header.parentNode.rowIndex !== 1) { return; }
        var isOn = !bench || header.dataset.key.indexOf(bench + ".") === 0;
        var place = table.places[header.dataset.key];
        header.hidden = !isOn;
        table.lines.forEach(function (line) { line.cells[place].hidden = !isOn; });
      });
    }
    return hasBench;
  }

  // Whether a table of the chosen view has the column that sorts: another view's is no order here.
  function isSortable(state) {
    return tables.some(function (table) {
      var section = table.closest(".view");
      return section && section.dataset.view === state.view && state.sort in table.places;
    });
  }

  function apply(state) {
    var shown = 0;
    var total = 0;
    tables.forEach(function (table) {
      var section = table.closest(".view");
      sortTable(table, state);
      if (!section || !form) { return; }
      var hasBench = filterColumns(table, state.bench);
      section.hidden = section.dataset.view !== state.view || !hasBench;
      var count = filterTable(table, state);
      if (!section.hidden) { shown += count; total += table.lines.length; }
    });
    if (!form) { return; }
    list(document, ".boards").forEach(function (board) {
      board.hidden = !board.querySelector(".view:not([hidden])");
    });
    CHOICES.forEach(function (name) {
      var field = form.elements[name];
      if (field && field.value !== state[name]) { field.value = state[name]; }
    });
    document.getElementById("count").textContent = shown + " of " + total + " rows";
  }

  // An address like #demo-dice or #six-dice.padim.trained-here.container, as links without this
  // script use them: shows that table's view.
  function applyHash() {
    var name = location.hash.slice(1);
    try { name = decodeURIComponent(name); } catch (error) { name = ""; }  // a lone % is no escape
    var target = name && name.indexOf("=") < 0 ? document.getElementById(name) : null;
    if (!target) { apply(readState()); return; }
    var state = Object.assign({}, DEFAULTS);
    var view = target.closest(".view");
    if (view) { state.view = view.dataset.view; }
    apply(state);
    target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
  }

  if (tables.length) {
    tables.forEach(prepare);
    window.addEventListener("hashchange", applyHash);
  }
  if (form) {
    form.hidden = false;
    form.addEventListener("input", function () {
      var state = readState();
      CHOICES.forEach(function (name) {
        if (form.elements[name]) { state[name] = form.elements[name].value; }
      });
      if (!isSortable(state)) { state.sort = state.dir = ""; }
      writeState(state);
      apply(state);
    });
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("reset", function (event) {
      event.preventDefault();
      writeState(DEFAULTS);
      apply(DEFAULTS);
    });
  }
  if (tables.length) { applyHash(); }

  // ---- regimes: the other page keeps what is filtered here -------------------------------

  list(document, ".regimes a").forEach(function (link) {
    link.addEventListener("click", function () {
      if (form && location.hash.indexOf("=") > 0) { link.hash = location.hash; }
    });
  });

  // ---- curves ---------------------------------------------------------------------------

  var legend = document.getElementById("curve-choices");

  function chooseCurves() {
    var chosen = list(legend, "input:checked").map(function (box) { return box.value; });
    showCurves();
    writeHash("curves=" + chosen.map(encodeURIComponent).join(","));
  }

  function showCurves() {
    list(legend, "li").forEach(function (item) {
      var isOn = item.querySelector("input").checked;
      item.classList.toggle("off", !isOn);
      list(document, '.curve [data-s="' + item.dataset.s + '"]').forEach(function (line) {
        line.classList.toggle("off", !isOn);
      });
    });
  }

  function readCurves() {
    var given = new URLSearchParams(location.hash.slice(1)).get("curves");
    if (given === null) { return; }
    var names = given.split(",");
    list(legend, "input").forEach(function (box) { box.checked = names.indexOf(box.value) >= 0; });
    showCurves();
    document.getElementById("curves").scrollIntoView();
  }

  if (legend) {
    list(legend, "li").forEach(function (item) {
      var label = document.createElement("label");
      var box = document.createElement("input");
      box.type = "checkbox";
      box.value = item.dataset.name;
      box.checked = !item.classList.contains("off");
      box.setAttribute("aria-label", "Curves of " + item.querySelector("a").textContent);
      label.append(box, " ", item.querySelector("svg"));
      item.prepend(label);
      box.addEventListener("change", chooseCurves);
    });
    legend.classList.add("with-choices");
    window.addEventListener("hashchange", readCurves);
    readCurves();
  }

  // ---- copying --------------------------------------------------------------------------

  function copyText(text) {
    if (navigator.clipboard && window.isSecureContext) {
      return navigator.clipboard.writeText(text).catch(function () { copyBySelection(text); });
    }
    copyBySelection(text);
    return Promise.resolve();
  }

  function copyBySelection(text) {  // file:// is no secure context everywhere
    var area = document.createElement("textarea");
    area.value = text;
    document.body.appendChild(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  function copies(button, text) {
    var told = button.textContent;
    button.addEventListener("click", function () {
      copyText(text()).then(function () {
        button.textContent = "Copied";
        setTimeout(function () { button.textContent = told; }, 1500);
      });
    });
  }

  window.bmadCopies = copies;  // the compare page has buttons of its own

  list(document, ".command").forEach(function (box) {
    var button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Copy";
    copies(button, function () { return box.querySelector("code").textContent; });
    box.appendChild(button);
  });
  var link = document.getElementById("copy-link");
  if (link) { copies(link, function () { return location.href; }); }
})();
