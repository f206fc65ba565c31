// Drives one HTML report in Chromium and prints what it found as JSON:
//   node page.mjs REPORT.html OUTPUT-DIRECTORY CHROMIUM
// Every check adds one result { check, ok, detail }. The Go test decides.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [file, out, executablePath] = process.argv.slice(2);
const url = pathToFileURL(file).href;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const results = [];
const check = (name, ok, detail = "") => results.push({ check: name, ok: Boolean(ok), detail: String(detail) });

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// open loads the report and records every console message, error and request.
async function open(name, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const noise = [];
  page.on("console", (m) => noise.push(`${m.type()}: ${m.text()}`));
  page.on("pageerror", (e) => noise.push(`error: ${e}`));
  page.on("dialog", (d) => { noise.push(`dialog: ${d.message()}`); d.dismiss(); });
  page.on("request", (r) => { if (r.url() !== url && !r.url().startsWith("data:")) noise.push(`request: ${r.url()}`); });
  const start = Date.now();
  await page.goto(url);
  check(`${name}: opens within 5 s`, Date.now() - start < 5000, `${Date.now() - start} ms`);
  return { context, page, quiet: () => check(`${name}: no console message, no request, no dialog`, noise.length === 0, noise.join("\n")) };
}

// runAxe works around the page's CSP by evaluating axe through the debugger.
async function runAxe(name, page) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const r = await window.axe.run(document, { resultTypes: ["violations"] });
    return r.violations.map((v) => `${v.id} (${v.impact}): ${v.help}\n` + v.nodes.slice(0, 3).map((n) => `  ${n.target}: ${n.any.concat(n.all, n.none).map((c) => c.message).join("; ")}`).join("\n"));
  });
  check(`${name}: axe finds nothing`, found.length === 0, found.join("\n"));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(`${name}: does not scroll sideways`, wide <= 0, `${wide} px`);
}

for (const [name, width, colorScheme] of [["light", 1440, "light"], ["dark", 1440, "dark"], ["narrow", 390, "light"], ["narrow dark", 390, "dark"]]) {
  const { context, page, quiet } = await open(name, { viewport: { width, height: 1000 }, colorScheme, reducedMotion: "reduce" });
  await page.screenshot({ path: join(out, `${name.replace(" ", "-")}.png`) });
  await page.evaluate(() => { for (const d of [...document.querySelectorAll("details")].slice(0, 12)) d.open = true; });
  await runAxe(name, page);
  // The picture of the ways: boxes stand apart, texts keep off them and inside the picture.
  const clashes = await page.evaluate(() => {
    const svg = document.querySelector("svg.ways"), out = [];
    const frame = svg.getBoundingClientRect();
    const rects = (q) => [...svg.querySelectorAll(q)].map((e) => ({ what: e.textContent.trim() || e.parentElement.textContent.trim(), r: e.getBoundingClientRect() }));
    const hit = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    const boxes = rects("g > rect"), words = rects("text.w-step, text.w-if, text.w-num");
    if (boxes.length < 4 || words.length < 3) out.push(`only ${boxes.length} boxes and ${words.length} texts`);
    boxes.forEach((a, i) => { for (const b of boxes.slice(i + 1)) if (hit(a.r, b.r)) out.push(`${a.what} / ${b.what}`); });
    for (const w of words) {
      for (const b of boxes) if (hit(w.r, b.r)) out.push(`${w.what} on ${b.what}`);
      if (w.r.left < frame.left || w.r.right > frame.right || w.r.top < frame.top || w.r.bottom > frame.bottom) out.push(`${w.what} outside`);
    }
    words.forEach((a, i) => { for (const b of words.slice(i + 1)) if (a.what !== b.what && hit(a.r, b.r) && Math.abs(a.r.top - b.r.top) > 13) out.push(`${a.what} / ${b.what}`); });
    return out;
  });
  check(`${name}: nothing in the picture of the ways overlaps`, clashes.length === 0, clashes.slice(0, 5).join("\n"));
  const shown = await page.evaluate(() => {
    const svg = document.querySelector("svg.ways");
    return { size: parseFloat(getComputedStyle(svg.querySelector("text.w-name")).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width, label: svg.querySelector("title").textContent, words: svg.querySelector("desc").textContent };
  });
  check(`${name}: names in the picture can be read`, shown.size >= 9.5, `${shown.size} px`);
  check(`${name}: the picture has a title and says where its words are`, shown.label.includes("Tier 0") && shown.words.includes("list below"), JSON.stringify(shown));
  quiet();
  await context.close();
}

{ // The keyboard alone: skip link, theme, search, open a finding, reset.
  const { context, page, quiet } = await open("keyboard", { viewport: { width: 1280, height: 900 }, colorScheme: "light", reducedMotion: "reduce" });
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.tagName);
  await page.keyboard.press("Tab");
  check("keyboard: the first stop is the skip link", (await focused()) === "skip", await focused());
  await page.keyboard.press("Tab");
  check("keyboard: the second stop is the theme", (await focused()) === "theme", await focused());
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.keyboard.press("Space");
  const dark = await background();
  check("keyboard: space changes the theme", light !== dark && (await page.getAttribute("#theme", "aria-pressed")) === "true", `${light} → ${dark}`);
  await page.keyboard.press("Space");
  check("keyboard: space changes it back", (await background()) === light);
  await page.keyboard.press("/");
  check("keyboard: slash goes to the search", (await focused()) === "q", await focused());
  const total = await page.locator("details.finding").count();
  await page.keyboard.type("adminsdholder");
  await page.waitForFunction(() => document.querySelector("#status").classList.contains("filtered"));
  const shown = await page.locator("details.finding:visible").count();
  const wrong = await page.evaluate(() => [...document.querySelectorAll("details.finding:not([hidden])")].filter((f) => !f.closest("article").textContent.toLowerCase().includes("adminsdholder")).length);
  check("keyboard: typing filters", shown > 0 && shown < total && wrong === 0, `${shown} of ${total}, ${wrong} wrong`);
  check("keyboard: the status says how many", (await page.textContent("#status")).startsWith(`${shown} of ${total}`), await page.textContent("#status"));
  for (let i = 0; i < 40 && !(await page.evaluate(() => document.activeElement.parentElement?.classList.contains("finding"))); i++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  check("keyboard: enter opens the finding", await page.evaluate(() => document.activeElement.parentElement.open === true && document.activeElement.parentElement.querySelector(".body").offsetHeight > 0));
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  check("keyboard: the focus can be seen", ring !== "none", ring);
  await page.focus("details.way:not([open]) > summary");
  await page.keyboard.press("Enter");
  check("keyboard: enter opens a way with its steps", await page.evaluate(() => document.activeElement.parentElement.open === true && document.activeElement.parentElement.querySelector("ol.steps").offsetHeight > 0));
  await page.focus(".scroll.ways");
  check("keyboard: the picture can be scrolled to", (await focused()) === "scroll ways", await focused());
  await page.focus("#reset");
  await page.keyboard.press("Enter");
  await page.waitForFunction((n) => document.querySelectorAll("details.finding:not([hidden])").length === n, total);
  check("keyboard: reset shows all again", (await page.locator("details.finding:visible").count()) === total);
  await page.selectOption("#by-out", "unknown");
  await page.waitForFunction(() => document.querySelector("#status").classList.contains("filtered"));
  const outcomes = await page.evaluate(() => [...new Set([...document.querySelectorAll("details.finding:not([hidden])")].map((f) => f.dataset.out))]);
  check("filter: outcome", outcomes.join() === "unknown", outcomes.join());
  await page.fill("#q", "no such thing anywhere");
  await page.waitForFunction(() => !document.querySelector("#none").hidden);
  check("filter: says when nothing matches", await page.isVisible("#none"));
  quiet();
  await context.close();
}

{ // A link to a finding opens it.
  const { context, page, quiet } = await open("link", { viewport: { width: 1280, height: 900 }, reducedMotion: "reduce" });
  const id = await page.evaluate(() => [...document.querySelectorAll("details.finding")].at(-1).id);
  await page.goto(`${url}#${id}`);
  await page.waitForFunction((i) => document.getElementById(i).open, id);
  const top = await page.evaluate((i) => document.getElementById(i).getBoundingClientRect().top, id);
  check("link: the finding is open and in view", top >= 0 && top < 900, `${top} px`);
  const broken = await page.evaluate(() => [...document.querySelectorAll('a[href^="#"]')].map((a) => a.getAttribute("href").slice(1)).filter((h) => !document.getElementById(h)));
  check("link: every link in the page leads somewhere", broken.length === 0, broken.slice(0, 5).join());
  const twice = await page.evaluate(() => { const n = {}; for (const e of document.querySelectorAll("[id]")) n[e.id] = (n[e.id] || 0) + 1; return Object.keys(n).filter((k) => n[k] > 1); });
  check("link: every id is unique", twice.length === 0, twice.slice(0, 5).join());
  const loads = await page.evaluate(() => [...document.querySelectorAll("[src],link[href],[action],[formaction]")].map((e) => e.src || e.href).filter((u) => u !== "data:,"));
  check("link: nothing in the page can be loaded", loads.length === 0, loads.join());
  await page.emulateMedia({ media: "print" });
  await page.setViewportSize({ width: 688, height: 1000 }); // what A4 leaves
  const cut = await page.evaluate(() => { const r = document.querySelector("svg.ways").getBoundingClientRect(); return { right: r.right - innerWidth, high: r.height }; });
  check("print: the picture fits the paper", cut.right <= 0 && cut.high > 50 && cut.high < 900, JSON.stringify(cut));
  await page.pdf({ path: join(out, "report.pdf"), preferCSSPageSize: true, printBackground: true });
  quiet();
  await context.close();
}

{ // Without script: everything is there, and nothing that needs script is.
  const { context, page, quiet } = await open("no script", { viewport: { width: 1280, height: 900 }, javaScriptEnabled: false });
  const n = await page.locator("details.finding").count();
  const hidden = await page.locator("details.finding > summary:visible").count();
  check("no script: every finding has a visible line", n > 0 && n === hidden, `${hidden} of ${n}`);
  check("no script: controls that need script are not shown", (await page.locator(".needs-js:visible").count()) === 0);
  await page.locator("details.finding > summary").first().click();
  check("no script: a finding opens", await page.locator("details.finding .body").first().isVisible());
  await page.pdf({ path: join(out, "noscript.pdf"), preferCSSPageSize: true, printBackground: true });
  quiet();
  await context.close();
}

await browser.close();
process.stdout.write(JSON.stringify(results));
