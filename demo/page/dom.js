/* Small helpers for elements and files. Text is always set as text, never as HTML. */

/** An element with attributes, listeners (`onclick`) and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, name.startsWith("aria-") ? "true" : "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

export const seconds = (value) => (value < 1 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(1)} s`);

export const css = (color) => (color ? `rgb(${color.slice(0, 3).join(", ")})` : "transparent");

/** Call `use` with the files that an input is given, by its menu or dropped on its label. */
export function onFiles(input, use) {
  input.addEventListener("change", () => { use([...input.files]); input.value = ""; });
  input.closest("label").addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    use([...event.dataTransfer.files]);
  });
}

/** Offer a file to be saved. */
export function save(url, name) {
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Save what a canvas shows as a PNG. */
export async function saveCanvas(canvas, name) {
  const url = URL.createObjectURL(await blobOf(canvas));
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export const blobOf = (canvas, type = "image/png") => new Promise((done) => { canvas.toBlob(done, type); });

/** The first channel of every pixel of a picture. */
export async function readValues(url, width, height, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Error("A result is no longer on the server: run it again.");
  // without color management, which would change the values
  const bitmap = await createImageBitmap(await response.blob(),
    { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const data = context.getImageData(0, 0, width, height).data;
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i++) values[i] = data[4 * i];
  signal?.throwIfAborted(); // given up meanwhile: it must not be shown any more
  return values;
}

/** The photo under a layer of colors, as a canvas. */
export function overlay(pane, opacity) {
  const canvas = element("canvas", { width: pane.view.width, height: pane.view.height });
  const context = canvas.getContext("2d");
  context.drawImage(pane.photo, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = opacity;
  context.drawImage(pane.canvas, 0, 0);
  return canvas;
}
