/** Files and folders on their way in: sent one after another, then described. */

import { json, isAbort, upload } from "./api.ts";
import { announce, button, h, on } from "./dom.ts";
import { bytes } from "./format.ts";
import { follow } from "./jobs.ts";
import { problemBox } from "./problems.ts";
import type { DescriptionJob, ServerInfo } from "./types.ts";

const DESCRIPTIONS = "/v1/descriptions";
const SOUND = /\.(wav|wave|mp3|flac|ogg|oga|opus|m4a|aac|mp4|webm|wma|aif|aiff|aifc|au|caf|mka)$/i;

export class Uploads {
  readonly element: HTMLElement;
  readonly #list = h("ul", { class: "uploads" });
  readonly #said = h("p", { class: "quiet" });
  readonly #waiting: Upload[] = [];
  #isSending = false;

  constructor(
    private readonly info: ServerInfo,
    /** A single file was described: it is opened. Of many, each gets a link. */
    private readonly described: (job: DescriptionJob) => void,
  ) {
    const files = h("input", {
      type: "file",
      multiple: true,
      accept: "audio/*,.opus,.flac",
      class: "unseen",
      tabindex: -1,
    });
    const folder = h("input", { type: "file", webkitdirectory: true, class: "unseen", tabindex: -1 });
    for (const input of [files, folder]) {
      input.setAttribute("aria-hidden", "true");
      on(input, {
        change: () => {
          this.add(Array.from(input.files ?? []));
          input.value = "";
        },
      });
    }
    const zone = h(
      "div",
      { class: "drop" },
      h("p", {}, "Drop a recording or a folder here, or"),
      h(
        "div",
        { class: "row" },
        button("Choose files", () => files.click(), { class: "primary" }),
        button("Choose a folder", () => folder.click()),
      ),
      h(
        "p",
        { class: "quiet" },
        `Up to ${bytes(info.caps.audio_bytes)} and ${Math.round(info.caps.audio_seconds / 60)} minutes each.`,
      ),
      files,
      folder,
    );
    on(zone, {
      dragover: (event) => {
        event.preventDefault();
        zone.classList.add("over");
      },
      dragleave: () => zone.classList.remove("over"),
      drop: (event) => {
        event.preventDefault();
        zone.classList.remove("over");
        void filesOf(event.dataTransfer).then((dropped) => this.add(dropped));
      },
    });
    this.element = h("div", { class: "stack" }, zone, this.#said, this.#list);
  }

  add(files: File[]): void {
    const sounds = files.filter((file) => file.type.startsWith("audio/") || SOUND.test(file.name));
    const left = files.length - sounds.length;
    const leftOut = left ? ` ${left} ${left === 1 ? "file is" : "files are"} no sound and left out.` : "";
    const count = sounds.length > 1 ? `${sounds.length} recordings.` : "";
    this.#said.textContent = (sounds.length ? count : "There is no recording among them.") + leftOut;
    announce(this.#said.textContent);
    for (const file of sounds) {
      const item = new Upload(file, this.info, (job) => {
        if (sounds.length === 1) this.described(job);
      });
      this.#list.prepend(item.element);
      this.#waiting.push(item);
    }
    void this.#send();
  }

  async #send(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    for (let item = this.#waiting.shift(); item !== undefined; item = this.#waiting.shift())
      await item.send();
    this.#isSending = false;
  }
}

class Upload {
  readonly element: HTMLElement;
  readonly #bar: HTMLProgressElement;
  readonly #state = h("span", { class: "quiet" }, "waiting");
  readonly #trouble = h("div", {});
  readonly #stopping = new AbortController();
  readonly #stop: HTMLButtonElement;

  constructor(
    private readonly file: File,
    private readonly info: ServerInfo,
    private readonly described: (job: DescriptionJob) => void,
  ) {
    this.#bar = h("progress", { max: 1, value: 0, "aria-label": `Progress of ${file.name}` });
    this.#stop = button("Stop", () => this.#stopping.abort(), { "aria-label": `Stop ${file.name}` });
    this.element = h(
      "li",
      {},
      h(
        "div",
        { class: "row" },
        h("span", { class: "grow name-of-file" }, file.name),
        this.#state,
        this.#bar,
        this.#stop,
      ),
      this.#trouble,
    );
  }

  /** Ends when the file has arrived; its description goes on without it. */
  async send(): Promise<void> {
    try {
      if (this.#stopping.signal.aborted) throw new DOMException("stopped", "AbortError");
      if (this.file.size > this.info.caps.audio_bytes) {
        throw new Error(
          `${this.file.name} has ${bytes(this.file.size)}; this server takes ${bytes(this.info.caps.audio_bytes)} at most`,
        );
      }
      this.#state.textContent = "being sent";
      const sent = await upload(this.file, (share) => (this.#bar.value = 0.5 * share), this.#stopping.signal);
      this.#state.textContent = "sent";
      const body = { file_id: sent.id };
      const job: DescriptionJob = await json(DESCRIPTIONS, { method: "POST", body });
      void this.#describe(job);
    } catch (error) {
      this.#failed(error);
    }
  }

  async #describe(first: DescriptionJob): Promise<void> {
    const words = {
      queued: "waiting",
      in_progress: "being heard",
      completed: "described",
      failed: "failed",
      cancelled: "stopped",
    };
    const path = `${DESCRIPTIONS}/${first.id}`;
    this.#stopping.signal.addEventListener("abort", () => {
      json(`${path}/cancel`, { method: "POST" }).catch(() => undefined); // it may be at its end already
      this.#state.textContent = words.cancelled;
    });
    try {
      let last = first;
      const changed = (job: DescriptionJob): void => {
        last = job;
        this.#bar.value = 0.5 + job.progress / 200;
        this.#state.textContent = words[job.status];
      };
      await follow<DescriptionJob>(path, changed, this.#stopping.signal);
      if (last.status === "failed") throw new Error(last.error?.message ?? "The description failed.");
      if (last.status === "completed") this.#done(last);
      else this.#stop.hidden = this.#bar.hidden = true;
    } catch (error) {
      this.#failed(error);
    }
  }

  #done(job: DescriptionJob): void {
    announce(`${this.file.name} is described.`);
    this.#stop.replaceWith(
      h("a", { href: `#/listen/${job.id}`, class: "button" }, "Open", unseenName(this.file.name)),
    );
    this.#bar.hidden = true;
    this.described(job);
  }

  #failed(error: unknown): void {
    this.#stop.hidden = true;
    this.#bar.hidden = true;
    this.#state.textContent = isAbort(error) ? "stopped" : "failed";
    if (isAbort(error)) return;
    const again = { label: "Try again", act: () => void this.send() };
    const leave = { label: "Leave it out", act: () => this.element.remove() };
    this.#trouble.replaceChildren(problemBox(error, again, leave));
  }
}

function unseenName(name: string): HTMLElement {
  return h("span", { class: "unseen" }, ` ${name}`);
}

/** What was dropped, folders with all that is below them. */
async function filesOf(data: DataTransfer | null): Promise<File[]> {
  // Entries are gone after the first await: all are taken before.
  const entries = Array.from(data?.items ?? [], (item) => item.webkitGetAsEntry()).filter(
    (entry) => entry !== null,
  );
  if (entries.length === 0) return Array.from(data?.files ?? []);
  const found: File[] = [];
  for (const entry of entries) await collect(entry, found);
  return found;
}

async function collect(entry: FileSystemEntry, found: File[]): Promise<void> {
  if (entry instanceof FileSystemFileEntry) {
    found.push(await new Promise<File>((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  if (!(entry instanceof FileSystemDirectoryEntry)) return;
  const reader = entry.createReader();
  for (;;) {
    // One call gives a hundred entries at most; an empty one is the end.
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (batch.length === 0) return;
    for (const inner of batch) await collect(inner, found);
  }
}
