/** Music to words: recordings in, and one of them with all that was measured, heard and said. */

import { blob, json } from "./api.ts";
import { Chat } from "./chat.ts";
import { h } from "./dom.ts";
import { sentence } from "./format.ts";
import { factsTables } from "./facts_table.ts";
import { downloadsOfDescription } from "./tables.ts";
import { follow } from "./jobs.ts";
import { timelineOfFacts } from "./lanes.ts";
import { legend, markedText } from "./marked_text.ts";
import { Player } from "./player.ts";
import { show } from "./problems.ts";
import { isFinal, type Description, type DescriptionJob, type ServerInfo } from "./types.ts";
import { Uploads } from "./uploads.ts";

const KINDS: readonly (readonly [string, string])[] = [
  ["full", "Full"],
  ["technical", "Technical"],
  ["genre_mood", "Genre and mood"],
  ["instrumentation", "Instrumentation"],
  ["structure", "Structure"],
];

export class ListenView {
  readonly element: HTMLElement;
  readonly #place = h("div", { class: "stack" });
  #shown: string | null = null;
  #player: Player | null = null;
  #chat: Chat | null = null;
  #leaving = new AbortController();

  constructor(info: ServerInfo) {
    const uploads = new Uploads(info, (job) => {
      // Who has moved on to another view meanwhile stays there.
      if (location.hash.startsWith("#/listen")) location.hash = `#/listen/${job.id}`;
    });
    this.element = h("div", { class: "view" }, h("h1", {}, "Listen"), uploads.element, this.#place);
  }

  /** Show a description; null shows none. */
  async open(id: string | null): Promise<void> {
    if (id === null || id === this.#shown) return;
    this.close();
    this.#shown = id;
    this.#place.replaceChildren(h("p", { class: "quiet" }, "Loading …"));
    const { signal } = this.#leaving;
    const path = `/v1/descriptions/${encodeURIComponent(id)}`;
    try {
      let job: DescriptionJob = await json(path, { signal });
      if (!isFinal(job)) {
        const state = h("p", { class: "quiet" });
        this.#place.replaceChildren(state);
        await follow<DescriptionJob>(
          path,
          ({ progress }) => (state.textContent = `Being heard: ${Math.round(progress)} %`),
          signal,
        );
        job = await json(path, { signal });
      }
      if (signal.aborted) return;
      if (job.result === null) throw new Error(job.error?.message ?? "This description was cancelled.");
      await this.#draw(job, job.result);
    } catch (error) {
      this.#shown = null;
      if (!signal.aborted) show(this.#place, error, { label: "Try again", act: () => void this.open(id) });
    }
  }

  close(): void {
    this.#leaving.abort();
    this.#leaving = new AbortController();
    this.#player?.destroy();
    this.#chat?.destroy();
    this.#player = this.#chat = null;
    this.#shown = null;
    this.#place.replaceChildren();
  }

  async #draw(job: DescriptionJob, found: Description): Promise<void> {
    const title = job.filename ?? found.path ?? "recording";
    const player = new Player(
      title,
      found.facts?.loudness.integrated_lufs ?? null,
      found.facts?.duration_seconds ?? 0,
      (decoded, signal) => blob(`/v1/files/${job.file_id}/content${decoded ? "?format=wav" : ""}`, signal),
      found.facts === null ? null : timelineOfFacts(found.facts),
    );
    this.#player = player;
    this.#chat = new Chat(job.file_id);
    this.#place.replaceChildren(
      h("h2", { class: "name-of-file" }, title),
      player.element,
      h(
        "div",
        { class: "split reversed" },
        h(
          "div",
          { class: "stack" },
          this.#texts(found, player),
          h("section", { class: "panel" }, h("h2", {}, "Facts"), factsTables(found.facts, found.heard)),
          downloadsOfDescription(title, found),
        ),
        this.#chat.element,
      ),
    );
    await player.load();
  }

  #texts(found: Description, player: Player): HTMLElement {
    const kinds = KINDS.filter(([kind]) => found.texts[kind] !== undefined);
    for (const kind of Object.keys(found.texts)) {
      if (!kinds.some(([known]) => known === kind)) kinds.push([kind, kind.replaceAll("_", " ")]);
    }
    const go = (seconds: number): void => {
      player.seek(seconds);
      player.element.scrollIntoView({ block: "nearest" });
    };
    const all = kinds.map(([kind, name]) =>
      h("div", {}, h("h3", {}, name), markedText(found.texts[kind] ?? "", found.marks?.[kind] ?? [], go)),
    );
    return h(
      "section",
      { class: "panel" },
      h("h2", {}, "In words"),
      ...all,
      legend(),
      found.notes.length
        ? h("ul", { class: "notes" }, ...found.notes.map((note) => h("li", {}, sentence(note))))
        : null,
    );
  }
}
