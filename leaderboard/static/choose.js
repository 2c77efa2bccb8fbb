// A box beside every measured row, and a bar that leads to the page that compares the ticked ones.
// Tables are complete without it; the compare page is also reached from its own link.
(function () {
  "use strict";

  var MOST = 4;
  var script = document.currentScript;
  var page = new URL("../compare.html", script.src).href;
  var chosen = [];  // {key, name}, in the order of ticking
  var boxes = [];
  var bar = document.createElement("div");
  var told = document.createElement("p");
  var go = document.createElement("a");
  var clear = document.createElement("button");

  // Six-localisation.padim.trained-here.container: the row is what follows the table's name.
  function keyOf(line) { return line.id.slice(line.id.indexOf(".") + 1); }

  function benchmark() {
    if (script.dataset.b) { return script.dataset.b; }
    var field = document.querySelector("#filters [name=bench]");
    return field ? field.value : "";
  }

  function address() {
    var keys = chosen.map(function (each) { return encodeURIComponent(each.key); }).join(",");
    var b = benchmark();
    return page + "#m=" + keys + (b ? "&b=" + encodeURIComponent(b) : "");
  }

  function show() {
    var keys = chosen.map(function (each) { return each.key; });
    boxes.forEach(function (box) {
      box.checked = keys.indexOf(box.value) >= 0;
      box.disabled = !box.checked && chosen.length >= MOST;
    });
    bar.hidden = !chosen.length;
    told.textContent = chosen.map(function (each) { return each.name; }).join(", ") +
      (chosen.length >= MOST ? " (four is the most)" : "");
    go.textContent = chosen.length === 1 ? "Compare with all others" : "Compare " + chosen.length;
    go.href = address();
  }

  function change(box, name) {
    chosen = chosen.filter(function (each) { return each.key !== box.value; });
    if (box.checked) { chosen.push({ key: box.value, name: name }); }
    show();
  }

  document.querySelectorAll("table[data-table] tr[data-source='measured']").forEach(function (line) {
    var cell = line.querySelector("th[scope='row']");
    var name = cell.querySelector(".name").textContent;
    var label = document.createElement("label");
    var box = document.createElement("input");
    label.className = "choose";
    box.type = "checkbox";
    box.value = keyOf(line);
    box.setAttribute("aria-label", "Compare " + name);
    box.addEventListener("change", function () { change(box, name); });
    label.append(box);
    // After the name: what stands first in the cell is what the table sorts by.
    cell.insertBefore(label, cell.querySelector(".here"));
    boxes.push(box);
  });
  if (!boxes.length) { return; }

  bar.className = "chosen";
  bar.hidden = true;
  bar.setAttribute("role", "region");
  bar.setAttribute("aria-label", "Rows to compare");
  told.setAttribute("role", "status");
  go.className = "go";
  go.addEventListener("click", function () { go.href = address(); });  // the filter may have changed
  clear.type = "button";
  clear.className = "quiet";
  clear.textContent = "Clear";
  clear.addEventListener("click", function () { chosen = []; show(); });
  bar.append(told, go, clear);
  document.body.append(bar);
  show();
})();
