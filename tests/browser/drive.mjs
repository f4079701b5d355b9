// A browser that is told what to do: one JSON command a line on stdin, one JSON answer a line on stdout.
// usage: node drive.mjs NODE_MODULES CHROMIUM
import { createRequire } from "node:module";
import path from "node:path";
import fs from "node:fs";
import readline from "node:readline";

const [modules, executablePath] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), "x.js"));
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"],
});
let context, page, trouble;

const commands = {
  async open({ width = 1280, height = 900, scheme = "light", script = true }) {
    await context?.close();
    context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, javaScriptEnabled: script, timezoneId: "Europe/Berlin" });
    page = await context.newPage();
    page.setDefaultTimeout(30000);
    trouble = [];
    page.on("console", (m) => { if (m.type() === "error") trouble.push(m.text()); });
    page.on("pageerror", (e) => trouble.push(String(e)));
  },
  async dress({ width, scheme }) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: scheme });
  },
  async goto({ url }) { return (await page.goto(url, { waitUntil: "load" }))?.status(); /* none: only the fragment differs */ },
  async fill({ at, text }) { await page.fill(at, text); },
  async type({ at, text }) { await page.locator(at).pressSequentially(text); },
  async check({ at }) { await page.check(at); },
  async click({ at }) { await page.locator(at).first().click(); await page.waitForLoadState("load"); },
  async press({ key }) { await page.keyboard.press(key); },
  async wait({ text, at = "body" }) { await page.locator(at).filter({ hasText: text }).first().waitFor(); },
  async text({ at = "main" }) { return await page.locator(at).first().innerText(); },
  async value({ at }) { return await page.locator(at).first().inputValue(); },
  async focused() { return await page.evaluate(() => document.activeElement.outerHTML.slice(0, 200)); },
  async url() { return page.url(); },
  async scroll() { return await page.evaluate(() => document.documentElement.scrollWidth); },
  async trouble() { return trouble; },
  async picture({ file, whole = true }) { await page.screenshot({ path: file, fullPage: whole }); },
  async axe() {
    await page.evaluate(axe);
    const result = await page.evaluate(() => globalThis.axe.run());
    return result.violations.map((v) => `${v.id}: ${v.help} (${v.nodes.map((n) => n.html.slice(0, 120)).slice(0, 3).join(" | ")})`);
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { do: name, ...values } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ answer: (await commands[name](values)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error).slice(0, 800) }));
  }
}
await browser.close();
