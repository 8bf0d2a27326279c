/* Tab "Correct with SAM": objects that are clicked, and training pairs made of them. */

import { ask } from "../answers.js";
import { areasOf, classLayer, classList, isBackground } from "../classes.js";
import { blobOf, css, element, onFiles, readValues, save, seconds } from "../dom.js";
import { Group, viewButtons } from "../group.js";
import { Pane } from "../pane.js";
import { address, call, upload } from "../server.js";
import { everything } from "./everything.js";

export const html = `
  <p class="hint" data-is="no-sam">SAM finds the boundary of what you click. This page runs without it: start the page
    with <code>--sam facebook/sam2.1-hiera-tiny</code> (156 MB from the Hugging Face Hub), or with a folder that
    contains such a model. The other tabs need nothing else.</p>
  <div data-is="with-sam">
    <p class="hint" data-is="empty">Choose a photo. Then click on an object: SAM finds its boundary, and you say what
      it is. Corrected photos can be saved as training data.</p>
    <div class="result" data-is="work" hidden>
      <div class="main">
        <div class="panes" data-is="pane"></div>
        <div class="tools">
          <span class="maps" role="radiogroup" aria-label="The next point is">
            <label><input type="radio" name="next-point" checked> on the object</label>
            <label><input type="radio" name="next-point" data-is="beside"> off the object (or Shift)</label>
          </span>
          <span class="maps" data-is="view">
            <button type="button" data-is="undo">Undo</button>
            <button type="button" data-is="redo">Redo</button>
          </span>
        </div>
      </div>
      <div class="side">
        <label class="drop low">
          <input type="file" accept="image/png,image/*" data-is="mask" aria-label="Choose a mask">
          <span><strong>Choose a mask</strong> to start from, instead of the model's</span>
        </label>
        <ul class="objects" data-is="objects" aria-label="Objects"></ul>
        <p><button type="button" data-is="new">New object</button> <span class="hint" data-is="changed"></span></p>
        <div data-is="list"></div>
        <fieldset>
          <legend>Training data</legend>
          <p class="downloads"><button type="button" class="primary" data-is="save-pair">Save photo and mask</button>
            <button type="button" data-is="add-pair">Add to the list</button>
            <button type="button" data-is="save-pairs">Save 0 pairs as ZIP</button></p>
          <p class="hint">Unpack it and train: <code>hfseg finetune --dataset_name folder --dataset_path DIR</code></p>
        </fieldset>
      </div>
    </div>
    <details>
      <summary>Compare with everything SAM finds</summary>
      <p class="hint">SAM shows which pixels belong together, but not what they are. The model shows what they are,
        with rougher boundaries. Here each helps the other.</p>
      <p class="tools"><label>Points per side of the grid <input type="range" min="4" max="32" step="4" value="16"
        data-is="density"> <output data-is="density-says">16</output></label>
        <button type="button" class="primary" data-is="compare">Compare</button></p>
      <div class="panes" data-is="everything-panes"></div>
    </details>
  </div>`;

export const style = `
#hfseg .point { position: absolute; z-index: 1; width: 20px; height: 20px; margin: -10px 0 0 -10px; border: 2px solid white; border-radius: 50%; color: white; font: 700 15px/16px sans-serif; text-align: center; pointer-events: none; opacity: 0.6; }
#hfseg .point.active { opacity: 1; }
#hfseg .point.on { background: #147a3c; }
#hfseg .point.off { background: #b3262c; }
#hfseg .objects { list-style: none; margin: 0; padding: 0; display: grid; gap: 0.4rem; }
#hfseg .objects li { display: flex; flex-wrap: wrap; gap: 0.3rem; align-items: center; margin: 0; padding: 0.3rem; border: 1px solid var(--line); border-radius: 10px; }
#hfseg .objects li.active { border-color: var(--accent); }
#hfseg .objects .swatch { margin-right: 0.45rem; }
#hfseg .objects .hint { flex: 1 1 8rem; font-size: 0.9rem; }
#hfseg .objects select { flex: 1 1 8rem; min-width: 0; }
`;

export const uses = ["photo", "opacity"];

export function start(page, place, { sam }) {
  const find = (name) => place.querySelector(`[data-is="${name}"]`);
  const group = new Group();
  const compare = everything(page, place);
  const pairs = [];
  let result = null; // the model's answer
  let ids = null; // with the objects in it
  let pane = null;
  let objects = []; // [{points: [[x, y, 1 or 0]], label: a class or null}]
  let active = 0;
  let answers = new Map(); // points as text -> {mask, score}
  let done = []; // for undo
  let undone = []; // for redo
  let busy = false;

  find("no-sam").hidden = sam;
  find("with-sam").hidden = !sam;

  function clear() {
    group.clear();
    [result, ids, pane, objects, active, done, undone] = [null, null, null, [], 0, [], []];
    answers = new Map();
    ["pane", "objects", "list"].forEach((name) => find(name).replaceChildren());
    find("work").hidden = true;
    find("empty").hidden = false;
    compare.clear();
  }

  async function open() {
    if (!page.photo || result || !sam) return;
    await page.work(`Segmenting with ${page.model}`, async (signal) => {
      result = await ask(page, page.model, [false, false, true], signal);
    }, open);
    if (!result) return;
    find("empty").hidden = true;
    find("work").hidden = false;
    result.names.filter(isBackground).forEach((name) => group.hidden.add(name));
    pane = new Pane(group, { photo: address(result.photo), width: result.width, height: result.height,
      title: "Click on an object", caption: `${result.model}, ${seconds(result.seconds)}`,
      described: "Enter adds a point where the pointer is." }, (x, y, event) => addPoint(x, y, event));
    find("pane").append(pane.element);
    compose();
    page.reveal(find("pane"));
  }

  /** Correct a mask that exists, such as one that find-label-errors suggests. */
  async function useMask(file) {
    if (!file) return;
    const of = result;
    await page.work("Reading the mask", async (signal) => {
      const answer = await call("given_mask", [page.photo.file, await upload(file, signal), page.model], { signal });
      of.maps.ids = await readValues(address(answer.ids), of.width, of.height, signal);
      pane.caption.textContent = file.name;
      compose();
    });
  }

  const copied = () => objects.map((each) => ({ ...each, points: [...each.points] }));

  function remember() {
    done.push({ objects: copied(), active });
    undone = [];
  }

  function step(from, to) {
    if (!from.length) return;
    to.push({ objects: copied(), active });
    ({ objects, active } = from.pop());
    refresh();
  }

  function addPoint(x, y, event) {
    remember();
    if (!objects[active]) { objects.push({ points: [], label: null }); active = objects.length - 1; }
    const beside = find("beside").checked !== Boolean(event?.shiftKey);
    objects[active].points.push([x, y, beside ? 0 : 1]);
    refresh();
  }

  /** Ask SAM for what is not known yet; clicks that come meanwhile are asked next. */
  async function refresh() {
    compose();
    if (busy) return;
    busy = true;
    const known = (each) => answers.has(JSON.stringify(each.points));
    const askable = (each) => each.points.some(([, , on]) => on);
    const wanted = () => objects.filter((each) => askable(each) && !known(each));
    const of = result;
    while (result === of && wanted().length) {
      const asked = wanted().map(({ points }) => points);
      const fine = await page.work("SAM is finding the boundary", async (signal) => {
        const found = await call("objects", [page.photo.file, asked], { signal });
        for (const [index, { mask, score }] of found.objects.entries()) {
          const values = await readValues(address(mask), of.width, of.height, signal);
          answers.set(JSON.stringify(asked[index]), { mask: values, score });
        }
      }, refresh);
      if (!fine) break;
      compose();
    }
    busy = false;
  }

  function classOf(object, mask) {
    if (object.label !== null) return result.names.indexOf(object.label);
    const counts = new Array(256).fill(0);
    for (let i = 0; i < mask.length; i++) if (mask[i]) counts[result.maps.ids[i]]++;
    return counts.indexOf(Math.max(...counts));
  }

  /** The model's classes with the objects in them, and everything that shows them. */
  function compose() {
    if (!result || !pane) return;
    ids = Uint8Array.from(result.maps.ids);
    let changed = 0;
    for (const object of objects) {
      const answer = answers.get(JSON.stringify(object.points));
      object.found = answer && { score: answer.score, id: classOf(object, answer.mask) };
      if (!answer) continue;
      for (let i = 0; i < ids.length; i++) if (answer.mask[i]) ids[i] = object.found.id;
    }
    for (let i = 0; i < ids.length; i++) if (ids[i] !== result.maps.ids[i]) changed++;
    pane.setLayer(classLayer(result, ids));
    drawPoints();
    listObjects();
    const colors = new Map(result.names.map((name, id) => [name, result.palette[id]]));
    find("list").replaceChildren(classList(group, [{ title: "", areas: areasOf(ids, result.names) }], colors));
    find("changed").textContent = changed ? `${(100 * changed / ids.length).toFixed(1)} % of the pixels changed.` : "";
    find("undo").disabled = !done.length;
    find("redo").disabled = !undone.length;
    find("new").disabled = !objects[active]?.points.length;
  }

  function drawPoints() {
    pane.world.querySelectorAll(".point").forEach((each) => each.remove());
    objects.forEach((object, index) => object.points.forEach(([x, y, on]) => {
      pane.world.append(element("span", { class: `point ${on ? "on" : "off"} ${index === active ? "active" : ""}`,
        style: `left: ${100 * x}%; top: ${100 * y}%` }, on ? "+" : "−"));
    }));
  }

  function listObjects() {
    const rows = objects.map((object, index) => {
      const menu = element("select", { "aria-label": `Class of object ${index + 1}`, onchange: () => {
        remember();
        object.label = menu.value || null;
        refresh();
      } }, element("option", { value: "" }, "as predicted by the model"),
      ...result.names.map((name) => element("option", { value: name, selected: name === object.label }, name)));
      const found = object.found;
      const said = !object.points.some(([, , on]) => on) ? "add a point on the object"
        : found ? `${result.names[found.id] ?? "ignored"}, predicted IoU ${found.score.toFixed(2)}` : "…";
      return element("li", { class: index === active ? "active" : "" },
        element("button", { type: "button", "aria-pressed": String(index === active), onclick: () => { active = index; compose(); } },
          element("span", { class: "swatch", style: `background: ${css(found && result.palette[found.id])}` }), `Object ${index + 1}`),
        element("span", { class: "hint" }, said), menu,
        element("button", { type: "button", "aria-label": `Remove object ${index + 1}`, onclick: () => {
          remember();
          objects.splice(index, 1);
          active = Math.max(0, Math.min(active, objects.length - 1));
          refresh();
        } }, "Remove"));
    });
    find("objects").replaceChildren(...rows);
  }

  /** The mask as a picture of ids: gray, so that its values are what they say. */
  async function maskFile() {
    const canvas = element("canvas", { width: result.width, height: result.height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(result.width, result.height);
    ids.forEach((id, i) => image.data.set([id, id, id, 255], 4 * i));
    context.putImageData(image, 0, 0);
    return blobOf(canvas);
  }

  async function download(chosen) {
    await page.work("Packing the training pairs", async (signal) => {
      const masks = [];
      for (const { mask } of chosen) masks.push(await upload(mask, signal, "mask.png"));
      const answer = await call("training_pairs", [chosen.map(({ file }) => file), masks, page.model], { signal });
      save(address(answer.file), "training_pairs.zip");
    });
  }

  const current = async () => ({ file: page.photo.file, mask: await maskFile(), model: page.model });
  const ofModel = () => pairs.filter(({ model }) => model === page.model);

  function countPairs() {
    const count = ofModel().length;
    find("save-pairs").disabled = !count;
    find("save-pairs").textContent = `Save ${count} pair${count === 1 ? "" : "s"} as ZIP`;
  }

  onFiles(find("mask"), ([file]) => useMask(file));
  find("save-pair").addEventListener("click", async () => download([await current()]));
  find("add-pair").addEventListener("click", async () => {
    const pair = await current();
    const before = pairs.findIndex(({ file, model }) => file.path === pair.file.path && model === pair.model);
    if (before >= 0) pairs[before] = pair; // the same photo, corrected further
    else pairs.push(pair);
    countPairs();
  });
  find("save-pairs").addEventListener("click", () => download(ofModel()));
  find("undo").addEventListener("click", () => step(done, undone));
  find("redo").addEventListener("click", () => step(undone, done));
  find("new").addEventListener("click", () => { active = objects.length; compose(); });
  find("view").append(...viewButtons(group, find("work")));
  document.addEventListener("keydown", (event) => {
    if (place.hidden || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    if (event.shiftKey) step(undone, done);
    else step(done, undone);
  });
  countPairs();
  return { clear, open: () => { countPairs(); open(); } };
}
