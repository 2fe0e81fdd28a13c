"use strict";
// Narrows the tables of misses to rows that have all the words and one of the chosen outcomes.
(() => {
  const search = document.getElementById("search");
  if (!search) return;
  search.hidden = false;
  const words = document.getElementById("words");
  const found = document.getElementById("found");
  const boxes = [...search.querySelectorAll("input[type=checkbox]")];
  const groups = [...document.querySelectorAll("details.misses")].map((details) => ({
    details,
    rows: [...details.querySelectorAll("tbody tr")].map((row) => ({ row, text: null })),
  }));
  let timer = 0;
  const narrow = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const all = wanted.length === 0 && chosen.size === boxes.length;
    let count = 0;
    for (const { details, rows } of groups) {
      let own = 0;
      for (const entry of rows) {
        if (wanted.length > 0) entry.text ??= entry.row.textContent.toLowerCase();
        const shown = chosen.has(entry.row.className) && wanted.every((word) => entry.text.includes(word));
        entry.row.hidden = !shown;
        own += shown;
      }
      details.hidden = own === 0;
      if (!all && own > 0 && own <= 200) details.open = true;
      count += own;
    }
    found.textContent = all ? "" : count + " found";
  };
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(narrow, 150);
  });
})();
