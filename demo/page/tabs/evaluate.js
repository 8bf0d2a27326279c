/* Tab "Evaluate": the photo and its ground truth, scored, with the errors on the photo. */

import { RED, classLayer, isBackground } from "../classes.js";
import { css, element, onFiles, percent, readValues } from "../dom.js";
import { Group } from "../group.js";
import { Pane } from "../pane.js";
import { address, call, upload } from "../server.js";

const NOT_SCORED = [20, 50, 90];

export const html = `
  <label class="drop low">
    <input type="file" accept="image/png,image/*" data-is="truth" aria-label="Choose the ground truth">
    <span><strong>Choose the ground truth</strong> of the photo <span data-is="truth-name"></span></span>
  </label>
  <p class="hint" data-is="empty">A PNG with the photo's size and class ids as pixel values (255 is not scored), or one in
    the model's own colors.</p>
  <dl class="scores" data-is="scores"></dl>
  <div class="panes" data-is="panes"></div>
  <p class="hint" data-is="note"></p>
  <div data-is="table"></div>`;

export const style = `
#hfseg .scores { display: flex; flex-wrap: wrap; gap: 0.4rem 2rem; margin: 0.6rem 0; }
#hfseg .scores dt { color: var(--muted); }
#hfseg .scores dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
`;

export const uses = ["photo", "opacity"];

export function start(page, place) {
  const find = (name) => place.querySelector(`[data-is="${name}"]`);
  const group = new Group();
  let truth = null;

  function clear() {
    group.clear();
    ["panes", "scores", "table", "note"].forEach((name) => find(name).replaceChildren());
    truth = null;
    find("truth-name").textContent = "";
    find("empty").hidden = false;
  }

  async function use(file) {
    if (!file) return;
    if (!page.photo) {
      page.complain("Choose the photo first, and then its ground truth.");
      return;
    }
    clear();
    await page.work("Uploading the ground truth", async (signal) => { truth = await upload(file, signal); });
    find("truth-name").textContent = truth ? `(${file.name})` : "";
    run();
  }

  async function run() {
    if (!page.photo || !truth) return;
    await page.work(`Scoring ${page.model}`, async (signal) => {
      const answer = await call("evaluate", [page.photo.file, truth, page.model], { signal });
      const { width, height, names, palette } = answer;
      const [predicted, real] = await Promise.all([answer.prediction, answer.truth].map((path) =>
        readValues(address(path), width, height, signal)));
      const errors = predicted.map((id, i) => (real[i] >= names.length ? 2 : Number(id !== real[i])));
      const said = (i) => (errors[i] === 2 ? `predicted ${names[predicted[i]]}, not scored`
        : `predicted ${names[predicted[i]]}, ground truth ${names[real[i]]}`);
      group.clear();
      find("panes").replaceChildren();
      find("empty").hidden = true;
      const show = (title, caption, layer) => {
        const pane = new Pane(group, { photo: address(answer.photo), width, height, title, caption, described: answer.described });
        find("panes").append(pane.element);
        pane.setLayer({ ...layer, label: said });
      };
      const shown = { names, palette };
      show("Errors", `${percent(answer.wrong)} wrong (red); striped: not scored`,
        { values: errors, colors: [undefined, RED, NOT_SCORED], striped: 2, gray: true, swatch: (i) => css(palette[predicted[i]]) });
      show("Prediction", "", classLayer(shown, predicted));
      show("Ground truth", "", classLayer(shown, real));
      names.filter(isBackground).forEach((name) => group.hidden.add(name));
      group.paint();
      find("panes").dataset.count = 3;
      group.moved();
      find("note").textContent = answer.note;
      tell(answer);
      page.reveal(find("panes"));
    }, run);
  }

  function tell(answer) {
    find("scores").replaceChildren(...answer.scores.map(({ title, value }) =>
      element("div", {}, element("dt", {}, title), element("dd", {}, percent(value)))));
    const rows = answer.classes.map(({ id, name, iou }) => element("tr", {},
      element("td", {}, element("span", { class: "swatch", style: `background: ${css(answer.palette[id])}` })),
      element("th", { scope: "row" }, name), element("td", { class: "area" }, percent(iou))));
    find("table").replaceChildren(element("table", {},
      element("caption", {}, `IoU of the ${rows.length} of ${answer.names.length} classes that occur in this one image`),
      element("thead", {}, element("tr", {}, element("td", {}), element("th", { scope: "col" }, "Class"),
        element("th", { scope: "col", class: "area" }, "IoU"))),
      element("tbody", {}, ...rows)));
  }

  onFiles(find("truth"), ([file]) => use(file));
  clear();
  return {
    clear,
    open: () => {
      if (truth || !page.photo?.truth) return;
      truth = page.photo.truth; // an example brings its own
      find("truth-name").textContent = "(that of the example)";
      run();
    },
  };
}
