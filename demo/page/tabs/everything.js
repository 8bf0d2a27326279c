/* A part of the tab "Correct": everything SAM finds beside the model, and two ways to join them. */

import { showFigures } from "../answers.js";
import { Group } from "../group.js";
import { call } from "../server.js";

export function everything(page, place) {
  const find = (name) => place.querySelector(`[data-is="${name}"]`);
  const group = new Group();

  function clear() {
    group.clear();
    find("everything-panes").replaceChildren();
  }

  async function run() {
    if (!page.photo) {
      page.complain("Choose a photo first.");
      return;
    }
    clear();
    await page.work("SAM is segmenting everything", async (signal, tell) => {
      const density = Number(find("density").value);
      const answer = await call("everything", [page.photo.file, page.model, density],
        { signal, onProgress: ({ doing, part }) => doing && tell(doing, part) });
      await showFigures(group, find("everything-panes"), answer, signal);
      page.reveal(find("everything-panes"));
    }, run);
  }

  find("density").addEventListener("input", () => { find("density-says").textContent = find("density").value; });
  find("compare").addEventListener("click", run);
  return { clear };
}
