// Sets two to four rows of one benchmark beside each other: #m=rd4ad,padim&b=brain
// Here: what the address and the form ask for, and loading the benchmark's data. What two rows say of each
// other is in compare-pairs.js, the sections in compare-view.js, the copies in compare-copy.js; every number
// comes from the data, here they are turned round, written and laid out, never computed.
(function (compare) {
  "use strict";

  var holder = document.getElementById("index");
  if (!holder) { return; }
  var MOST = 4;
  var find = compare.find, h = compare.element;
  var index = JSON.parse(holder.textContent);
  var form = document.getElementById("choice");
  var told = document.getElementById("told");
  var place = document.getElementById("compared");
  var filled = null;  // the benchmark whose rows the form offers

  // ---- what is asked for ----------------------------------------------------------------

  function method(name) {
    return find(index.methods, function (each) { return each.k === name || each.l.indexOf(name) >= 0; });
  }

  function isOn(benchmark, each) { return benchmark.m.indexOf(index.methods.indexOf(each)) >= 0; }

  // Benchmark and rows of the address, and in words what of it makes no sense.
  function read() {
    var given = new URLSearchParams(location.hash.slice(1));
    var problems = [];
    var chosen = [];
    (given.get("m") || "").split(",").filter(Boolean).forEach(function (name) {
      var each = method(name);
      if (!each) { problems.push("No row here is called \u201c" + name + "\u201d, or it has no result."); }
      else if (chosen.indexOf(each) < 0) { chosen.push(each); }
    });
    if (chosen.length > MOST) {
      problems.push("Four rows are the most; " + chosen.slice(MOST).map(function (each) { return each.t; }).join(", ") +
        " was left out.");
      chosen = chosen.slice(0, MOST);
    }
    var asked = given.get("b");
    var benchmark = asked && find(index.benchmarks, function (each) { return each.b === asked || each.name === asked; });
    if (asked && !benchmark) { problems.push("No benchmark here is called \u201c" + asked + "\u201d with two rows to compare."); }
    benchmark = benchmark || fits(chosen);
    var absent = chosen.filter(function (each) { return !isOn(benchmark, each); });
    absent.forEach(function (each) {
      var others = index.benchmarks.filter(function (other) { return isOn(other, each); });
      problems.push(each.t + " has no result on " + benchmark.t + "; it has on " +
        others.map(function (other) { return other.t; }).join(", ") + ".");
    });
    return {
      benchmark: benchmark,
      keys: chosen.filter(function (each) { return isOn(benchmark, each); }).map(function (each) { return each.k; }),
      problems: problems
    };
  }

  // The first benchmark that has all of the rows, else the most of them.
  function fits(chosen) {
    var best = index.benchmarks[0], most = -1;
    index.benchmarks.forEach(function (each) {
      var count = chosen.filter(function (one) { return isOn(each, one); }).length;
      if (count > most) { best = each; most = count; }
    });
    return best;
  }

  function address(benchmark, keys) {
    return "#" + (keys.length ? "m=" + keys.map(encodeURIComponent).join(",") + "&" : "") +
      "b=" + encodeURIComponent(benchmark.b);
  }

  // ---- the form -------------------------------------------------------------------------

  function option(value, text) { return h("option", { value: value }, text); }

  function showForm(asked) {
    form.elements.b.value = asked.benchmark.b;
    for (var n = 0; n < MOST; n += 1) {
      var field = form.elements["m" + n];
      if (filled !== asked.benchmark) {
        field.textContent = "";
        field.append(option("", n < 2 ? "choose a row" : "none"));
        asked.benchmark.m.forEach(function (m) { field.append(option(index.methods[m].k, index.methods[m].t)); });
      }
      field.value = asked.keys[n] || "";
    }
    filled = asked.benchmark;
  }

  function choose() {
    var keys = [];
    for (var n = 0; n < MOST; n += 1) {
      var key = form.elements["m" + n].value;
      if (key && keys.indexOf(key) < 0) { keys.push(key); }
    }
    var benchmark = find(index.benchmarks, function (each) { return each.b === form.elements.b.value; });
    location.hash = address(benchmark, keys);
  }

  // ---- all together ---------------------------------------------------------------------

  function load(benchmark, then) {
    function loaded() { return (window.bmadCompare || {})[benchmark.name]; }
    if (loaded()) { then(loaded()); return; }
    var script = h("script", { src: benchmark.src });
    script.addEventListener("load", function () { then(loaded()); });
    script.addEventListener("error", function () { then(null); });
    document.head.append(script);
  }

  function show(data, asked) {
    place.textContent = "";
    if (!data) {
      told.textContent = "The data of " + asked.benchmark.t + " (" + asked.benchmark.src + ") could not be loaded.";
      return;
    }
    var chosen = [];
    asked.keys.forEach(function (key) {
      data.methods.forEach(function (each, i) { if (each.key === key) { chosen.push(i); } });
    });
    var parts = chosen.length === 1 ? compare.againstAll(data, chosen[0], function (key) {
      return address(asked.benchmark, [data.methods[chosen[0]].key, key]);
    }) : [compare.copies(data, chosen)].concat(compare.sections.map(function (section) { return section(data, chosen); }));
    parts.forEach(function add(part) { if (Array.isArray(part)) { part.forEach(add); } else if (part) { place.append(part); } });
    document.title = chosen.map(function (i) { return data.methods[i].label; }).join(", ") + " on " + data.benchmark;
  }

  function render() {
    var asked = read();
    showForm(asked);
    told.textContent = asked.problems.join(" ");
    document.getElementById("verdicts").hidden = asked.keys.length > 0;
    Array.prototype.forEach.call(document.querySelectorAll(".of-benchmark"), function (each) {
      each.hidden = each.dataset.b !== asked.benchmark.b;
    });
    if (!asked.keys.length) { place.textContent = ""; return; }
    load(asked.benchmark, function (data) {
      // Another choice may have been made while the data came.
      if (address(asked.benchmark, asked.keys) === address(read().benchmark, read().keys)) { show(data, asked); }
    });
  }

  index.benchmarks.forEach(function (each) { form.elements.b.append(option(each.b, each.t)); });
  form.hidden = false;
  form.addEventListener("change", choose);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  window.addEventListener("hashchange", render);
  render();
})(window.bmadComparing);
