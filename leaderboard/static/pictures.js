// A slider that lays the anomaly map over its image, and arrow keys from one image to the next, over
// pages that are complete without this script. The address keeps both:
//   full-size/heron--brain-trained-here-container.html?o=60#i-<image>
// The slider's value stands in the query, so that the anchor alone follows `#` and opens at its image
// without a script too.
(function () {
  "use strict";

  var DEFAULT = 50, STEP = 5;
  var plates = list(document, ".picture-plate");
  var opacity = readOpacity();
  var sliders = list(document, ".picture-laid").map(prepare);
  show();
  document.addEventListener("keydown", step);
  // The sliders have moved what the address points at.
  var target = document.getElementById(location.hash.slice(1));
  if (target) { target.scrollIntoView(); }

  function list(root, selector) { return Array.prototype.slice.call(root.querySelectorAll(selector)); }

  function readOpacity() {
    var given = new URLSearchParams(location.search).get("o");
    var isKnown = /^\d{1,3}$/.test(given || "") && Number(given) <= 100;
    return isKnown ? STEP * Math.round(Number(given) / STEP) : DEFAULT;
  }

  function writeOpacity() {
    var query = opacity === DEFAULT ? "" : "?o=" + opacity;
    history.replaceState(null, "", location.pathname + query + location.hash);
  }

  // ---- the slider -----------------------------------------------------------------------

  function prepare(figure) {
    var input = document.createElement("input");
    input.type = "range";
    input.min = "0";
    input.max = "100";
    input.step = String(STEP);
    var told = document.createElement("span");
    told.setAttribute("aria-hidden", "true");  // the slider says it itself
    var label = document.createElement("label");
    var words = document.createElement("span");
    words.append("Opacity of the map ", told);
    label.append(words, input);
    figure.querySelector("figcaption").append(label);
    input.addEventListener("input", function () { opacity = Number(input.value); show(); });
    input.addEventListener("change", writeOpacity);
    return { input: input, told: told, map: figure.querySelector(".over") };
  }

  // One value for all images, so that it stays from one to the next.
  function show() {
    sliders.forEach(function (each) {
      each.input.value = String(opacity);
      each.input.setAttribute("aria-valuetext", opacity + " %");
      each.told.textContent = opacity + "\u00a0%";
      each.map.style.opacity = String(opacity / 100);
    });
  }

  // ---- from one image to the next -------------------------------------------------------

  // The image of the address, unless the reader has scrolled away from it.
  function current() {
    var named = plates.findIndex(function (plate) { return "#" + plate.id === location.hash; });
    if (named >= 0 && isInSight(plates[named])) { return named; }
    return plates.findIndex(function (plate) { return plate.getBoundingClientRect().bottom > 40; });
  }

  function isInSight(plate) {
    var box = plate.getBoundingClientRect();
    return box.top < innerHeight && box.bottom > 0;
  }

  function step(event) {
    var way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    var isTaken = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented;
    if (!way || isTaken || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) { return; }
    var here = current();
    // From the head of the page the first image is the next one.
    if (way > 0 && here === 0 && !location.hash && plates[0].getBoundingClientRect().top > 40) { here = -1; }
    var next = plates[here + way];
    if (!next) { return; }
    event.preventDefault();
    location.hash = next.id;
    var heading = next.querySelector("h2");
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
})();
