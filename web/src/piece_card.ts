/** One piece: on its way, done, or failed; and what can be made of it. */

import { adherenceTable } from "./adherence.ts";
import { blob, json, serverNow } from "./api.ts";
import { action, announce, button, h, on } from "./dom.ts";
import { downloads } from "./downloads.ts";
import { accidentals, clock, date, modelName, number, sentence } from "./format.ts";
import { follow } from "./jobs.ts";
import { timelineOfScore } from "./lanes.ts";
import { LiveSound } from "./live.ts";
import { Player } from "./player.ts";
import { show } from "./problems.ts";
import { again, extended } from "./requests.ts";
import { changeForm } from "./change_form.ts";
import { isFinal, type MusicJob, type MusicRequest, type ServerInfo } from "./types.ts";

const JOBS = "/v1/music/generations";
const LISTEN = "Listen while it is computed";

export interface Workshop {
  info: ServerInfo;
  models: readonly string[];
  /** Ask for another piece; its card comes on top. */
  order: (body: MusicRequest) => Promise<void>;
  /** The card is gone. */
  removed: (card: PieceCard) => void;
}

export class PieceCard {
  readonly element: HTMLElement;
  readonly #heading = h("h3", {});
  readonly #line = h("p", { class: "quiet" });
  readonly #body = h("div", { class: "stack" });
  readonly #trouble = h("div", {});
  readonly #ending = new AbortController();
  readonly #fold: HTMLButtonElement;
  readonly #listen = button(LISTEN, () => this.#listenLive());
  #player: Player | null = null;
  #live: LiveSound | null = null;
  #isOpen = false;
  #shown: string | null = null; // what the body shows: a final status, or that it is running
  #meter: { bar: HTMLProgressElement; text: HTMLElement } | null = null;

  constructor(
    private job: MusicJob,
    private readonly workshop: Workshop,
    isOpen: boolean,
  ) {
    this.#fold = button("Open", () => this.#toggle(), { "aria-expanded": "false" });
    this.element = h(
      "article",
      { class: "card", "aria-label": `Piece: ${job.prompt}` },
      h("div", { class: "row head" }, h("div", { class: "grow" }, this.#heading, this.#line), this.#fold),
      this.#trouble,
      this.#body,
    );
    this.#heading.textContent = job.prompt || "Untitled";
    this.#draw();
    if (isOpen || !isFinal(job)) this.#toggle();
    if (!isFinal(job)) void this.#follow();
  }

  get id(): string {
    return this.job.id;
  }

  /** Away from the page, not from the server. */
  destroy(): void {
    this.#ending.abort();
    this.#live?.stop();
    this.#player?.destroy();
    this.element.remove();
  }

  readonly #fail = (error: unknown): void => show(this.#trouble, error);

  async #follow(): Promise<void> {
    try {
      await follow<MusicJob>(`${JOBS}/${this.job.id}`, (job) => this.#changed(job), this.#ending.signal);
    } catch (error) {
      show(this.#trouble, error, { label: "Look again", act: () => void this.#follow() });
    }
  }

  #changed(job: MusicJob): void {
    const before = this.job.status;
    this.job = { ...job, result: job.result ?? this.job.result };
    if (before !== job.status) announce(`${job.prompt}: ${this.#statusWords()}.`);
    this.#draw();
  }

  #statusWords(): string {
    return {
      queued: "waiting",
      in_progress: "being composed",
      completed: "done",
      failed: "failed",
      cancelled: "cancelled",
    }[this.job.status];
  }

  #toggle(): void {
    this.#isOpen = !this.#isOpen;
    this.#fold.textContent = this.#isOpen ? "Close" : "Open";
    this.#fold.setAttribute("aria-expanded", String(this.#isOpen));
    this.#fold.setAttribute("aria-label", `${this.#isOpen ? "Close" : "Open"}: ${this.job.prompt}`);
    this.#shown = null;
    this.#draw();
  }

  #draw(): void {
    this.#line.textContent = this.#summary();
    if (!this.#isOpen) {
      this.#player?.destroy();
      this.#player = null;
      this.#body.replaceChildren();
      return;
    }
    const status = isFinal(this.job) ? this.job.status : "running";
    if (status === "running") this.#drawProgress();
    if (this.#shown === status) return;
    this.#shown = status;
    if (status === "completed") void this.#drawDone();
    else if (status === "failed" || status === "cancelled") this.#drawEnded();
    else this.#drawWaiting();
  }

  #summary(): string {
    const { job } = this;
    const { summary } = job;
    const parts = [date(job.created_at)];
    if (job.status !== "completed") parts.push(this.#statusWords());
    const seconds = summary.seconds ?? job.seconds;
    if (seconds != null) parts.push(clock(seconds));
    if (summary.tempo != null) parts.push(`${number(summary.tempo)} BPM`);
    if (summary.key != null) parts.push(accidentals(summary.key));
    if (summary.genre != null) parts.push(summary.genre);
    if (summary.loudness != null) parts.push(`${number(summary.loudness)} LUFS`);
    if (summary.kept !== undefined && summary.wishes) {
      parts.push(`kept ${summary.kept} of ${summary.wishes} wishes`);
    }
    if (job.seed !== null) parts.push(`seed ${job.seed}`);
    if (job.model !== this.workshop.models[0]) parts.push(modelName(job.model));
    return parts.join(" · ");
  }

  #drawWaiting(): void {
    const bar = h("progress", { max: 100, "aria-label": `Progress of ${this.job.prompt}` });
    const text = h("p", { class: "quiet" });
    this.#meter = { bar, text };
    this.#body.replaceChildren(
      bar,
      text,
      h(
        "div",
        { class: "row" },
        this.#listen,
        action("Cancel", () => this.#cancel(), this.#fail),
      ),
    );
    this.#drawProgress();
  }

  #drawProgress(): void {
    if (this.#meter === null) return;
    const { bar, text } = this.#meter;
    const { progress, started_at, seconds, status } = this.job;
    if (status === "queued") {
      bar.removeAttribute("value");
      text.textContent = "Waiting for its turn.";
      return;
    }
    bar.value = progress;
    const elapsed = started_at === null ? 0 : serverNow() - started_at;
    const words = [`${Math.round(progress)} %`];
    if (progress > 2 && elapsed > 0.5) {
      if (seconds !== null) {
        words.push(`${number(((progress / 100) * seconds) / elapsed)} s of sound per second`);
      }
      words.push(`about ${clock((elapsed * (100 - progress)) / progress)} left`);
    }
    text.textContent = words.join(" · ");
  }

  #listenLive(): void {
    if (this.#live !== null) {
      this.#live.stop();
      return;
    }
    this.#listen.textContent = "Stop listening";
    this.#live = new LiveSound(`${JOBS}/${this.job.id}/stream`, () => {
      this.#live = null;
      this.#listen.textContent = LISTEN;
      if (isFinal(this.job)) this.#listen.remove();
    });
    this.#live.play().catch((error: unknown) => show(this.#trouble, error));
  }

  async #cancel(): Promise<void> {
    this.#changed(await json<MusicJob>(`${JOBS}/${this.job.id}/cancel`, { method: "POST" }));
  }

  #drawEnded(): void {
    const { error, status } = this.job;
    this.#meter = null;
    this.#body.replaceChildren(
      h(
        "div",
        { class: status === "failed" ? "problem" : "" },
        h("p", {}, error === null ? "It was cancelled." : sentence(error.message)),
      ),
      h(
        "div",
        { class: "row" },
        this.#orderButton("Try again", () => again(this.job)),
        this.#deleteButton(),
      ),
    );
  }

  async #drawDone(): Promise<void> {
    this.#meter = null;
    try {
      if (this.job.result === null) {
        this.#body.replaceChildren(h("p", { class: "quiet" }, "Loading …"));
        this.job = await json<MusicJob>(`${JOBS}/${this.job.id}`, { signal: this.#ending.signal });
      }
    } catch (error) {
      this.#body.replaceChildren();
      show(this.#trouble, error, { label: "Try again", act: () => void this.#drawDone() });
      return;
    }
    const { result, id } = this.job;
    if (result === null || !this.#isOpen) return;
    this.#line.textContent = this.#summary();
    this.#player = new Player(
      `seed ${result.seed}, ${this.job.prompt}`,
      result.measured.loudness ?? null,
      result.seconds,
      (decoded, signal) => blob(`${JOBS}/${id}/content${decoded ? "?format=wav" : ""}`, signal),
      result.score === null ? null : timelineOfScore(result.score),
    );
    const change = changeForm(this.job, this.workshop, this.#fail);
    const formats = ["wav", "flac", "mp3", ...(result.score === null ? [] : ["mid"]), "json"];
    this.#body.replaceChildren(
      // It is computed faster than it is heard: who listens goes on.
      ...(this.#live === null ? [] : [h("div", { class: "row" }, this.#listen)]),
      this.#player.element,
      h(
        "div",
        { class: "columns" },
        adherenceTable(result),
        h(
          "div",
          {},
          h("h4", {}, "Notes"),
          result.notes.length
            ? h("ul", { class: "notes" }, ...result.notes.map((note) => h("li", {}, sentence(note))))
            : h("p", { class: "quiet" }, "None."),
          result.real_time_factor
            ? h(
                "p",
                { class: "quiet" },
                `${number(1 / result.real_time_factor)} s of sound per second of work.`,
              )
            : null,
        ),
      ),
      h(
        "div",
        { class: "row" },
        this.#orderButton("Again with these", () => again(this.job)),
        this.#orderButton("Extend by 10 s", () => extended(this.job)),
        change.opener,
        this.#deleteButton(),
      ),
      change.form,
      downloads(`${JOBS}/${id}/content`, `antiphon-${result.seed}`, formats, this.#fail),
    );
    await this.#player.load();
  }

  #orderButton(label: string, body: () => MusicRequest): HTMLButtonElement {
    return action(label, () => this.workshop.order(body()), this.#fail);
  }

  /** Asks once more on the button itself: a deleted piece does not come back. */
  #deleteButton(): HTMLButtonElement {
    let isAsked = false;
    const made = action(
      "Delete",
      async () => {
        if (!isAsked) {
          isAsked = true;
          made.textContent = "Delete for good?";
          return;
        }
        await json(`${JOBS}/${this.job.id}`, { method: "DELETE" });
        announce(`${this.job.prompt} was deleted.`);
        this.destroy();
        this.workshop.removed(this);
      },
      this.#fail,
      { class: "danger" },
    );
    return on(made, {
      blur: () => {
        isAsked = false;
        made.textContent = "Delete";
      },
    });
  }
}
