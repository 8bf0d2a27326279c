/* Tab "About": the model card, and the web API with snippets for the model at hand. */

import { call } from "./server.js";

export function about(page, place) {
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
