/* Everything SAM finds beside the model, and the two ways to join them. */

import { classLayer, isBackground } from "./classes.js";
import { readValues, seconds } from "./dom.js";
import { Group, Pane } from "./pane.js";
import { address, call } from "./server.js";

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
      for (const figure of answer.figures) {
        const ids = await readValues(address(figure.ids), answer.width, answer.height, signal);
        const pane = new Pane(group, { photo: address(answer.photo), width: answer.width,
          height: answer.height, title: figure.title, caption: `${figure.caption}, ${seconds(figure.seconds)}` });
        figure.names.filter(isBackground).forEach((name) => group.hidden.add(name));
        find("everything-panes").append(pane.element);
        pane.setLayer(classLayer(figure, ids));
      }
      find("everything-panes").dataset.count = answer.figures.length;
      group.moved();
      page.reveal(find("everything-panes"));
    }, run);
  }

  find("density").addEventListener("input", () => { find("density-says").textContent = find("density").value; });
  find("compare").addEventListener("click", run);
  return { clear };
}
