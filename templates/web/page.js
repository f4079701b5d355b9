// The pages work without this; with it the preview follows typing, terms are suggested, and the zone is guessed.
"use strict";
(() => {
  const root = document.body.dataset.root;

  const later = (wait, act) => {
    let timer;
    return (...values) => { clearTimeout(timer); timer = setTimeout(() => act(...values), wait); };
  };

  // ---- the preview follows each change -----------------------------------------------------------------------------
  const form = document.querySelector("form[data-preview]");
  const part = document.querySelector("[data-preview-part]");
  const said = document.querySelector("[data-preview-said]"); // by a screen reader: the count, not all the papers
  if (form && part) {
    let asked = 0;
    const follow = later(300, async () => {
      const mine = ++asked;
      const body = new URLSearchParams();
      for (const [name, value] of new FormData(form)) if (typeof value === "string") body.append(name, value);
      body.set("action", "preview");
      try {
        const answer = await fetch(form.getAttribute("action"), { method: "POST", body, headers: { "X-Part": "1" } });
        if (!answer.ok || mine !== asked) return;
        part.innerHTML = await answer.text();
        said.textContent = part.querySelector(".count, .trouble")?.textContent ?? "";
      } catch { /* the next change tries again */ }
    });
    form.addEventListener("input", follow);
  }

  // ---- once the last topic is begun, there is another to fill in --------------------------------------------------------
  const topics = document.querySelector("[data-topics]");
  topics?.addEventListener("input", (event) => {
    const last = topics.lastElementChild;
    if (!last.contains(event.target) || !event.target.value) return;
    const count = topics.children.length;
    const next = last.cloneNode(true);
    for (const name of ["id", "name", "for"]) {
      for (const element of next.querySelectorAll(`[${name}]`)) {
        element.setAttribute(name, element.getAttribute(name).replace(`topic-${count - 1}-`, `topic-${count}-`));
      }
    }
    for (const field of next.querySelectorAll("input, textarea")) field.value = "";
    next.querySelector("legend").textContent = "Another topic";
    topics.append(next);
  });

  // ---- terms of recent papers while typing ---------------------------------------------------------------------------
  const list = document.getElementById("terms");
  if (list) {
    const suggest = later(150, async (text) => {
      try {
        const answer = await fetch(`${root}/suggest?q=${encodeURIComponent(text)}`);
        if (!answer.ok) return;
        list.replaceChildren(...(await answer.json()).map((term) => {
          const option = document.createElement("option");
          option.value = term;
          return option;
        }));
      } catch { /* suggestions are a courtesy */ }
    });
    document.addEventListener("input", (event) => {
      if (event.target.matches("[data-suggest]") && event.target.value.length > 1) suggest(event.target.value);
    });
  }

  // ---- the browser's own time zone -----------------------------------------------------------------------------------
  const zone = document.querySelector("[data-zone]");
  const hint = document.querySelector("[data-zone-hint]");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && own && zone.value !== own && [...zone.options].some((option) => option.value === own)) {
    const use = () => { zone.value = own; hint.hidden = true; zone.dispatchEvent(new Event("input", { bubbles: true })); };
    if (zone.form.getAttribute("action").endsWith("/subscribe") && zone.value === "UTC") {
      zone.value = own;
    } else {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.textContent = `Use ${own}`;
      button.addEventListener("click", use);
      hint.append("Your browser says ", own, ". ", button);
      hint.hidden = false;
    }
  }
})();
