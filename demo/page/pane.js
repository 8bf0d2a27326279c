/* A picture under colors: zoom, pan, the divider, and a label beside the pointer. */

import { element } from "./dom.js";

const WHITE = 0xffffffff; // of lines between regions, and of stripes
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pane {
  /**
   * @param group moves with this one.
   * @param view {photo, width, height, title, caption, described}; sizes in pixels.
   * @param onClick gets the x and y of a click, as fractions of the picture.
   */
  constructor(group, view, onClick) {
    this.group = group;
    this.view = view;
    this.onClick = onClick;
    this.canvas = element("canvas", { width: view.width, height: view.height, class: "colors" });
    this.photo = element("img", { src: view.photo, alt: "", draggable: "false" });
    this.world = element("div", { class: "world" }, this.photo, this.canvas);
    this.tag = element("div", { class: "tag", hidden: true, "aria-hidden": true });
    this.handle = element("div", { class: "divider", role: "slider", tabindex: 0,
      "aria-label": `${view.title}: divider between the photo and its classes`,
      "aria-valuemin": 0, "aria-valuemax": 100 });
    this.spoken = element("span", { class: "unseen", "aria-live": "polite" });
    this.stage = element("div", { class: "stage", tabindex: 0, role: "img",
      "aria-label": `${view.title}. ${view.described ?? ""} Arrow keys move a pointer that names `
        + "what is under it; plus and minus zoom." },
      this.world, this.handle, this.tag);
    this.caption = element("span", {}, view.caption ?? "");
    this.element = element("figure", { class: "pane" },
      element("figcaption", {}, element("strong", {}, view.title), this.caption),
      this.stage, this.spoken);
    this.pointers = new Map();
    this.listen();
    this.size = new ResizeObserver(() => this.place());
    this.size.observe(this.stage);
    group.panes.push(this);
  }

  remove() {
    this.size.disconnect();
    this.element.remove();
  }

  /**
   * What is painted over the photo.
   *
   * @param layer {values: Uint8Array, colors: value -> [r, g, b] or [r, g, b, a] or undefined,
   *   names: value -> class or undefined, edges: lines between regions, striped: a value that is
   *   painted in white stripes, gray: the photo without its colors, so that nothing in it looks
   *   like a mark,
   *   label: (index) -> text, swatch: (index) -> css color}
   */
  setLayer(layer) {
    this.layer = layer;
    this.world.classList.toggle("gray", Boolean(layer.gray));
    this.paint();
  }

  paint() {
    const { values, colors, names, edges, striped } = this.layer;
    const { width, height } = this.view;
    const { only, hidden } = this.group;
    const table = new Uint32Array(256);
    const shown = new Uint8Array(256);
    for (let value = 0; value < 256; value++) {
      const color = colors[value];
      const name = names?.[value];
      if (!color || (only !== null ? name !== only : hidden.has(name))) continue;
      const [r, g, b, a = 255] = color;
      table[value] = (a << 24 | b << 16 | g << 8 | r) >>> 0;
      shown[value] = 1;
    }
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const stripe = Math.max(2, Math.round(width / 150));
    for (let i = 0, y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const value = values[i];
        pixels[i] = value === striped && (x + y) % (2 * stripe) < stripe ? WHITE : table[value];
        if (!edges) continue;
        const right = x + 1 < width ? values[i + 1] : value;
        const below = y + 1 < height ? values[i + width] : value;
        if ((right !== value && (shown[value] || shown[right]))
          || (below !== value && (shown[value] || shown[below]))) pixels[i] = WHITE;
      }
    }
    context.putImageData(image, 0, 0);
    this.element.dataset.painted = "yes";
  }

  /** Put the picture where the group's zoom and the size of the stage want it. */
  place() {
    const { width, height } = this.view;
    const across = this.stage.clientWidth;
    if (!across) return;
    const full = document.fullscreenElement?.contains(this.stage);
    const most = full ? window.innerHeight * 0.8 : Math.max(240, window.innerHeight * 0.7);
    const high = Math.max(140, Math.min(across * height / width, most));
    this.stage.style.height = `${high}px`;
    const fit = Math.min(across / width, high / height) * this.group.zoom;
    this.box = { width: width * fit, height: height * fit };
    this.box.left = across / 2 - this.group.x * this.box.width;
    this.box.top = high / 2 - this.group.y * this.box.height;
    Object.assign(this.world.style, { width: `${this.box.width}px`, height: `${this.box.height}px`,
      transform: `translate(${this.box.left}px, ${this.box.top}px)` });
    this.world.classList.toggle("sharp", fit > 3);
    this.stage.classList.toggle("zoomed", this.group.zoom > 1);
    // the divider stands in the visible part of the picture
    const left = Math.max(0, this.box.left);
    const seen = Math.min(across, this.box.left + this.box.width) - left;
    const at = left + this.group.divide * seen;
    this.handle.style.left = `${at}px`;
    const knob = Math.min(Math.max(at, 16), across - 16) - at; // whole in the picture
    this.handle.style.setProperty("--knob", `${knob}px`);
    this.handle.setAttribute("aria-valuenow", Math.round(100 * this.group.divide));
    const cut = (at - this.box.left) / this.box.width;
    this.canvas.style.clipPath = `inset(0 0 0 ${100 * cut}%)`;
    this.onPlace?.(this.box);
  }

  /** A pointer event as fractions of the picture. */
  fraction(event) {
    const stage = this.stage.getBoundingClientRect();
    return [(event.clientX - stage.left - this.box.left) / this.box.width,
      (event.clientY - stage.top - this.box.top) / this.box.height];
  }

  /** Name what is at a place of the picture. */
  pointAt(x, y) {
    const inside = x >= 0 && y >= 0 && x < 1 && y < 1;
    this.tag.hidden = !inside || !this.layer;
    if (this.tag.hidden) return;
    const { width, height } = this.view;
    const index = Math.floor(y * height) * width + Math.floor(x * width);
    this.tag.textContent = this.layer.label(index);
    this.tag.style.setProperty("--swatch", this.layer.swatch?.(index) ?? "transparent");
    const left = this.box.left + x * this.box.width;
    const top = this.box.top + y * this.box.height;
    this.tag.style.left = `${left}px`;
    this.tag.style.top = `${top}px`;
    this.tag.classList.toggle("leftward", left > this.stage.clientWidth / 2);
    this.tag.classList.toggle("upward", top > this.stage.clientHeight / 2);
    this.at = [x, y];
  }

  listen() {
    const { stage, group } = this;
    stage.addEventListener("wheel", (event) => {
      const out = event.deltaY > 0;
      if (out && group.zoom === 1) return; // nothing to do: the page scrolls
      event.preventDefault();
      group.zoomAt(...this.fraction(event), Math.exp(-event.deltaY / 300));
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      if (event.target === this.handle || (event.target === stage && this.onHandle(event))) {
        this.dividing = true;
      }
      this.pointers.set(event.pointerId, event);
      this.distance = 0;
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => this.move(event));
    stage.addEventListener("pointerup", (event) => {
      const clicked = !this.dividing && this.pointers.size === 1 && this.distance < 6;
      this.release(event);
      if (clicked) this.click(event);
    });
    stage.addEventListener("pointercancel", (event) => this.release(event));
    stage.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") group.panes.forEach((pane) => { pane.tag.hidden = true; });
    });
    stage.addEventListener("dblclick", () => { if (!this.onClick) group.reset(); });
    stage.addEventListener("keydown", (event) => this.key(event));
  }

  onHandle(event) {
    const box = this.handle.getBoundingClientRect();
    return Math.abs(event.clientX - box.left - box.width / 2) < 14 && event.pointerType !== "mouse";
  }

  move(event) {
    const { group, stage } = this;
    const before = this.pointers.get(event.pointerId);
    group.show(...this.fraction(event));
    if (!before) return;
    this.pointers.set(event.pointerId, event);
    const across = event.clientX - before.clientX;
    const down = event.clientY - before.clientY;
    this.distance += Math.abs(across) + Math.abs(down);
    if (this.dividing) {
      const box = stage.getBoundingClientRect();
      const left = Math.max(0, this.box.left);
      const seen = Math.min(box.width, this.box.left + this.box.width) - left;
      group.setDivide((event.clientX - box.left - left) / seen);
    } else if (this.pointers.size === 2) {
      const other = [...this.pointers.values()].find((each) => each.pointerId !== event.pointerId);
      const apart = (each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
      const [x, y] = this.fraction(event);
      const [u, v] = this.fraction(other);
      if (apart(before) > 0) group.zoomAt((x + u) / 2, (y + v) / 2, apart(event) / apart(before));
    } else if (group.zoom > 1 && (this.distance > 6 || !this.onClick)) {
      group.x -= across / this.box.width;
      group.y -= down / this.box.height;
      group.moved();
    }
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.dividing = false;
  }

  click(event) {
    const [x, y] = this.fraction(event);
    this.group.show(x, y);
    if (x >= 0 && y >= 0 && x < 1 && y < 1) this.onClick?.(x, y, event);
  }

  key(event) {
    const step = KEYS[event.key];
    const { group } = this;
    if (event.target === this.handle) {
      if (!step) return;
      group.setDivide(group.divide + (event.shiftKey ? 0.1 : 0.02) * (step[0] || -step[1]));
    } else if (step) {
      const [x, y] = this.at ?? [0.5, 0.5];
      const size = (event.shiftKey ? 0.1 : 0.02) / group.zoom;
      const inside = (value) => Math.min(0.999, Math.max(0, value));
      group.show(inside(x + size * step[0]), inside(y + size * step[1]));
      this.spoken.textContent = this.tag.textContent;
    } else if (event.key === "+" || event.key === "=") {
      group.zoomAt(...(this.at ?? [0.5, 0.5]), 1.5);
    } else if (event.key === "-") {
      group.zoomAt(...(this.at ?? [0.5, 0.5]), 1 / 1.5);
    } else if (event.key === "Enter" && this.onClick && this.at) {
      this.onClick(...this.at, event);
    } else return;
    event.preventDefault();
  }
}
