// The page works without this script. It follows Airflow's theme, renews the content in place, reads charts, follows links.
(() => {
  "use strict";
  const outer = (() => {
    try { return window.parent !== window && window.parent.document ? window.parent : null; } catch { return null; }
  })();

  // Airflow's theme (next-themes) is a class of the document around the frame, and may differ from the system's.
  const follow = () => {
    const classes = outer.document.documentElement.classList;
    const theme = classes.contains("dark") ? "dark" : classes.contains("light") ? "light" : "";
    if (theme) document.documentElement.dataset.theme = theme;
  };
  if (outer) {
    follow();
    new MutationObserver(follow).observe(outer.document.documentElement, { attributes: true, attributeFilter: ["class"] });
  } else {
    try {
      const stored = localStorage.getItem("theme"); // the same origin, in a tab of its own
      if (stored === "dark" || stored === "light") document.documentElement.dataset.theme = stored;
    } catch { /* a file has no storage */ }
  }

  // A link in Airflow's frame may neither open a window nor leave the frame: the UI's own document follows the links.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // the browser opens these links itself
    if (link.hasAttribute("data-range")) {
      event.preventDefault();
      history.replaceState(null, "", link.getAttribute("href"));
      renew(true);
    } else if (outer) {
      const copy = outer.document.createElement("a");
      Object.assign(copy, { href: link.href, target: link.target, rel: link.rel });
      event.preventDefault();
      outer.document.body.append(copy);
      copy.click();
      copy.remove();
    }
  });

  // Each part that changed is replaced by itself, so the place in the text stays. A part that is being read stays as it is.
  const EVERY = 30_000;
  const say = (text) => { const place = document.querySelector("[data-renewal]"); if (place) place.textContent = text; };
  const isRead = (part) => {
    const chosen = getSelection();
    const focused = document.activeElement !== document.body && part.contains(document.activeElement);
    return focused || (!chosen.isCollapsed && part.contains(chosen.anchorNode));
  };
  const replace = (part, newer) => {
    for (const details of part.querySelectorAll("details[id]")) {
      const twin = newer.querySelector(`#${CSS.escape(details.id)}`);
      if (twin) twin.open = details.open;
    }
    part.replaceWith(newer);
  };
  const kept = new WeakMap();
  let busy = false;
  async function renew(now) {
    if (busy || (document.hidden && !now)) return;
    busy = true;
    try {
      const response = await fetch(location.href, { cache: "no-cache", credentials: "same-origin" });
      if (!response.ok) throw new Error(`Airflow answered ${response.status}`);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      document.title = page.title;
      for (const newer of page.querySelectorAll("main > [id]")) {
        const part = document.getElementById(newer.id);
        const source = newer.outerHTML;
        if (!part || (kept.get(part) ?? part.outerHTML) === source) continue;
        const wanted = now && newer.id === "trends";
        if (isRead(part) && !wanted) continue;
        replace(part, newer);
        kept.set(newer, source);
        if (wanted) newer.querySelector("[aria-current]")?.focus({ preventScroll: true });
      }
    } catch (error) {
      say(`Not renewed: ${error.message}.`);
    } finally {
      busy = false;
    }
  }
  if (location.protocol !== "file:" && !document.querySelector("meta[http-equiv]")) {
    setInterval(renew, EVERY);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) renew(); });
  }

  // The value under the pointer, or under the arrow keys.
  const SVG = "http://www.w3.org/2000/svg";
  const element = (name, values) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
    return made;
  };
  const clear = (chart) => {
    for (const mark of chart.querySelectorAll(".cursor, .dot")) mark.remove();
    const reading = chart.parentElement.querySelector(".reading");
    if (reading) reading.textContent = "";
  };
  const heightAt = (line, x) => {
    const numbers = line.getAttribute("d").match(/[\d.]+/g).map(Number); // x y x y ...
    let best = 1;
    for (let place = 0; place < numbers.length; place += 2) {
      if (Math.abs(numbers[place] - x) < Math.abs(numbers[best - 1] - x)) best = place + 1;
    }
    return numbers[best];
  };
  const show = (chart, index) => {
    const lines = [...chart.querySelectorAll(".curve")];
    const columns = lines.map((line) => line.dataset.texts.split("|"));
    const count = columns[0].length;
    const at = Math.max(0, Math.min(count - 1, index));
    const left = Number(chart.dataset.left), right = Number(chart.dataset.right);
    const x = left + ((right - left) * at) / Math.max(count - 1, 1);
    clear(chart);
    chart.append(element("line", { class: "cursor", x1: x, x2: x, y1: 8, y2: 112 }));
    lines.forEach((line, number) => {
      if (columns[number][at]) chart.append(element("circle", { class: "dot", cx: x, cy: heightAt(line, x), r: 3 }));
    });
    const time = new Date(Date.parse(chart.dataset.begin) + at * Number(chart.dataset.step) * 1000);
    const values = lines.map((line, number) => `${line.dataset.label} ${columns[number][at] || "no data"}`.trim());
    chart.parentElement.querySelector(".reading").textContent = `${time.toISOString().slice(0, 16).replace("T", " ")}Z: ${values.join(", ")}`;
    chart.dataset.at = at;
  };
  const count = (chart) => chart.querySelector(".curve").dataset.texts.split("|").length;
  document.addEventListener("pointermove", (event) => {
    const chart = event.target.closest?.("svg.chart");
    for (const other of document.querySelectorAll("svg.chart[data-at]")) {
      if (other !== chart && other !== document.activeElement) { clear(other); delete other.dataset.at; }
    }
    if (!chart) return;
    const box = chart.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
    const left = Number(chart.dataset.left), right = Number(chart.dataset.right);
    show(chart, Math.round(((x - left) / (right - left)) * (count(chart) - 1)));
  });
  document.addEventListener("keydown", (event) => {
    const chart = event.target.closest?.("svg.chart");
    if (!chart) return;
    const last = count(chart) - 1, at = Number(chart.dataset.at ?? last + 1);
    const step = event.shiftKey ? 10 : 1;
    const next = { ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    show(chart, next);
  });
  document.addEventListener("focusout", (event) => {
    const chart = event.target.closest?.("svg.chart");
    if (chart) { clear(chart); delete chart.dataset.at; }
  });
})();
