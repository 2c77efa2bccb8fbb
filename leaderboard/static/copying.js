// A button that copies, beside every command and for the address of the page.
(function () {
  "use strict";

  function list(root, selector) { return Array.prototype.slice.call(root.querySelectorAll(selector)); }

  function copyText(text) {
    if (navigator.clipboard && window.isSecureContext) {
      return navigator.clipboard.writeText(text).catch(function () { copyBySelection(text); });
    }
    copyBySelection(text);
    return Promise.resolve();
  }

  function copyBySelection(text) {  // file:// is no secure context everywhere
    var area = document.createElement("textarea");
    var before = document.activeElement;
    area.value = text;
    // Beside an open dialog nothing can be selected.
    (document.querySelector("dialog[open]") || document.body).appendChild(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    if (before) { before.focus(); }
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

  window.bmadCopies = copies;  // the compare page and the panels have buttons of their own

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
