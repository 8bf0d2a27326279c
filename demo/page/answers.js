/* What models say about the photo: by the endpoint `view`, or as figures beside each other. */

import { classLayer, isBackground } from "./classes.js";
import { readValues, seconds } from "./dom.js";
import { Pane } from "./pane.js";
import { address, call } from "./server.js";

/**
 * A model's classes of the page's photo, with the maps that are painted.
 *
 * @param options of the endpoint `view`: augmentation, sliding window, at the size for SAM.
 */
export async function ask(page, model, options, signal) {
  const result = await call("view", [page.photo.file, model, ...options], { signal });
  const { width, height } = result;
  const [ids, confidence] = await Promise.all([
    readValues(address(result.ids), width, height, signal),
    result.confidence && readValues(address(result.confidence), width, height, signal),
  ]);
  return { ...result, maps: { ids, confidence } };
}

/**
 * Show an answer's `figures` as panes, each with names and colors of its own.
 *
 * @returns the ids of each figure.
 */
export async function showFigures(group, place, answer, signal) {
  const { photo, width, height, figures } = answer;
  const maps = await Promise.all(figures.map(({ ids }) => readValues(address(ids), width, height, signal)));
  figures.forEach(({ title, caption, seconds: took, names, palette }, index) => {
    const pane = new Pane(group, { photo: address(photo), width, height, title,
      caption: [caption, seconds(took)].filter(Boolean).join(", ") });
    names.filter(isBackground).forEach((name) => group.hidden.add(name));
    place.append(pane.element);
    pane.setLayer(classLayer({ names, palette }, maps[index]));
  });
  place.dataset.count = figures.length;
  group.moved();
  return maps;
}
