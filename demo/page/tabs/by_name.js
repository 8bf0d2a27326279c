/* Tab "By name": SAM 3 looks for classes by name, next to the model. */

import { showFigures } from "../answers.js";
import { areasOf, classList } from "../classes.js";
import { Group } from "../group.js";
import { call } from "../server.js";

export const html = `
  <p class="hint" data-is="no-sam3">SAM 3 finds classes by their names, without training. This page runs without it:
    start the page with <code>--sam3 facebook/sam3</code>, or with a folder that contains such a model.</p>
  <div data-is="with-sam3">
    <p class="hint">Do you need to train at all? SAM 3 looks for these classes and has never seen your data.
      <em>Instances</em>: everything it finds, the best on top. <em>Semantic</em>: the most probable class of each
      pixel.</p>
    <p class="tools"><label>Classes, separated by commas <input type="text" data-is="names" maxlength="2000"
      size="60"></label>
      <button type="button" class="primary" data-is="find">Find them</button></p>
    <div class="panes" data-is="name-panes"></div>
    <p class="hint" data-is="not-found" aria-live="polite"></p>
    <div class="names" data-is="name-list"></div>
  </div>`;

export const style = `
#hfseg .names { max-width: 34rem; }
`;

export const uses = ["photo", "opacity"];

export function start(page, place, { sam3, names: known }) {
  const find = (name) => place.querySelector(`[data-is="${name}"]`);
  const group = new Group();

  function clear() {
    group.clear();
    ["name-panes", "not-found", "name-list"].forEach((name) => find(name).replaceChildren());
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
      const maps = await showFigures(group, find("name-panes"), answer, signal);
      list(answer.figures, maps);
      page.reveal(find("name-panes"));
    }, run);
  }

  /** The classes of all figures, and which of them SAM 3 did not find. */
  function list(figures, maps) {
    const columns = figures.map(({ title, names }, index) => ({ title, areas: areasOf(maps[index], names) }));
    const colors = new Map(figures.flatMap(({ names, palette }) => names.map((name, id) => [name, palette[id]])));
    find("name-list").replaceChildren(classList(group, columns, colors));
    const [, ...found] = columns;
    const missing = figures[1].names.filter((name) => !found.some(({ areas }) => areas.has(name)));
    find("not-found").textContent = missing.length ? `SAM 3 did not find: ${missing.join(", ")}.` : "";
  }

  find("no-sam3").hidden = sam3;
  find("with-sam3").hidden = !sam3;
  find("names").value = known.join(", ");
  find("find").addEventListener("click", run);
  find("names").addEventListener("keydown", (event) => { if (event.key === "Enter") run(); });
  return { clear };
}
