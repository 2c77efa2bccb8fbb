// Where the page came from a web server: its address in the snippets that are to be copied elsewhere.
(function () {
  "use strict";
  if (!/^https?:$/.test(location.protocol)) { return; }
  var site = location.href.replace(/[#?].*$/, "").replace(/\/entries\/[^\/]*$/, "");
  [].forEach.call(document.querySelectorAll(".entrant-snippet code"), function (code) {
    code.textContent = code.textContent.split("SITE/").join(site + "/");
  });
})();
