/* The page: one photo and one choice of models for all tabs, and what is going on. */

import { element, onFiles } from "./dom.js";
import { Refusal, address, upload } from "./server.js";

/** Start the page in an element that holds index.html; each tab comes from `tabs/NAME.js`. */
export async function start(root, settings) {
  const scripts = await Promise.all(settings.tabs.map(({ name }) => import(`./tabs/${name}.js`)));
  const page = new Page(root, settings);
  settings.tabs.forEach((tab, index) => page.addTab(tab, scripts[index]));
  page.listen();
  page.openTab(settings.tabs[0].name);
  root.dataset.ready = "yes";
}

class Page {
  constructor(root, settings) {
    Object.assign(this, { root, settings });
    this.tabs = {};
    this.again = null; // repeats what was done last
    this.photo = null; // {file: as the server takes it, name}
    this.models = [settings.models[0]];
    this.fillMenus();
  }

  find(name) { return this.root.querySelector(`[data-is="${name}"]`); }

  get model() { return this.models[0]; }

  fillMenus() {
    const { models, examples } = this.settings;
    const menu = this.find("models");
    menu.hidden = models.length < 2;
    for (const name of models) {
      menu.append(element("label", { class: "chip" }, element("input", { type: "checkbox", value: name,
        checked: this.models.includes(name), onchange: () => this.chooseModels() }), name));
    }
    for (const example of examples) {
      this.find("examples").append(element("button", { type: "button", class: "example", "aria-label": `Example: ${example.name}`,
        onclick: () => this.setPhoto(example) }, element("img", { src: address(example.file.path), alt: "" })));
    }
    this.find("knows").textContent = this.settings.knows;
  }

  /**
   * Add a tab.
   *
   * @param tab {name, label}, and the settings of its own.
   * @param script its module: `html` and `style` of what it shows, what it `uses` ("photo",
   *   "opacity"), and `start(page, place, settings)`, which gives functions that are called when
   *   the tab is to `open`, to `clear` its results, or to take files dropped on it (`drop`).
   */
  addTab({ name, label, ...settings }, { html, style = "", uses = [], start: startTab }) {
    const place = element("section", { role: "tabpanel", "aria-label": label, "data-is": name });
    place.innerHTML = html;
    document.head.append(element("style", {}, style));
    const button = element("button", { type: "button", role: "tab", onclick: () => this.openTab(name) }, label);
    this.find("tabs").append(button);
    this.root.append(place);
    this.tabs[name] = { name, place, button, uses, ...startTab(this, place, settings) };
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
    onFiles(this.find("file"), ([file]) => this.useFile(file));
    for (const kind of ["dragenter", "dragover"]) {
      this.root.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
    }
    for (const kind of ["dragleave", "drop"]) {
      this.root.addEventListener(kind, () => drop.classList.remove("over"), true);
    }
    const take = (files) => (this.tab.drop ?? (([file]) => this.useFile(file)))([...files ?? []]);
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      take(event.dataTransfer.files);
    });
    document.addEventListener("paste", (event) => take(event.clipboardData?.files));
    this.find("stop").addEventListener("click", () => { this.stop(); this.complain("Stopped.", true); });
    this.find("again").addEventListener("click", () => this.again());
    this.find("tabs").addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const tabs = Object.values(this.tabs);
      const next = tabs[(tabs.indexOf(this.tab) + step + tabs.length) % tabs.length];
      this.openTab(next.name);
      next.button.focus();
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
    this.tab = this.tabs[name];
    this.complain("");
    for (const tab of Object.values(this.tabs)) {
      const open = tab === this.tab;
      tab.button.setAttribute("aria-selected", String(open));
      tab.button.tabIndex = open ? 0 : -1;
      tab.place.hidden = !open;
    }
    const photo = this.tab.uses.includes("photo");
    this.find("drop").hidden = !photo;
    this.find("examples").hidden = !photo || !this.settings.examples.length;
    this.find("opacity-row").hidden = !this.tab.uses.includes("opacity");
    this.tab.open?.();
  }

  async useFile(file) {
    if (!file) return;
    this.setPhoto(null);
    let sent;
    const done = await this.work("Uploading the photo", async (signal) => { sent = await upload(file, signal); });
    if (done) this.setPhoto({ file: sent, name: file.name || "photo" });
  }

  setPhoto(photo) {
    this.photo = photo;
    this.root.toggleAttribute("data-photo", Boolean(photo));
    this.changed();
  }

  /** Another photo or model: no result of the last one stays. */
  changed() {
    this.stop();
    Object.values(this.tabs).forEach((tab) => tab.clear?.());
    this.tab.open?.();
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
