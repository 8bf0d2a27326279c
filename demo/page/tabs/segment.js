/* Tab "Segment": one photo, one or several models side by side, where they differ, how sure they are. */

import { ask } from "../answers.js";
import { RED, areasOf, classLayer, classList, isBackground } from "../classes.js";
import { element, overlay, percent, save, saveCanvas, seconds } from "../dom.js";
import { Group, viewButtons } from "../group.js";
import { Pane } from "../pane.js";
import { address } from "../server.js";

export const html = `
  <p class="hint" data-is="empty">Choose a photo to see its classes painted over it. Drag the white line across
    the image, point at something to see its class, and zoom with the wheel or two fingers.</p>
  <div class="result" data-is="stage-area" hidden>
    <div class="main">
      <div class="panes" data-is="panes"></div>
      <div class="tools">
        <span class="maps" data-is="maps" role="group" aria-label="What is painted">
          <button type="button" data-is="classes">Classes</button>
          <button type="button" data-is="difference">Where they differ</button>
          <button type="button" data-is="uncertainty">Uncertainty</button>
        </span>
        <span class="maps" data-is="view"></span>
      </div>
      <p class="hint" data-is="map-says" aria-live="polite"></p>
    </div>
    <div class="side">
      <div data-is="list"></div>
      <p class="hint" data-is="note"></p>
      <fieldset class="ways" data-is="ways">
        <legend>More accurate, slower</legend>
        <label><input type="checkbox" data-is="tta"> Test-time augmentation<span data-is="tta-time"></span></label>
        <label><input type="checkbox" data-is="sliding"> Sliding window<span data-is="sliding-time"></span></label>
        <span class="hint" data-is="plain-time"></span>
      </fieldset>
    </div>
  </div>`;

export const uses = ["photo", "opacity"];

export function start(page, place) {
  const find = (name) => place.querySelector(`[data-is="${name}"]`);
  const group = new Group();
  const [panes, list, note, options, maps] = ["panes", "list", "note", "ways", "maps"].map(find);
  const times = {}; // what each way took for this photo
  let results = [];
  let shownMap = "classes";

  const way = () => ({ tta: find("tta").checked, sliding: find("sliding").checked });

  function clear() {
    results = [];
    group.clear();
    for (const key of Object.keys(times)) delete times[key];
    [panes, list, note].forEach((each) => each.replaceChildren());
    find("stage-area").hidden = true;
    find("empty").hidden = false;
    tellTimes();
  }

  async function run() {
    if (!page.photo) return;
    const { tta, sliding } = way();
    await page.work(`Segmenting with ${page.model}`, async (signal, tell) => {
      const found = [];
      for (const [index, model] of page.models.entries()) {
        tell(`Segmenting with ${model}`, page.models.length > 1 ? index / page.models.length : undefined);
        found.push(await ask(page, model, [tta, sliding], signal));
        results = [...found];
        show();
      }
      const key = `${tta ? "tta" : ""}${sliding ? "sliding" : ""}` || "plain";
      times[key] = found.reduce((sum, { seconds }) => sum + seconds, 0);
      tellTimes();
    }, run);
  }

  function tellTimes() {
    const time = (key) => (times[key] === undefined ? "" : ` (${seconds(times[key])})`);
    find("tta-time").textContent = time("tta");
    find("sliding-time").textContent = time("sliding");
    find("plain-time").textContent = times.plain === undefined ? "" : `Plain: ${seconds(times.plain)}.`;
  }

  function show() {
    const view = [group.zoom, group.x, group.y];
    group.clear();
    [group.zoom, group.x, group.y] = view;
    find("empty").hidden = true;
    find("stage-area").hidden = false;
    if (!group.known) {
      results[0].names.filter(isBackground).forEach((name) => group.hidden.add(name));
      group.known = true;
    }
    note.textContent = results[0].note;
    for (const result of results) {
      const areas = areasOf(result.maps.ids, result.names);
      const largest = [...areas].sort((a, b) => b[1] - a[1]).slice(0, 5);
      const pane = new Pane(group, { photo: address(result.photo), width: result.width,
        height: result.height, title: result.model,
        caption: `${result.width} × ${result.height}, ${seconds(result.seconds)}`,
        described: `The photo with its classes: ${largest.map(([name, area]) => `${name} ${percent(area)}`).join(", ")}.` });
      pane.result = result;
      pane.element.append(element("p", { class: "downloads" },
        element("button", { type: "button", onclick: () => save(address(result.mask), result.mask.split("/").pop()) }, "Save mask"),
        element("button", { type: "button", onclick: () => saveCanvas(overlay(pane, page.opacity),
          result.mask.split("/").pop().replace("_mask.png", "_overlay.png")) }, "Save overlay")));
      panes.append(pane.element);
    }
    panes.dataset.count = results.length;
    find("difference").disabled = results.length < 2;
    find("uncertainty").disabled = results.some(({ maps }) => !maps.confidence);
    setMap(find(shownMap).disabled ? "classes" : shownMap);
    const colors = new Map(results.flatMap(({ names, palette }) => names.map((name, id) => [name, palette[id]])));
    list.replaceChildren(classList(group, results.map(({ model, maps, names }) =>
      ({ title: model, areas: areasOf(maps.ids, names) })), colors));
    group.moved();
    page.reveal(panes);
  }

  /* by name, as models number their classes differently */
  function differing(one, other) {
    const same = new Uint8Array(256 * 256);
    one.names.forEach((name, id) => { const there = other.names.indexOf(name); if (there >= 0) same[256 * id + there] = 1; });
    const [a, b] = [one.maps.ids, other.maps.ids];
    const found = new Uint8Array(a.length);
    let count = 0;
    for (let i = 0; i < a.length; i++) if (!same[256 * a[i] + b[i]]) { found[i] = 1; count++; }
    return [found, count / a.length];
  }

  function setMap(name) {
    shownMap = name;
    for (const button of maps.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.is === name));
    }
    find("map-says").textContent = "";
    for (const pane of group.panes) {
      const { result } = pane;
      const plain = classLayer(result, result.maps.ids, result.maps.confidence);
      if (name === "classes") pane.setLayer(plain);
      else if (name === "uncertainty") {
        const values = result.maps.confidence;
        const colors = Array.from({ length: 256 }, (_, c) => [...RED, 255 - c]);
        let sum = 0;
        for (const value of values) sum += value;
        pane.setLayer({ values, colors, gray: true, label: plain.label, swatch: plain.swatch });
        find("map-says").textContent = "Red where the model is unsure (1 - confidence). "
          + `Mean confidence: ${percent(sum / values.length / 255)}.`;
      } else {
        const other = results[result === results[0] ? 1 : 0];
        const [values, share] = differing(result, other);
        const theirs = classLayer(other, other.maps.ids);
        pane.setLayer({ values, colors: [undefined, RED], gray: true, swatch: plain.swatch,
          label: (i) => (values[i] ? `${result.model}: ${plain.label(i)}, ${other.model}: ${theirs.label(i)}` : plain.label(i)) });
        find("map-says").textContent = `${results[0].model} and ${results[1].model} differ in ${percent(share)} of the pixels.`;
      }
    }
  }

  for (const button of maps.querySelectorAll("button")) {
    button.addEventListener("click", () => setMap(button.dataset.is));
  }
  options.addEventListener("change", run);
  find("view").append(...viewButtons(group, find("stage-area")));
  clear();
  return { clear, open: () => { if (!results.length) run(); } };
}
