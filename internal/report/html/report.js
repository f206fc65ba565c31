(() => {
  "use strict";
  const root = document.documentElement;
  const $ = (id) => document.getElementById(id);
  root.classList.add("js");

  // Theme: the system's, unless the reader chose.
  const theme = $("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("leastwise-theme"); } catch { return null; } };
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  const showTheme = () => theme.setAttribute("aria-pressed", String(dark()));
  if (["dark", "light"].includes(remembered())) root.dataset.theme = remembered();
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("leastwise-theme", root.dataset.theme); } catch { /* private window */ }
    showTheme();
  });
  system.addEventListener("change", showTheme);
  showTheme();

  // Links into closed parts open them.
  const reveal = () => {
    let target = null;
    try { target = $(decodeURIComponent(location.hash.slice(1))); } catch { /* not one of ours */ }
    if (!target) return;
    if (target.closest("#findings") && target.closest("[hidden]")) $("filter").reset();
    for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    target.scrollIntoView();
    const summary = target.querySelector(":scope > summary");
    if (summary) summary.focus({ preventScroll: true });
  };
  addEventListener("hashchange", reveal);

  // Search and filters. The text of a finding is taken once, with its control's title.
  const findings = [...document.querySelectorAll("details.finding")];
  const texts = new Map();
  const textOf = (f) => {
    if (!texts.has(f)) {
      const head = f.closest("article");
      texts.set(f, (head.querySelector("h4").textContent + " " + head.querySelector(".tags").textContent + " " + f.textContent).toLowerCase());
    }
    return texts.get(f);
  };
  const chosen = (id) => ($(id) ? $(id).value : "");
  const apply = () => {
    const words = $("q").value.toLowerCase().split(/\s+/).filter(Boolean);
    const want = { sev: chosen("by-sev"), out: chosen("by-out"), sec: chosen("by-sec"), dom: chosen("by-dom") };
    const keys = Object.keys(want).filter((k) => want[k]);
    let n = 0;
    for (const f of findings) {
      const ok = keys.every((k) => f.dataset[k] === want[k]) && (!words.length || words.every((w) => textOf(f).includes(w)));
      f.hidden = !ok;
      if (ok) n++;
    }
    for (const e of document.querySelectorAll("article.control, section.block")) e.hidden = !e.querySelector("details.finding:not([hidden])");
    const filtered = n < findings.length;
    $("status").textContent = filtered ? `${n} of ${findings.length} findings match` : `${n} findings`;
    $("status").classList.toggle("filtered", filtered);
    $("none").hidden = n > 0 || findings.length === 0;
  };
  let timer = 0;
  const later = () => { clearTimeout(timer); timer = setTimeout(apply, 80); };
  $("filter").addEventListener("input", later);
  $("filter").addEventListener("reset", () => setTimeout(apply));
  $("filter").addEventListener("submit", (e) => { e.preventDefault(); apply(); });
  const openAll = (open) => { for (const f of findings) if (!f.hidden) f.open = open; };
  $("open-all").addEventListener("click", () => openAll(true));
  $("close-all").addEventListener("click", () => openAll(false));
  addEventListener("keydown", (e) => {
    if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
    e.preventDefault();
    $("q").focus();
  });

  // Paper has no folds: open everything, and put it back afterwards.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const d of folded) d.open = true;
  });
  addEventListener("afterprint", () => { for (const d of folded) d.open = false; });

  // The part of the report in view is marked in the contents.
  const links = new Map([...document.querySelectorAll(".toc a")].map((a) => [a.getAttribute("href").slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const e of entries) {
      if (!e.isIntersecting) continue;
      for (const a of links.values()) a.removeAttribute("aria-current");
      links.get(e.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const s of document.querySelectorAll("main > section")) seen.observe(s);

  apply();
  reveal();
})();
