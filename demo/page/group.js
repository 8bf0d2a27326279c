/* Panes beside each other: they move together, and share the buttons below. */

import { element } from "./dom.js";

const LARGEST_ZOOM = 40;

/** What panes beside each other share: the part of the picture that is seen, and the divider. */
export class Group {
  constructor() {
    this.panes = [];
    this.hidden = new Set(); // names of classes that are not painted
    this.only = null; // the one class that is painted, while the list is pointed at
    this.divide = 0;
    this.reset();
  }

  reset() {
    Object.assign(this, { zoom: 1, x: 0.5, y: 0.5 });
    this.panes.forEach((pane) => pane.place());
  }

  clear() {
    this.panes.forEach((pane) => pane.remove());
    this.panes = [];
    this.only = null;
    this.reset();
  }

  show(x, y) {
    this.panes.forEach((pane) => pane.pointAt(x, y));
  }

  zoomAt(x, y, factor) {
    const zoom = Math.min(LARGEST_ZOOM, Math.max(1, this.zoom * factor));
    const kept = 1 - this.zoom / zoom; // the point under the pointer stays where it is
    this.x += (x - this.x) * kept;
    this.y += (y - this.y) * kept;
    this.zoom = zoom;
    this.moved();
  }

  moved() {
    const half = 0.5 / this.zoom;
    this.x = Math.min(1 - half, Math.max(half, this.x));
    this.y = Math.min(1 - half, Math.max(half, this.y));
    this.panes.forEach((pane) => pane.place());
  }

  setDivide(value) {
    this.divide = Math.min(1, Math.max(0, value));
    this.panes.forEach((pane) => pane.place());
  }

  paint() {
    this.panes.forEach((pane) => pane.paint());
  }
}

/** The buttons under panes: see the picture as it was, and larger; `area` is what fills the screen. */
export function viewButtons(group, area) {
  return [
    element("button", { type: "button", onclick: () => group.reset() }, "Entire image"),
    element("button", { type: "button", onclick: () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else area.requestFullscreen();
    } }, "Full screen"),
  ];
}
