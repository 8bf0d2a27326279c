/* What a model says about the photo. */

import { readValues } from "./dom.js";
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
