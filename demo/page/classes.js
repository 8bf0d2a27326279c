/* The list of classes: pointing at one shows it alone, a click switches it on and off. */

import { css, element, percent } from "./dom.js";

/** Marks where two maps differ, and where a model is unsure. */
export const RED = [224, 30, 55];

/** Names that stand for "nothing in particular": not painted unless asked for. */
export const isBackground = (name) => /^(background|void|unlabell?ed|ignored?|other)$/i.test(name);

/**
 * @param group of panes that the list rules.
 * @param columns [{title, areas: Map(name -> fraction)}], one for each model.
 * @param colors Map(name -> [r, g, b]).
 */
export function classList(group, columns, colors) {
  const names = [...new Set(columns.flatMap(({ areas }) => [...areas.keys()]))];
  const largest = (name) => Math.max(...columns.map(({ areas }) => areas.get(name) ?? 0));
  names.sort((a, b) => largest(b) - largest(a));
  const list = element("ul", { class: "classes", "aria-label": "Classes in this image" });
  for (const name of names) {
    const areas = columns.map(({ areas }) => areas.get(name));
    const button = element("button", { type: "button", "aria-pressed": String(!group.hidden.has(name)),
      title: "Hover: show only this class. Click: turn it on or off." },
      element("span", { class: "swatch", style: `background: ${css(colors.get(name))}` }),
      element("span", { class: "name" }, name),
      element("span", { class: "bar" }, element("span",
        { style: `width: ${100 * largest(name)}%; background: ${css(colors.get(name))}` })),
      ...areas.map((area) => element("span", { class: "area" }, area === undefined ? "–" : percent(area))));
    const alone = (value) => () => { group.only = value; group.paint(); };
    button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") alone(name)(); });
    button.addEventListener("pointerleave", alone(null));
    button.addEventListener("focus", () => { if (button.matches(":focus-visible")) alone(name)(); });
    button.addEventListener("blur", alone(null));
    button.addEventListener("click", () => {
      if (!group.hidden.delete(name)) group.hidden.add(name);
      button.setAttribute("aria-pressed", String(!group.hidden.has(name)));
      group.only = null;
      group.paint();
    });
    list.append(element("li", {}, button));
  }
  const head = columns.length < 2 ? null : element("p", { class: "columns" },
    ...columns.map(({ title }) => element("span", { class: "area" }, title)));
  return element("div", { class: "class-list" }, head, list);
}

/** Fraction of the picture by class name; what has no name is left out. */
export function areasOf(ids, names) {
  const counts = new Array(256).fill(0);
  for (const id of ids) counts[id]++;
  return new Map(names.map((name, id) => [name, counts[id] / ids.length])
    .filter(([, area]) => area > 0));
}

/** The layer of a pane that paints classes. */
export function classLayer(result, ids, confidence) {
  const { names, palette } = result;
  return {
    values: ids, colors: palette, names, edges: true,
    label: (i) => {
      const name = names[ids[i]] ?? "ignored";
      return confidence ? `${name} ${Math.round(confidence[i] / 2.55)} %` : name;
    },
    swatch: (i) => css(palette[ids[i]]),
  };
}
