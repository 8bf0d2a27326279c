/* Tab "About": the model card, and the web API with snippets for the model at hand. */

import { call } from "../server.js";

export const html = `
  <article class="card" data-is="card"></article>
  <h2>From a program</h2>
  <p class="hint">This page also has a web API. In Python, with <code>pip install gradio_client</code>:</p>
  <pre data-is="python" tabindex="0" aria-label="Python"></pre>
  <p class="hint">With curl:</p>
  <pre data-is="curl" tabindex="0" aria-label="curl"></pre>`;

export const style = `
#hfseg .card { max-width: 52rem; overflow-wrap: anywhere; }
#hfseg .card img { max-width: 100%; height: auto; border-radius: 8px; background: white; }
#hfseg .card table { display: block; overflow-x: auto; }
#hfseg .card a { color: var(--accent); text-decoration: underline; }
#hfseg .card li { list-style: disc; }
#hfseg .card ul { list-style: disc; padding-left: 1.3rem; }
`;

export function start(page, place) {
  const find = (name) => place.querySelector(`[data-is="${name}"]`);
  let shown = null;

  async function open() {
    const model = page.model;
    const here = document.baseURI.replace(/[?#].*$/, "").replace(/\/$/, "");
    find("python").textContent = [
      "from gradio_client import Client, handle_file", "",
      `client = Client(${JSON.stringify(here)})`,
      "mask, overlay, summary = client.predict(",
      `    handle_file("photo.jpg"), model=${JSON.stringify(model)}, api_name="/segment"`,
      ")", "print(mask)  # a PNG whose pixel values are class ids",
      'print({each["name"]: each["share"] for each in summary["classes"]})',
    ].join("\n");
    const quoted = JSON.stringify(model).replaceAll("'", "'\\''");
    find("curl").textContent = [
      `PAGE=${here}/gradio_api`,
      "UPLOAD=$(curl -sf -F files=@photo.jpg $PAGE/upload | tr -d '[]\"')",
      `DATA='[{"path": "'$UPLOAD'", "meta": {"_type": "gradio.FileData"}}, ${quoted}]'`,
      "EVENT=$(curl -sf $PAGE/call/segment -H 'Content-Type: application/json' \\",
      "  -d \"{\\\"data\\\": $DATA}\" | sed 's/.*: *\"\\(.*\\)\".*/\\1/')",
      "curl -sfN $PAGE/call/segment/$EVENT",
    ].join("\n");
    if (shown === model) return;
    await page.work("Loading the model card", async (signal) => {
      // rendered by card.py, where everything of the card's author is escaped
      find("card").innerHTML = (await call("card", [model], { signal })).html;
      shown = model;
    });
  }

  return { open };
}
