/* Tab "Batch & video": a batch of images as ZIP and CSV, and videos from a file or the camera. */

import { css, element, onFiles, percent, save, seconds } from "../dom.js";
import { address, call, upload } from "../server.js";

const RECORD_SECONDS = 8;

export const html = `
  <p class="tools">
    <label class="drop small"><input type="file" accept="image/*,.heic,.avif" multiple data-is="images" aria-label="Choose several images">
      <span><strong>Choose images</strong>, up to 50</span></label>
    <label class="drop small"><input type="file" accept="video/*" data-is="video" aria-label="Choose a video">
      <span><strong>Choose a video</strong>, up to 25 MiB</span></label>
    <button type="button" data-is="record">Record with the camera</button>
  </p>
  <div data-is="camera" class="camera"></div>
  <div data-is="results" class="results"></div>`;

export const style = `
#hfseg .camera video, #hfseg .results video, #hfseg .results .still { display: block; max-width: 100%; max-height: 65vh; border-radius: 10px; }
#hfseg .results .still:not([src]) { display: none; }
`;

export function start(page, place) {
  const find = (name) => place.querySelector(`[data-is="${name}"]`);
  let camera = null;
  let recorder = null;

  function clear() {
    find("results").replaceChildren();
    closeCamera();
  }

  async function batch(files) {
    if (!files.length) return;
    clear();
    await page.work("Uploading the images", async (signal, tell) => {
      const sent = [];
      for (const file of files) {
        tell(`Uploading ${file.name}`, sent.length / (2 * files.length));
        sent.push(await upload(file, signal));
      }
      const answer = await call("batch", [sent, page.model], { signal,
        onProgress: ({ doing, part }) => doing && tell(doing, 0.5 + part / 2) });
      const failed = answer.failed.map(({ name, problem }) => element("li", {}, `${name}: ${problem}`));
      find("results").replaceChildren(
        element("h3", {}, `${answer.count} of ${files.length} images segmented in ${seconds(answer.seconds)}`),
        element("p", { class: "downloads" },
          element("button", { type: "button", class: "primary", onclick: () => save(address(answer.zip), "masks.zip") }, "Save masks and areas as ZIP"),
          element("button", { type: "button", onclick: () => save(address(answer.csv), "areas.csv") }, "Save areas as CSV")),
        failed.length ? element("ul", { class: "failed" }, ...failed) : "",
        areas(answer, "images"));
      page.reveal(find("results"));
    }, () => batch(files));
  }

  function areas({ classes }, what) {
    return element("table", {}, element("caption", {}, `Mean fraction of the area over all ${what}`),
      element("tbody", {}, ...classes.map(({ name, share, color }) => element("tr", {},
        element("td", {}, element("span", { class: "swatch", style: `background: ${css(color)}` })),
        element("th", { scope: "row" }, name), element("td", { class: "area" }, percent(share))))));
  }

  async function video(file) {
    if (!file) return;
    clear();
    await page.work("Uploading the video", async (signal, tell) => {
      const sent = await upload(file, signal);
      const still = element("img", { class: "still", alt: "The last segmented frame" });
      find("results").replaceChildren(still);
      const answer = await call("video", [sent, page.model], { signal, onProgress: ({ doing, part, frame }) => {
        if (doing) tell(doing, part ?? undefined);
        if (frame) still.src = address(frame);
      } });
      const url = address(answer.video);
      find("results").replaceChildren(
        element("h3", {}, `${answer.frames} frames in ${seconds(answer.seconds)} (${(answer.frames / answer.seconds).toFixed(1)} per second)`),
        element("video", { src: url, controls: true, loop: true, playsinline: true, "aria-label": "The video with its classes" }),
        element("p", { class: "hint" }, answer.note),
        element("p", { class: "downloads" },
          element("button", { type: "button", class: "primary", onclick: () => save(url, "segmented.webm") }, "Save video"),
          element("button", { type: "button", onclick: () => save(address(answer.csv), "areas.csv") }, "Save areas as CSV")),
        areas(answer, "frames"));
      page.reveal(find("results"));
    }, () => video(file));
  }

  function closeCamera() {
    camera?.getTracks().forEach((track) => track.stop());
    camera = null;
    recorder = null;
    find("camera").replaceChildren();
    find("record").textContent = "Record with the camera";
  }

  /* record a few seconds, and treat them as a file */
  async function record() {
    if (recorder) { recorder.stop(); return; }
    try {
      camera = await navigator.mediaDevices.getUserMedia({ video: { width: 640 }, audio: false });
    } catch {
      page.complain("The camera cannot be used: the browser does not allow it, or there is none.");
      return;
    }
    page.complain("");
    const view = element("video", { autoplay: true, muted: true, playsinline: true, "aria-label": "What the camera sees" });
    view.srcObject = camera;
    find("camera").replaceChildren(view);
    find("record").textContent = `Stop (automatic after ${RECORD_SECONDS} seconds)`;
    const mine = new MediaRecorder(camera, { mimeType: "video/webm" });
    recorder = mine;
    const parts = [];
    mine.addEventListener("dataavailable", ({ data }) => parts.push(data));
    mine.addEventListener("stop", () => {
      if (recorder !== mine) return; // given up for another photo or model
      closeCamera();
      video(new File(parts, "camera.webm", { type: "video/webm" }));
    });
    mine.start();
    setTimeout(() => { if (mine.state === "recording") mine.stop(); }, 1000 * RECORD_SECONDS);
  }

  const drop = (files) => (files[0]?.type.startsWith("video/") ? video(files[0]) : batch(files));
  onFiles(find("images"), drop);
  onFiles(find("video"), drop);
  find("record").addEventListener("click", record);
  return { clear, drop };
}
