// What the data of a benchmark (data/compare/brain.js, see leaderboard/compare_data.py) say of two of its
// rows, turned round and told in words. Nothing here touches the page, and nothing is computed but signs.
(function (compare) {
  "use strict";

  var MINUS = "\u2212";

  function find(list, test) {
    for (var i = 0; i < list.length; i += 1) { if (test(list[i])) { return list[i]; } }
    return null;
  }

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

  compare.UNIT = 10000;  // differences and curves are in ten-thousandths
  compare.find = find;
  compare.points = points;
  compare.pairOf = pairOf;
  compare.span = span;
  compare.verdict = verdict;
  compare.pairsOf = pairsOf;
})(window.bmadComparing = window.bmadComparing || {});
