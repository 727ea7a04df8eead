
"use strict";
(() => {
  // Before printing, every table of numbers is opened; afterwards what was closed closes again.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));

  const table = document.getElementById("comparisons-table");
  if (!table) return;
  const data = JSON.parse(document.getElementById("comparisons-data").textContent);
  const form = document.getElementById("filters");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, detail: null, ...data.rows[row.dataset.index] }));
  const sort = { key: "", down: false };
  rows.forEach((one) => {
    one.text = [one.id, one.prompt, one.chosen, one.rejected].join("\n").toLowerCase();
    one.size = Math.abs(one.margin);
  });
  const sizes = rows.map((one) => one.size).sort((a, b) => a - b);
  const quarter = Math.max(1, Math.round(sizes.length / 4));
  const [unsure, sure] = [sizes[quarter - 1], sizes[sizes.length - quarter]];

  function make(tag, parent, text, name) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    parent.append(element);
    return element;
  }
  const fixed = (value, digits) => (Number(value.toFixed(digits)) === 0 ? (0).toFixed(digits) : value.toFixed(digits));
  const signed = (value) => (Number(value.toFixed(data.digits)) < 0 ? "" : "+") + fixed(value, data.digits);

  // A narrow page hides columns, and a cell across those that are gone would bring them back.
  const columns = () => [...table.tHead.rows[0].cells].filter((head) => getComputedStyle(head).display !== "none").length;
  addEventListener("resize", () => rows.forEach((one) => { if (one.detail) one.detail.cells[0].colSpan = columns(); }));

  function fits(one, want) {
    return (!want.text || one.text.includes(want.text.trim().toLowerCase()))
      && (!want.source || one.source === want.source)
      && (!want.objective || one.deciding.includes(want.objective))
      && (want.low === "" || one.margin >= Number(want.low))
      && (want.high === "" || one.margin <= Number(want.high))
      && (want.show !== "sure" || one.size >= sure)
      && (want.show !== "unsure" || one.size <= unsure)
      && (want.show !== "wrong" || one.margin < 0);
  }

  function wanted() {
    const want = { text: "", show: "", source: "", objective: "", low: "", high: "" };
    new FormData(form).forEach((value, name) => { want[name] = value; });
    return want;
  }

  function filter() {
    const want = wanted();
    let shown = 0;
    rows.forEach((one) => {
      const fit = fits(one, want);
      shown += fit;
      one.row.hidden = !fit;
      if (one.detail) one.detail.hidden = !fit || !one.open;
    });
    document.getElementById("count").textContent = `${shown} of ${rows.length} shown`;
    document.getElementById("none").hidden = shown > 0;
  }

  function order() {
    const value = (one) => (sort.key === "deciding" ? one.deciding.join(" ") : one[sort.key]);
    const by = [...rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === y || !sort.key) return a.row.dataset.index - b.row.dataset.index;
      if (x === null || y === null) return x === null ? 1 : -1;
      return (typeof x === "string" ? x.localeCompare(y) : x - y) * (sort.down ? -1 : 1);
    });
    by.forEach((one) => body.append(one.row, ...(one.detail ? [one.detail] : [])));
    table.querySelectorAll("thead th").forEach((head) => {
      if (head.dataset.key !== sort.key) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
    });
  }

  function remember() {
    const state = new URLSearchParams();
    Object.entries(wanted()).forEach(([name, value]) => { if (value !== "") state.set(name, value); });
    if (sort.key) state.set("sort", (sort.down ? "-" : "") + sort.key);
    const hash = state.size ? `#comparisons?${state}` : location.hash.includes("?") ? "#comparisons" : location.hash;
    if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname);
  }

  function recall() {
    const [place, query] = location.hash.split("?");
    if (place !== "#comparisons" || query === undefined) return;
    const state = new URLSearchParams(query);
    form.reset();
    [...form.elements].forEach((field) => { if (field.name && state.has(field.name)) field.value = state.get(field.name); });
    const key = state.get("sort") || "";
    sort.down = key.startsWith("-");
    sort.key = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.key).find((one) => one === key.replace(/^-/, "")) || "";
    order();
    filter();
    document.getElementById("comparisons").scrollIntoView();
  }

  function bars(parent, one) {
    const head = ["objective", "chosen", "rejected", "weight", "contribution"];
    const list = make("table", parent, undefined, "bars");
    make("caption", list, "What each objective adds to the margin", "quiet");
    const titles = make("tr", make("thead", list));
    const names = ["name", "number small", "number small", "number small", "", "number sum"];
    [...head.slice(0, 4), "contribution", "adds"].forEach((text, i) => {
      make("th", titles, text, names[i]).scope = "col";
    });
    const parts = one.objectives.map((part) => part[3]);
    const [low, high] = [Math.min(0, ...parts), Math.max(0, ...parts)];
    const span = high - low || 1;
    const lines = make("tbody", list);
    one.objectives.forEach(([name, chosen, rejected, value, weight]) => {
      const line = make("tr", lines);
      make("th", line, name, "name").scope = "row";
      make("td", line, fixed(chosen, 2), "number small");
      make("td", line, fixed(rejected, 2), "number small");
      make("td", line, weight === null ? "" : `${fixed(100 * weight, 1)} %`, "number small");
      const bar = make("div", make("td", line), undefined, "bar");
      bar.style.setProperty("--zero", `${(-100 * low) / span}%`);
      const drawn = make("i", bar, undefined, value < 0 ? "against" : "");
      drawn.style.left = `${(100 * (Math.min(value, 0) - low)) / span}%`;
      drawn.style.width = `${(100 * Math.abs(value)) / span}%`;
      make("td", line, signed(value), "number sum");
    });
    const total = make("tr", make("tfoot", list));
    make("th", total, "margin", "name").scope = "row";
    ["number small", "number small", "number small", ""].forEach((name) => make("td", total, "", name));
    make("td", total, signed(one.margin), "number sum");
  }

  function near(parent, one) {
    ["chosen", "rejected"].forEach((side) => {
      const found = one.nearest.filter((row) => row.side === side);
      if (!found.length) return;
      make("h3", parent, `Rated rows most like the ${side} response`);
      const list = make("ul", parent, undefined, "near");
      found.forEach((row) => {
        const item = make("li", list, `${row.objective} rated ${row.rating} on a scale from ${row.low} to ${row.high}: “${row.response}” `);
        make("span", item, `to “${row.prompt}” (${row.source ? `${row.source}, ` : ""}${row.id}; similarity ${fixed(row.similarity, 2)})`);
      });
    });
  }

  function describe(one) {
    const detail = document.createElement("tr");
    detail.className = "detail";
    detail.id = `detail-${one.row.dataset.index}`;
    const cell = make("td", detail);
    cell.colSpan = columns();
    make("p", cell, one.sentence, "why");
    const sides = make("div", cell, undefined, "sides");
    const text = (name) => one[name] + (one.clipped.includes(name) ? " …" : "");
    [["prompt", "Prompt"], ["chosen", `Chosen, score ${fixed(one.chosen_score, data.digits)}`], ["rejected", `Rejected, score ${fixed(one.rejected_score, data.digits)}`]].forEach(([name, title]) => {
      const side = make("div", sides, undefined, "side");
      make("h4", side, title);
      make("p", side, text(name));
    });
    make("h3", cell, "What adds up to the margin");
    bars(cell, one);
    if (one.flip) {
      make("h3", cell, "What would change the verdict");
      const line = make("p", cell, one.flip.sentence);
      if (one.flip.option) {
        line.append(" On the command line: ");
        make("code", line, one.flip.option);
      }
    }
    near(cell, one);
    const facts = [`Pair ${one.id}`, one.source && `source ${one.source}`, one.deciding.length && `decided by ${one.deciding.join(", ")}`, `in this table as: ${one.kind}`];
    make("p", cell, `${facts.filter(Boolean).join(" · ")}.`, "note");
    return detail;
  }

  function toggle(one, button) {
    one.open = !one.open;
    if (!one.detail) {
      one.detail = describe(one);
      one.row.after(one.detail);
    }
    one.detail.hidden = !one.open;
    button.setAttribute("aria-expanded", String(one.open));
    if (one.open) button.setAttribute("aria-controls", one.detail.id);
  }

  rows.forEach((one) => {
    const holder = one.row.querySelector(".opener");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = holder.textContent;
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => toggle(one, button));
    holder.replaceWith(button);
  });
  [...table.tHead.rows[0].cells].forEach((head) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      sort.down = sort.key === head.dataset.key ? !sort.down : false;
      sort.key = head.dataset.key;
      order();
      remember();
    });
  });
  form.addEventListener("input", () => { filter(); remember(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { filter(); remember(); }));
  addEventListener("hashchange", recall);
  form.hidden = false;
  recall();
})();
