// Takes a comparison along: as a link, a table in LaTeX or Markdown, or what to cite as BibTeX.
(function (compare) {
  "use strict";

  function copying(text, made) {
    var button = compare.element("button", { type: "button", "class": "quiet" }, text);
    window.bmadCopies(button, made);
    return button;
  }

  function sentences(data, chosen) {
    var found = [];
    compare.pairsOf(chosen).forEach(function (pair) {
      data.headline.forEach(function (n) { found.push(data.metrics[n].title + ": " + compare.verdict(data, n, pair[0], pair[1]).text); });
    });
    return found;
  }

  // Of a metric the cells of all rows, then of each pair difference and interval.
  function cells(data, chosen, n, mark) {
    var values = chosen.map(function (i) {
      var value = data.methods[i].values[n];
      return value.length < 4 ? "NA" : value[0] + (/^\u00b1/.test(value[1]) ? " " + value[1] : "");
    });
    return values.map(mark).concat(compare.pairsOf(chosen).map(function (pair) {
      var found = compare.pairOf(data, n, pair[0], pair[1]);
      return found.known === "?" || found.difference === null ? "\u2013" : mark(compare.points(found.difference, true) + compare.span(found));
    }));
  }

  function latex(data, chosen) {
    function mark(text) { return text.replace(/\u2212/g, "$-$").replace(/\u00b1/g, "$\\pm$"); }
    var names = chosen.map(function (i) { return data.methods[i].tex; });
    compare.pairsOf(chosen).forEach(function (pair) { names.push(data.methods[pair[0]].tex + " less " + data.methods[pair[1]].tex); });
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
    compare.pairsOf(chosen).forEach(function (pair) { names.push(data.methods[pair[0]].md + " less " + data.methods[pair[1]].md); });
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
    return compare.element("div", { "class": "copy-row", role: "group", "aria-label": "Copy this comparison" },
      copying("Copy link", function () { return location.href; }),
      copying("Copy LaTeX", function () { return latex(data, chosen); }),
      copying("Copy Markdown", function () { return markdown(data, chosen); }),
      copying("Copy BibTeX", function () { return bibtex(data, chosen); }));
  }

  compare.copying = copying;
  compare.copies = copies;
})(window.bmadComparing = window.bmadComparing || {});
