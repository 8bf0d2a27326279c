/* The page: one photo and one choice of models for all tabs, and what is going on. */

import { about } from "./about.js";
import { correct } from "./correct.js";
import { element } from "./dom.js";
import { evaluate } from "./evaluate.js";
import { many } from "./many.js";
import { segment } from "./segment.js";
import { Refusal, address, upload } from "./server.js";

/** Start the page in an element that holds index.html. */
export function start(root, settings) {
  const find = (name) => root.querySelector(`[data-is="${name}"]`);
  const page = new Page(root, find, settings);
  const makers = { segment, correct, evaluate, many, about };
  for (const [name, make] of Object.entries(makers)) page.tabs[name] = make(page, find(name));
  page.listen();
  page.openTab("segment");
  root.dataset.ready = "yes";
}

class Page {
  constructor(root, find, settings) {
    Object.assign(this, { root, find, settings });
    this.tabs = {};
    this.again = null; // repeats what was done last
    this.photo = null; // {file: as the server takes it, name}
    this.models = [settings.models[0].name];
    this.fillMenus();
  }

  get model() { return this.models[0]; }

  fillMenus() {
    const { models, examples } = this.settings;
    const menu = this.find("models");
    menu.hidden = models.length < 2;
    for (const { name } of models) {
      menu.append(element("label", { class: "chip" }, element("input", { type: "checkbox", value: name,
        checked: this.models.includes(name), onchange: () => this.chooseModels() }), name));
    }
    const row = this.find("examples");
    row.hidden = !examples.length;
    for (const example of examples) {
      row.append(element("button", { type: "button", class: "example", "aria-label": `Example: ${example.name}`,
        onclick: () => this.useExample(example) }, element("img", { src: address(example.file.path), alt: "" })));
    }
    this.find("knows").textContent = this.settings.knows;
  }

  chooseModels() {
    const boxes = [...this.find("models").querySelectorAll("input")];
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    if (!chosen.length) { // one has to be left
      boxes.find((box) => box.value === this.model).checked = true;
      return;
    }
    this.models = chosen;
    this.changed();
  }

  listen() {
    const drop = this.find("drop");
    const input = this.find("file");
    input.addEventListener("change", () => { this.useFile(input.files[0]); input.value = ""; });
    for (const kind of ["dragenter", "dragover"]) {
      this.root.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
    }
    this.root.addEventListener("dragleave", () => drop.classList.remove("over"));
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.target.closest("[data-drop-own]")) return;
      this.useFile(event.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (event) => this.useFile(event.clipboardData?.files[0]));
    this.find("stop").addEventListener("click", () => { this.stop(); this.complain("Stopped.", true); });
    this.find("again").addEventListener("click", () => this.again());
    const tabs = [...this.root.querySelectorAll("[role=tab]")];
    tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => this.openTab(tab.dataset.tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = tabs[(index + step + tabs.length) % tabs.length];
        this.openTab(next.dataset.tab);
        next.focus();
      });
    });
    const row = this.find("opacity-row");
    const home = row.nextSibling;
    document.addEventListener("fullscreenchange", () => { // the one control goes where it acts
      if (document.fullscreenElement) document.fullscreenElement.querySelector(".main").prepend(row);
      else home.before(row);
    });
    const opacity = this.find("opacity");
    const apply = () => this.root.style.setProperty("--opacity", opacity.value);
    opacity.addEventListener("input", apply);
    apply();
  }

  get opacity() { return Number(this.find("opacity").value); }

  openTab(name) {
    this.tab = name;
    this.complain("");
    for (const tab of this.root.querySelectorAll("[role=tab]")) {
      const open = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", String(open));
      tab.tabIndex = open ? 0 : -1;
      this.find(tab.dataset.tab).hidden = !open;
    }
    this.find("opacity-row").hidden = ["many", "about"].includes(name);
    this.find("photo-row").hidden = name === "about";
    this.tabs[name].open?.();
  }

  async useFile(file) {
    if (!file) return;
    this.stop();
    this.forget();
    await this.work("Uploading the photo", async (signal) => {
      this.photo = { file: await upload(file, signal), name: file.name || "photo" };
    });
    if (this.photo) this.changed();
  }

  useExample(example) {
    this.stop();
    this.forget();
    this.photo = { file: example.file, name: example.name, truth: example.truth };
    this.changed();
  }

  forget() {
    this.photo = null;
    Object.values(this.tabs).forEach((tab) => tab.clear?.());
  }

  /** Another photo or model: no result of the last one stays. */
  changed() {
    this.stop();
    Object.values(this.tabs).forEach((tab) => tab.clear?.());
    this.tabs[this.tab].open?.();
  }

  stop() {
    this.running?.abort();
  }

  /** Show a result that may have appeared out of sight. */
  reveal(target) {
    const box = target.getBoundingClientRect();
    const seen = Math.min(box.bottom, window.innerHeight) - Math.max(box.top, 0);
    if (seen < Math.min(box.height, window.innerHeight) * 0.6) {
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      target.scrollIntoView({ block: box.height < window.innerHeight ? "nearest" : "start",
        behavior: calm ? "auto" : "smooth" });
    }
  }

  /** Say what went wrong; `passing`: with a button that repeats what was being done. */
  complain(sentence, passing = false) {
    const place = this.find("problem");
    this.find("problem-says").textContent = sentence;
    this.find("again").hidden = !(passing && this.again);
    place.hidden = !sentence;
    if (sentence) this.reveal(place);
  }

  /**
   * Do something that takes time, one thing at a time; Stop ends it.
   *
   * @param what is shown while it runs.
   * @param task gets a signal, and a function (sentence, fraction) that shows the progress.
   * @param again repeats it, if it was stopped or the server was busy.
   * @returns whether it finished.
   */
  async work(what, task, again = null) {
    this.stop();
    const mine = new AbortController();
    this.running = mine;
    this.again = again;
    this.complain("");
    const [place, text, bar] = [this.find("doing"), this.find("doing-what"), this.find("bar")];
    const tell = (sentence, fraction) => {
      if (this.running !== mine) return;
      text.textContent = `${sentence} …`;
      if (fraction === undefined) bar.removeAttribute("value");
      else bar.value = fraction;
    };
    tell(what);
    const late = setTimeout(() => { if (this.running === mine) place.hidden = false; }, 150);
    this.root.setAttribute("aria-busy", "true");
    try {
      await task(mine.signal, tell);
      return !mine.signal.aborted;
    } catch (error) {
      if (mine.signal.aborted) return false;
      if (!(error instanceof Refusal)) console.warn(error);
      this.complain(error.message, error.passing);
      return false;
    } finally {
      clearTimeout(late);
      if (this.running === mine) {
        place.hidden = true;
        this.running = null;
        this.root.removeAttribute("aria-busy");
      }
    }
  }
}
