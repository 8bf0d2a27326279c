/* Requests to the page's own server: upload a file, call an endpoint, give up. */

const API = new URL("gradio_api/", document.baseURI);

/** What the server said instead of an answer; `passing`: the same request may succeed later. */
export class Refusal extends Error {
  constructor(sentence, passing = false) {
    super(sentence);
    this.passing = passing;
  }
}

async function checked(response) {
  if (response.ok) return response;
  const text = await response.text();
  let sentence = text;
  try { sentence = JSON.parse(text).detail; } catch { /* plain text */ }
  throw new Refusal(typeof sentence === "string" ? sentence : "The server refused this request.",
    response.status >= 500);
}

async function request(url, options) {
  try {
    return await checked(await fetch(url, options));
  } catch (error) {
    if (error instanceof TypeError) throw new Refusal("The server does not answer. Is it running?", true);
    throw error;
  }
}

/** Send a file; gives what stands for it in a call. */
export async function upload(file, signal, name = file.name) {
  const form = new FormData();
  form.append("files", file, name || "image.png");
  const response = await request(new URL("upload", API), { method: "POST", body: form, signal });
  return { path: (await response.json())[0], meta: { _type: "gradio.FileData" } };
}

/** The address of a file that the server wrote. */
export const address = (path) => new URL(`file=${path.split("/").map(encodeURIComponent).join("/")}`, API).href;

/**
 * Call an endpoint and wait for its answer.
 *
 * @param onProgress gets what the endpoint yields before it is done.
 * @param signal gives up: a waiting call leaves the queue, a running one stops at its next step.
 */
export async function call(endpoint, data, { signal, onProgress } = {}) {
  const options = { method: "POST", signal, body: JSON.stringify({ data }),
    headers: { "Content-Type": "application/json" } };
  const event = (await (await request(new URL(`call/${endpoint}`, API), options)).json()).event_id;
  const giveUp = () => fetch(new URL("cancel", API), { method: "POST", keepalive: true,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ session_hash: event, fn_index: 0, event_id: event }) }).catch(() => {});
  signal?.addEventListener("abort", giveUp, { once: true });
  try {
    const response = await request(new URL(`call/${endpoint}/${event}`, API), { signal });
    let last;
    for await (const [kind, value] of events(response.body)) {
      if (kind === "error") throw new Refusal(value?.error ?? "Something went wrong.");
      if (kind === "generating") { last = value[0]; onProgress?.(last); }
      if (kind === "complete") return value?.[0] ?? last;
    }
    throw new Refusal("The connection to the server was lost.", true);
  } finally {
    signal?.removeEventListener("abort", giveUp);
  }
}

/** Server-sent events as pairs of kind and value. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const block = text.slice(0, end);
      text = text.slice(end + 2);
      const kind = /^event: (.*)$/m.exec(block)?.[1];
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (kind && kind !== "heartbeat") yield [kind, JSON.parse(data ?? "null")];
    }
  }
}
