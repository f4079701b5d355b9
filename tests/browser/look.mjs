// Looks at pages in Chromium: accessibility in light and dark, width, and pictures.
// usage: node look.mjs NODE_MODULES CHROMIUM FOLDER PAGE.html...   prints JSON: [{page, scheme, width, scroll, violations}]
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import fs from "node:fs";

const [modules, executablePath, folder, ...pages] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), "x.js"));
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"],
});
const seen = [];

// On a busy machine Chromium now and then fails to take one.
async function take(page, file, tries = 3) {
  try {
    await page.screenshot({ path: file, fullPage: true });
  } catch (error) {
    if (tries === 1) throw error;
    await take(page, file, tries - 1);
  }
}

for (const scheme of ["light", "dark"]) {
  for (const width of [320, 360, 800]) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, deviceScaleFactor: width < 800 ? 2 : 1.5 });
    const page = await context.newPage();
    const asked = [];
    page.on("request", (request) => { if (!request.url().startsWith("file:")) asked.push(request.url()); });
    for (const name of pages) {
      await page.goto(pathToFileURL(name).href);
      const scroll = await page.evaluate(() => document.documentElement.scrollWidth);
      let violations = [];
      if (width !== 320) {
        await page.evaluate(axe);
        const result = await page.evaluate(() => globalThis.axe.run());
        violations = result.violations.map((v) => `${v.id}: ${v.help} (${v.nodes.map((n) => n.html.slice(0, 120)).slice(0, 3).join(" | ")})`);
      }
      const base = path.basename(name, ".html");
      await take(page, path.join(folder, `${base}-${scheme}-${width}.png`));
      seen.push({ page: base, scheme, width, scroll, violations, asked: [...asked] });
    }
    await context.close();
  }
}
await browser.close();
console.log(JSON.stringify(seen));
