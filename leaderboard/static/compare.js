// Sets two to four rows of one benchmark beside each other: #m=rd4ad,padim&b=brain
// Every number comes from the data, one classic script a benchmark (data/compare/brain.js, see
// leaderboard/compare_data.py): here they are turned round, written and laid out, never computed.
(function () {
  "use strict";

  var holder = document.getElementById("index");
  if (!holder) { return; }
  var MOST = 4, UNIT = 10000, MINUS = "\u2212";
  var index = JSON.parse(holder.textContent);
  var form = document.getElementById("choice");
  var told = document.getElementById("told");
  var place = document.getElementById("compared");
  var costHeads = place.dataset.cost.split("|");
  var filled = null;  // the benchmark whose rows the form offers

  // ---- pieces of the page ---------------------------------------------------------------

  function h(tag, attributes) {
    var made = document.createElement(tag);
    fill(made, attributes, Array.prototype.slice.call(arguments, 2));
    return made;
  }

  function s(tag, attributes) {
    var made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    fill(made, attributes, Array.prototype.slice.call(arguments, 2));
    return made;
  }

  function fill(made, attributes, children) {
    Object.keys(attributes || {}).forEach(function (name) { made.setAttribute(name, attributes[name]); });
    children.forEach(function add(child) {
      if (Array.isArray(child)) { child.forEach(add); } else if (child !== null && child !== "") { made.append(child); }
    });
  }

  function table(name, heads, lines) {
    return h("div", { "class": "scroll", role: "region", tabindex: "0", "aria-label": name },
      h("table", { "class": "numbers beside" },
        h("thead", null, h("tr", null, heads.map(function (each) { return h("th", { scope: "col" }, each); }))),
        h("tbody", null, lines)));
  }

  function line(head, cells) { return h("tr", null, h("th", { scope: "row" }, head), cells); }

  // ---- what is asked for ----------------------------------------------------------------

  function find(list, test) {
    for (var i = 0; i < list.length; i += 1) { if (test(list[i])) { return list[i]; } }
    return null;
  }

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

  // ---- pairs ----------------------------------------------------------------------------

  function points(value, isSigned) {
    var text = (Math.abs(value) / 100).toFixed(2);
    if (value < 0) { return MINUS + text; }
    return isSigned && value > 0 ? "+" + text : text;
  }

  function turned(value) { return value === null ? null : -value; }

  // Of metric n the pair of rows i and j: who is better, and difference, low and high of i less j.
  function pairOf(data, n, i, j) {
    if (i > j) {
      var back = pairOf(data, n, j, i);
      return {
        known: { "+": "-", "-": "+" }[back.known] || back.known,
        difference: turned(back.difference), low: turned(back.high), high: turned(back.low)
      };
    }
    var count = data.methods.length;
    var at = i * count - i * (i + 1) / 2 + j - i - 1;
    var numbers = data.pairs[n].numbers.slice(3 * at, 3 * at + 3);
    return { known: data.pairs[n].known.charAt(at), difference: numbers[0], low: numbers[1], high: numbers[2] };
  }

  function span(pair) {
    if (pair.difference === null) { return ""; }
    return pair.low === null ? " [NA: too few patients]" : " [" + points(pair.low) + ", " + points(pair.high) + "]";
  }

  function whyNot(data, n, one, other) {
    var without = find([one, other], function (each) { return each.values[n].length < 4; });
    if (without) { return without.label + " has no value: " + (without.values[n][1] || without.values[n][0]); }
    var unranked = find([one, other], function (each) { return each.unranked; });
    if (unranked) {
      return unranked.label + " takes no rank (" + unranked.unranked + "); python -m harness.compare on the machine" +
        " that ran both compares them for its own site";
    }
    if (one.track !== other.track) { return "they are of two tracks, which are never ranked together"; }
    return data.none || "the stored comparison has no differences; python -m harness.compare makes it anew";
  }

  // One sentence, and its class.
  function verdict(data, n, i, j) {
    var pair = pairOf(data, n, i, j);
    var one = data.methods[i], other = data.methods[j];
    if (pair.known === "-") { return verdict(data, n, j, i); }
    if (pair.known === "?") { return { is: "is-missing", text: "not compared: " + whyNot(data, n, one, other) + "." }; }
    if (pair.known === "+") {
      var by = pair.difference === null ? "" : " by " + points(pair.difference) + " points" + span(pair);
      return { is: "is-real", text: one.label + " is better than " + other.label + by + "." };
    }
    var apart = pair.difference === null ? "" : ": " + points(pair.difference, true) + " points" + span(pair);
    var alone = pair.known === "~" ? " The interval of this pair alone leaves 0 out; after Holm\u2019s correction over all pairs nothing is decided." : "";
    return { is: "is-open", text: one.label + " and " + other.label + " cannot be told apart" + apart + "." + alone };
  }

  function pairsOf(chosen) {
    var found = [];
    chosen.forEach(function (i, n) { chosen.slice(n + 1).forEach(function (j) { found.push([i, j]); }); });
    return found;
  }

  // ---- sections -------------------------------------------------------------------------

  function verdicts(data, chosen) {
    return [h("h2", null, "Verdict"), pairsOf(chosen).map(function (pair) {
      return h("ul", { "class": "verdict-list" }, data.headline.map(function (n) {
        var found = verdict(data, n, pair[0], pair[1]);
        return h("li", { "class": found.is }, h("b", null, data.metrics[n].title), ": " + found.text);
      }));
    }), h("p", { "class": "facts" }, [data.unit, data.leftOut].filter(Boolean).join(" "))];
  }

  function againstAll(data, i, asked) {
    var lines = data.methods.map(function (other, j) {
      if (j === i) { return null; }
      var link = h("a", { href: address(asked.benchmark, [data.methods[i].key, other.key]) }, other.label);
      return line(link, data.headline.map(function (n) { return h("td", null, verdict(data, n, i, j).text); }));
    });
    var heads = ["Beside"].concat(data.headline.map(function (n) { return data.metrics[n].title; }));
    return [h("h2", null, data.methods[i].label + " and all others"),
      h("p", { "class": "facts" }, "Choose a second row above, or follow its name. " + data.unit),
      table("Verdicts of " + data.methods[i].label, heads, lines)];
  }

  function heads(data, chosen, first) {
    return [first].concat(chosen.map(function (i) {
      var each = data.methods[i];
      return [h("a", { href: each.page }, each.label), h("small", null, each.made),
        each.unranked ? h("small", null, "unranked: " + each.unranked) : null];
    }));
  }

  function metrics(data, chosen) {
    var lines = data.metrics.map(function (metric, n) {
      return line(h("span", { title: metric.meaning }, metric.title), chosen.map(function (i) {
        var value = data.methods[i].values[n];
        return h("td", { "class": value.length < 4 ? "is-na" : "mean" }, value[0],
          value.slice(1).filter(Boolean).map(function (text) { return h("small", null, text); }));
      }));
    });
    return [h("h2", null, "Metrics"),
      h("p", { "class": "facts" }, "Percent: mean over seeds, standard deviation over seeds, 95 % interval of the mean over patients or images. " + data.packs),
      table("Metrics", heads(data, chosen, "Metric"), lines)];
  }

  function differences(data, chosen) {
    var pairs = pairsOf(chosen);
    var lines = data.metrics.map(function (metric, n) {
      return line(metric.title, pairs.map(function (pair) {
        var found = pairOf(data, n, pair[0], pair[1]);
        if (found.known === "?") { return h("td", { "class": "is-na" }, "not compared"); }
        var better = { "+": data.methods[pair[0]].label + " is better", "-": data.methods[pair[1]].label + " is better" };
        return h("td", { "class": "mean" }, found.difference === null ? "withheld" : points(found.difference, true),
          span(found) ? h("small", null, span(found).trim()) : null,
          h("small", null, better[found.known] || "cannot be told apart"));
      }));
    });
    var names = ["Metric"].concat(pairs.map(function (pair) {
      return data.methods[pair[0]].label + " less " + data.methods[pair[1]].label;
    }));
    return [h("h2", null, "Differences"),
      h("p", { "class": "facts" }, "Points, with the 95 % interval of the difference itself."),
      table("Differences", names, lines)];
  }

  var DASHES = ["", "7 3", "2 2.5", "9 3 2 3"];
  var LEFT = 42, TOP = 8, SIDE = 240;

  function curve(head, members, n) {
    function x(value) { return (LEFT + SIDE * value / UNIT / head.limit).toFixed(1); }
    function y(value) { return (TOP + SIDE * (1 - value / UNIT)).toFixed(1); }
    function path(xs, ys) { return xs.map(function (v, k) { return x(v) + "," + y(ys[k]); }); }
    var drawn = s("svg", { viewBox: "0 0 300 294", role: "img", "aria-label": head.title + ": " +
      members.map(function (each) { return each.label; }).join(", ") });
    [0, 0.25, 0.5, 0.75, 1].forEach(function (share) {
      var across = x(share * head.limit * UNIT), up = y(share * UNIT);
      drawn.append(s("path", { d: "M" + LEFT + "," + up + "h" + SIDE + "M" + across + "," + TOP + "v" + SIDE, stroke: "var(--rule)" }),
        s("text", { x: LEFT - 5, y: Number(up) + 4, "text-anchor": "end" }, String(share)),
        s("text", { x: across, y: TOP + SIDE + 15, "text-anchor": "middle" }, String(Number((share * head.limit).toFixed(3)))));
    });
    drawn.append(s("text", { "class": "axis", x: LEFT + SIDE / 2, y: 288, "text-anchor": "middle" }, head.x),
      s("text", { "class": "axis", transform: "translate(11," + (TOP + SIDE / 2) + ") rotate(-90)", "text-anchor": "middle" }, head.y));
    members.forEach(function (each, k) {
      var found = each.curves && each.curves.lines[n];
      if (!found) { return; }
      if (found.b) {
        var edge = path(found.b, found.h).concat(path(found.b, found.l).reverse());
        drawn.append(s("polygon", { points: edge.join(" "), fill: "var(--s" + k + ")", "fill-opacity": "0.14" }));
      }
      drawn.append(s("polyline", { points: path(found.x, found.y).join(" "), fill: "none", stroke: "var(--s" + k + ")",
        "stroke-width": "1.8", "stroke-dasharray": DASHES[k] || "none", "data-s": k }));
    });
    return h("figure", null, h("figcaption", null, head.title), drawn);
  }

  function curves(data, chosen) {
    var members = chosen.map(function (i) { return data.methods[i]; });
    var kinds = data.curves.map(function (head, n) { return n; }).filter(function (n) {
      return members.some(function (each) { return each.curves && each.curves.lines[n]; });
    });
    if (!kinds.length) { return [h("h2", null, "Curves"), h("p", { "class": "facts" }, "No curves of these rows are here.")]; }
    var legend = members.map(function (each, k) {
      var swatch = s("svg", { "class": "swatch", viewBox: "0 0 30 8", width: "30", height: "8", "aria-hidden": "true" },
        s("line", { x1: "1", y1: "4", x2: "29", y2: "4", stroke: "var(--s" + k + ")", "stroke-width": "2.5", "stroke-dasharray": DASHES[k] || "none" }));
      return h("li", null, swatch, " " + each.label + (each.curves ? ", seed " + each.curves.seed : ": none"));
    });
    return [h("h2", null, "Curves"), h("ul", { "class": "legend" }, legend),
      h("div", { "class": "overlaid" }, kinds.map(function (n) { return curve(data.curves[n], members, n); }))];
  }

  function picture(src, image, alt, caption) {
    return h("figure", null, h("img", { src: src, alt: alt, width: image.width, height: image.height, loading: "lazy" }),
      h("figcaption", null, caption));
  }

  function pictures(data, chosen) {
    var title = h("h2", { id: "pictures" }, "The same images");
    if (!data.images.length) { return [title, h("p", { "class": "facts" }, data.noPictures || "No pictures of these rows are here.")]; }
    return [title,
      h("p", { "class": "facts" }, "In their own size. Every map runs from the lowest to the highest value of its own run."),
      data.images.map(function (image, n) {
        var own = picture(image.src, image, image.alt, image.title + (image.outlined ? ", lesion outlined" : ""));
        return h("div", { "class": "full-size" }, h("div", null, own, chosen.map(function (i) {
          var each = data.methods[i], found = each.maps[n];
          var said = [h("b", null, each.label), found && found[1] ? h("span", null, " " + found[1]) : null];
          if (found && found[0]) { return picture(found[0], image, "Anomaly map of " + each.label, said); }
          return h("figure", null, h("figcaption", null, said, found ? "" : " has no picture of it"));
        })));
      })];
  }

  function cost(data, chosen) {
    var lines = costHeads.map(function (head, n) {
      if (!chosen.some(function (i) { return data.methods[i].cost[n]; })) { return null; }
      return line(head, chosen.map(function (i) { return h("td", null, data.methods[i].cost[n] || "\u2013"); }));
    });
    return [h("h2", null, "Cost"), table("Cost", heads(data, chosen, "Per run"), lines)];
  }

  function params(data, chosen) {
    var title = h("h2", null, "Hyper-parameters that differ");
    var members = chosen.map(function (i) { return data.methods[i]; });
    var names = {};
    members.forEach(function (each) { Object.keys(each.params).forEach(function (name) { names[name] = true; }); });
    var all = Object.keys(names).sort();
    if (!all.length) { return [title, h("p", { "class": "facts" }, "No record of these rows may be shown, so none is known.")]; }
    function value(each, name) {
      return Object.prototype.hasOwnProperty.call(each.params, name) ? each.params[name] : "\u2013";
    }
    var differing = all.filter(function (name) {
      return members.some(function (each) { return value(each, name) !== value(members[0], name); });
    });
    if (!differing.length) { return [title, h("p", { "class": "facts" }, "All " + all.length + " are equal.")]; }
    return [title, table("Hyper-parameters", heads(data, chosen, "Name"), differing.map(function (name) {
      return line(name, members.map(function (each) { return h("td", null, value(each, name)); }));
    })), h("p", { "class": "facts" }, (all.length - differing.length) + " others are equal.")];
  }

  function commands(data, chosen) {
    return [h("h2", null, "Rerun"), chosen.map(function (i) {
      var each = data.methods[i];
      if (!each.command) { return h("p", { "class": "facts" }, each.label + ": no record may be shown, so no command."); }
      return [h("h3", null, each.label), h("div", { "class": "command" },
        h("pre", { tabindex: "0" }, h("code", null, each.command)), copying("Copy", function () { return each.command; }))];
    })];
  }

  // ---- taking it along ------------------------------------------------------------------

  function copying(text, made) {
    var button = h("button", { type: "button", "class": "quiet" }, text);
    window.bmadCopies(button, made);
    return button;
  }

  function sentences(data, chosen) {
    var found = [];
    pairsOf(chosen).forEach(function (pair) {
      data.headline.forEach(function (n) { found.push(data.metrics[n].title + ": " + verdict(data, n, pair[0], pair[1]).text); });
    });
    return found;
  }

  // Of a metric the cells of all rows, then of each pair difference and interval.
  function cells(data, chosen, n, mark) {
    var values = chosen.map(function (i) {
      var value = data.methods[i].values[n];
      return value.length < 4 ? "NA" : value[0] + (/^\u00b1/.test(value[1]) ? " " + value[1] : "");
    });
    return values.map(mark).concat(pairsOf(chosen).map(function (pair) {
      var found = pairOf(data, n, pair[0], pair[1]);
      return found.known === "?" || found.difference === null ? "\u2013" : mark(points(found.difference, true) + span(found));
    }));
  }

  function latex(data, chosen) {
    function mark(text) { return text.replace(/\u2212/g, "$-$").replace(/\u00b1/g, "$\\pm$"); }
    var names = chosen.map(function (i) { return data.methods[i].tex; });
    pairsOf(chosen).forEach(function (pair) { names.push(data.methods[pair[0]].tex + " less " + data.methods[pair[1]].tex); });
    return ["% " + data.benchmark + ", " + data.packs, "% " + location.href].concat(
      data.isMadeUp ? ["% made-up data: nothing was measured"] : [],
      sentences(data, chosen).map(function (text) { return "% " + text; }),
      ["% needs \\usepackage{booktabs}", "\\begin{tabular}{l" + names.map(function () { return "r"; }).join("") + "}",
        "\\toprule", ["Metric"].concat(names).join(" & ") + " \\\\", "\\midrule"],
      data.metrics.map(function (metric, n) {
        return [metric.tex].concat(cells(data, chosen, n, mark)).join(" & ").replace(/\u2013/g, "--") + " \\\\";
      }),
      ["\\bottomrule", "\\end{tabular}", ""]).join("\n");
  }

  function markdown(data, chosen) {
    function same(text) { return text; }
    var names = chosen.map(function (i) { return data.methods[i].md; });
    pairsOf(chosen).forEach(function (pair) { names.push(data.methods[pair[0]].md + " less " + data.methods[pair[1]].md); });
    function row(parts) { return "| " + parts.join(" | ") + " |"; }
    return [row(["Metric"].concat(names)), row(["---"].concat(names.map(function () { return "---:"; })))].concat(
      data.metrics.map(function (metric, n) { return row([metric.title].concat(cells(data, chosen, n, same))); }),
      ["", data.benchmark + ", " + data.packs + (data.isMadeUp ? ". Made-up data: nothing was measured." : ""), ""],
      sentences(data, chosen).map(function (text) { return "- " + text; }), [""]).join("\n");
  }

  function bibtex(data, chosen) {
    var commits = {};
    chosen.forEach(function (i) { data.methods[i].commits.forEach(function (each) { commits[each] = true; }); });
    return chosen.map(function (i) { return data.methods[i].bib; }).concat([data.pack],
      Object.keys(commits).map(function (each) { return data.commits[each]; })).join("\n\n") + "\n";
  }

  function copies(data, chosen) {
    return h("div", { "class": "copy-row", role: "group", "aria-label": "Copy this comparison" },
      copying("Copy link", function () { return location.href; }),
      copying("Copy LaTeX", function () { return latex(data, chosen); }),
      copying("Copy Markdown", function () { return markdown(data, chosen); }),
      copying("Copy BibTeX", function () { return bibtex(data, chosen); }));
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
    var parts = chosen.length === 1 ? [againstAll(data, chosen[0], asked)] : [
      copies(data, chosen), verdicts(data, chosen), metrics(data, chosen), differences(data, chosen), curves(data, chosen),
      pictures(data, chosen), cost(data, chosen), params(data, chosen), commands(data, chosen)
    ];
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
})();
