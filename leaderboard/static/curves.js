// Which curves a benchmark's page draws: a box beside each name, and the choice in the address.
//   #curves=patchcore,rd4ad
(function () {
  "use strict";

  function list(root, selector) { return Array.prototype.slice.call(root.querySelectorAll(selector)); }

  var legend = document.getElementById("curve-choices");

  function chooseCurves() {
    var chosen = list(legend, "input:checked").map(function (box) { return box.value; });
    showCurves();
    history.replaceState(null, "", "#curves=" + chosen.map(encodeURIComponent).join(","));
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
    if (!given) { return; }  // #curves alone is the section
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
})();
