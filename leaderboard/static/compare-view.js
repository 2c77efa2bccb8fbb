// Builds the sections of the compare page out of the data of a benchmark and the numbers of the chosen
// rows: tables, curves over each other, the same images. Each section is a list of elements.
(function (compare) {
  "use strict";

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

  // ---- sections -------------------------------------------------------------------------

  function verdicts(data, chosen) {
    return [h("h2", null, "Verdict"), compare.pairsOf(chosen).map(function (pair) {
      return h("ul", { "class": "verdict-list" }, data.headline.map(function (n) {
        var found = compare.verdict(data, n, pair[0], pair[1]);
        return h("li", { "class": found.is }, h("b", null, data.metrics[n].title), ": " + found.text);
      }));
    }), h("p", { "class": "facts" }, [data.unit, data.leftOut].filter(Boolean).join(" "))];
  }

  function againstAll(data, i, address) {
    var lines = data.methods.map(function (other, j) {
      if (j === i) { return null; }
      var link = h("a", { href: address(other.key) }, other.label);
      return line(link, data.headline.map(function (n) { return h("td", null, compare.verdict(data, n, i, j).text); }));
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
      return line(h("a", { "class": "plain", href: "guide.html#" + metric.anchor, title: metric.meaning }, metric.title), chosen.map(function (i) {
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
    var pairs = compare.pairsOf(chosen);
    var lines = data.metrics.map(function (metric, n) {
      return line(metric.title, pairs.map(function (pair) {
        var found = compare.pairOf(data, n, pair[0], pair[1]);
        if (found.known === "?") { return h("td", { "class": "is-na" }, "not compared"); }
        var better = { "+": data.methods[pair[0]].label + " is better", "-": data.methods[pair[1]].label + " is better" };
        return h("td", { "class": "mean" }, found.difference === null ? "withheld" : compare.points(found.difference, true),
          compare.span(found) ? h("small", null, compare.span(found).trim()) : null,
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
  var LEFT = 54, TOP = 8, SIDE = 240;

  function curve(head, members, n) {
    function x(value) { return (LEFT + SIDE * value / compare.UNIT / head.limit).toFixed(1); }
    function y(value) { return (TOP + SIDE * (1 - value / compare.UNIT)).toFixed(1); }
    function path(xs, ys) { return xs.map(function (v, k) { return x(v) + "," + y(ys[k]); }); }
    var drawn = s("svg", { viewBox: "0 0 312 294", role: "img", "aria-label": head.title + ": " +
      members.map(function (each) { return each.label; }).join(", ") });
    [0, 0.25, 0.5, 0.75, 1].forEach(function (share) {
      var across = x(share * head.limit * compare.UNIT), up = y(share * compare.UNIT);
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
    var img = h("img", { src: src, alt: alt, width: image.width, height: image.height, loading: "lazy" });
    return h("figure", null, h("a", { href: src }, img), h("figcaption", null, caption));
  }

  function pictures(data, chosen) {
    var title = h("h2", { id: "pictures" }, "The same images");
    if (!data.images.length) { return [title, h("p", { "class": "facts" }, data.noPictures || "No pictures of these rows are here.")]; }
    return [title,
      h("p", { "class": "facts" }, "In their own size; each leads to its file. Every map runs from the lowest to the highest value of its own run."),
      data.images.map(function (image, n) {
        var own = picture(image.src, image, image.title + ": " + image.alt, image.title + (image.outlined ? ", lesion outlined" : ""));
        return h("div", { "class": "full-size" }, h("div", null, own, chosen.map(function (i) {
          var each = data.methods[i], found = each.maps[n];
          var said = [h("b", null, each.label), found && found[1] ? h("span", null, " " + found[1]) : null];
          if (found && found[0]) { return picture(found[0], image, "Anomaly map of " + each.label + ", " + image.title.toLowerCase(), said); }
          return h("figure", null, h("figcaption", null, said, found ? "" : " has no picture of it"));
        })));
      })];
  }

  function cost(data, chosen) {
    var lines = data.costHeads.map(function (head, n) {
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
        h("pre", { tabindex: "0" }, h("code", null, each.command)), compare.copying("Copy", function () { return each.command; }))];
    })];
  }

  compare.element = h;
  compare.againstAll = againstAll;
  compare.sections = [verdicts, metrics, differences, curves, pictures, cost, params, commands];
})(window.bmadComparing = window.bmadComparing || {});
