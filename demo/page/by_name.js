/* Tab "By name": SAM 3 looks for classes that it is given by name, beside the model. */

import { classLayer, isBackground } from "./classes.js";
import { readValues, seconds } from "./dom.js";
import { Group, Pane } from "./pane.js";
import { address, call } from "./server.js";

export function byName(page, place) {
  const find = (name) => place.querySelector(`[data-is="${name}"]`);
  const group = new Group();

  function clear() {
    group.clear();
    find("name-panes").replaceChildren();
  }

  async function run() {
    if (!page.photo) {
      page.complain("Choose a photo first.");
      return;
    }
    clear();
    await page.work("SAM 3 is looking for each name", async (signal, tell) => {
      const names = find("names").value.split(",").map((name) => name.trim()).filter(Boolean);
      const answer = await call("by_name", [page.photo.file, names, page.model],
        { signal, onProgress: ({ doing, part }) => doing && tell(doing, part) });
      for (const figure of answer.figures) {
        const ids = await readValues(address(figure.ids), answer.width, answer.height, signal);
        const pane = new Pane(group, { photo: address(answer.photo), width: answer.width,
          height: answer.height, title: figure.title, caption: seconds(figure.seconds) });
        figure.names.filter(isBackground).forEach((name) => group.hidden.add(name));
        find("name-panes").append(pane.element);
        pane.setLayer(classLayer(figure, ids));
      }
      find("name-panes").dataset.count = answer.figures.length;
      group.moved();
      page.reveal(find("name-panes"));
    }, run);
  }

  find("no-sam3").hidden = page.settings.sam3;
  find("with-sam3").hidden = !page.settings.sam3;
  find("names").value = page.settings.names.join(", ");
  find("find").addEventListener("click", run);
  find("names").addEventListener("keydown", (event) => { if (event.key === "Enter") run(); });
  return { clear };
}
