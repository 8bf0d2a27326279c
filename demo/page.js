/* Figures made by viewer.py: paint class ids in their colours, move the divider, name what is
   under the pointer, save the overlay. One set of listeners serves all figures, also those that
   gradio puts into the page later. */
(() => {
  "use strict";
  const ids = new WeakMap(); // figure -> class id of every pixel
  const EDGE = 0.65; // how white the line between two regions is, as in hfseg.visualization.overlay

  async function paint(figure) {
    const canvas = figure.querySelector("canvas");
    const image = new Image();
    image.src = figure.dataset.ids;
    try { await image.decode(); } catch { return; } // replaced or deleted meanwhile
    const { width, height } = canvas;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, width, height);
    const data = pixels.data;
    const map = new Uint8Array(width * height);
    for (let i = 0; i < map.length; i++) map[i] = data[4 * i];
    const palette = JSON.parse(figure.dataset.palette);
    for (let i = 0; i < map.length; i++) {
      const color = palette[map[i]];
      const x = i % width;
      const edge = (x + 1 < width && map[i + 1] !== map[i])
        || (i + width < map.length && map[i + width] !== map[i]);
      const white = edge ? EDGE : 0;
      for (let c = 0; c < 3; c++) {
        data[4 * i + c] = (1 - white) * (color ? color[c] : 255) + white * 255;
      }
      data[4 * i + 3] = color || edge ? 255 : 0;
    }
    context.putImageData(pixels, 0, 0);
    ids.set(figure, map);
    figure.dataset.painted = "yes";
  }

  function siblings(figure) {
    const group = figure.closest(".viewers");
    return group ? [...group.querySelectorAll(".viewer:not(.plain)")] : [figure];
  }

  function divide(figure, value) {
    for (const each of siblings(figure)) {
      if (Number(value) > 0) each.style.setProperty("--divide", `${value}%`);
      else each.style.removeProperty("--divide");
      each.querySelector(".divide input").value = value;
    }
  }

  /* x and y are shares of the width and height */
  function point(figure, x, y) {
    for (const each of siblings(figure)) {
      const map = ids.get(each);
      if (!map) continue;
      const { width, height } = each.querySelector("canvas");
      const column = Math.min(width - 1, Math.max(0, Math.floor(x * width)));
      const row = Math.min(height - 1, Math.max(0, Math.floor(y * height)));
      const id = map[row * width + column];
      const name = JSON.parse(each.dataset.names)[id];
      const under = each.querySelector(".under");
      under.textContent = name ?? "nothing";
      const color = JSON.parse(each.dataset.palette)[id];
      under.style.setProperty("--swatch", color ? `rgb(${color})` : "transparent");
      each.style.setProperty("--x", `${100 * x}%`);
      each.style.setProperty("--y", `${100 * y}%`);
      each.dataset.pointed = "yes";
    }
    figure.dataset.at = JSON.stringify([x, y]);
  }

  function pointAt(event) {
    const stage = event.target.closest?.(".viewer .stage");
    if (!stage) return;
    const box = stage.getBoundingClientRect();
    point(stage.closest(".viewer"), (event.clientX - box.left) / box.width,
      (event.clientY - box.top) / box.height);
  }

  async function saveOverlay(figure) {
    const colors = figure.querySelector("canvas");
    const photo = figure.querySelector(".stage img");
    const canvas = document.createElement("canvas");
    canvas.width = colors.width;
    canvas.height = colors.height;
    const context = canvas.getContext("2d");
    context.drawImage(photo, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = Number(getComputedStyle(colors).opacity);
    context.drawImage(colors, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = figure.dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  window.hfsegOpacity = (value) => {
    document.documentElement.style.setProperty("--class-opacity", value);
  };

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("pointermove", pointAt);
  document.addEventListener("pointerdown", pointAt);
  document.addEventListener("keydown", (event) => {
    const stage = event.target.closest?.(".viewer .stage");
    const step = STEPS[event.key];
    if (!stage || !step) return;
    event.preventDefault();
    const figure = stage.closest(".viewer");
    const [x, y] = JSON.parse(figure.dataset.at ?? "[0.5, 0.5]");
    const size = event.shiftKey ? 0.1 : 0.02;
    const inside = (value) => Math.min(0.999, Math.max(0, value));
    point(figure, inside(x + size * step[0]), inside(y + size * step[1]));
  });
  document.addEventListener("input", (event) => {
    const figure = event.target.closest?.(".viewer");
    if (figure && event.target.matches(".divide input")) divide(figure, event.target.value);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".viewer .downloads button");
    if (button) saveOverlay(button.closest(".viewer"));
  });
  const paintNew = () => {
    for (const figure of document.querySelectorAll(".viewer[data-ids]:not([data-seen])")) {
      figure.dataset.seen = "yes";
      paint(figure);
    }
  };
  new MutationObserver(paintNew).observe(document.documentElement,
    { childList: true, subtree: true });
})();
