/** Words to music: a prompt, its controls, the pieces that come of it, and all earlier ones. */

import { json, pages } from "./api.ts";
import { action, announce, field, h, on, select } from "./dom.ts";
import { modelName } from "./format.ts";
import { PieceCard, type Workshop } from "./piece_card.ts";
import { show } from "./problems.ts";
import { isFinal, type MusicJob, type MusicRequest, type ServerInfo } from "./types.ts";
import { UnderstoodWords } from "./understanding.ts";
import { WishForm } from "./wishes.ts";

const JOBS = "/v1/music/generations";
const HISTORY_PAGE = 10;
const MOST_VARIATIONS = 4;
const MOST_SEED = 2 ** 31 - 1;

export class ComposeView {
  readonly element: HTMLElement;
  readonly #prompt = h("textarea", {
    rows: 3,
    required: true,
    placeholder: "energetic funk in E minor, 105 bpm, with organ, no guitar",
  });
  readonly #wishes: WishForm;
  readonly #model: HTMLSelectElement;
  readonly #seed = h("input", { type: "number", min: 0, max: MOST_SEED, step: 1, placeholder: "drawn" });
  readonly #variations = select(
    [
      ["1", "1"],
      ["2", "2"],
      ["3", "3"],
      ["4", "4"],
    ],
    "1",
  );
  readonly #trouble = h("div", {});
  readonly #now = h("div", { class: "cards" });
  readonly #earlier = h("div", { class: "cards" });
  readonly #more: HTMLButtonElement;
  readonly #history = h("h2", {}, "History");
  readonly #empty = h("p", { class: "quiet" }, "Type what you want to hear, then press Compose.");
  readonly #cards = new Map<string, PieceCard>();
  readonly #workshop: Workshop;
  #rest: AsyncGenerator<MusicJob[]> | null = null;

  constructor(info: ServerInfo) {
    const models = info.models
      .filter(({ modalities }) => modalities.output.includes("audio"))
      .map(({ id }) => id);
    this.#model = select(
      models.map((model) => [model, modelName(model)] as const),
      models[0],
    );
    this.#wishes = new WishForm(info);
    const words = new UnderstoodWords((understanding) => this.#wishes.hear(understanding));
    on(this.#prompt, { input: () => words.typed(this.#prompt.value) });
    this.#workshop = {
      info,
      models,
      order: (body) => this.#order(body),
      removed: (card) => this.#removed(card),
    };
    this.#more = action("Earlier pieces", () => this.#loadMore(), this.#fail);
    const form = h(
      "form",
      { class: "panel composing" },
      field("What do you want to hear?", this.#prompt),
      words.element,
      this.#wishes.element,
      h(
        "div",
        { class: "wishes three" },
        field("Model", this.#model),
        field("Seed", this.#seed),
        field("Variations", this.#variations),
      ),
      h("div", { class: "row" }, h("button", { type: "submit", class: "primary big" }, "Compose")),
      this.#trouble,
    );
    on(form, {
      submit: (event) => {
        event.preventDefault();
        void this.#compose();
      },
    });
    this.element = h(
      "div",
      { class: "view" },
      h("h1", {}, "Compose"),
      h(
        "div",
        { class: "split" },
        form,
        h(
          "div",
          { class: "stack" },
          h("h2", {}, "Pieces"),
          this.#empty,
          this.#now,
          this.#history,
          this.#earlier,
          h("div", { class: "row" }, this.#more),
        ),
      ),
    );
    void this.#begin();
  }

  readonly #fail = (error: unknown): void => {
    show(this.#trouble, error);
  };

  /** What is under way goes on top; the first earlier ones below. */
  async #begin(): Promise<void> {
    try {
      await this.#loadMore();
    } catch (error) {
      show(this.#trouble, error, { label: "Load the history", act: () => void this.#begin() });
    }
  }

  async #loadMore(): Promise<void> {
    this.#rest ??= pages<MusicJob>(JOBS, HISTORY_PAGE);
    let next: IteratorResult<MusicJob[], void>;
    try {
      next = await this.#rest.next();
    } catch (error) {
      this.#rest = null; // a generator that raised is at its end
      throw error;
    }
    const jobs = next.done ? [] : next.value;
    for (const job of jobs) {
      if (this.#cards.has(job.id)) continue;
      const card = new PieceCard(job, this.#workshop, false);
      this.#cards.set(job.id, card);
      (isFinal(job) ? this.#earlier : this.#now).append(card.element);
    }
    this.#more.hidden = next.done === true || jobs.length < HISTORY_PAGE;
    this.#drawEmpty();
  }

  async #compose(): Promise<void> {
    this.#trouble.replaceChildren();
    const count = Math.min(MOST_VARIATIONS, Number(this.#variations.value));
    const body: MusicRequest = {
      prompt: this.#prompt.value.trim(),
      model: this.#model.value,
      ...this.#wishes.own,
    };
    const typed = this.#seed.valueAsNumber;
    // Variations are told apart by their seeds, which follow each other from a drawn one too.
    const first = Number.isNaN(typed) ? Math.floor(Math.random() * 1_000_000) : typed;
    try {
      for (let index = 0; index < count; index += 1) {
        const isSeeded = count > 1 || !Number.isNaN(typed);
        await this.#order(isSeeded ? { ...body, seed: first + index } : body);
      }
    } catch (error) {
      show(this.#trouble, error, { label: "Try again", act: () => void this.#compose() });
    }
  }

  async #order(body: MusicRequest): Promise<void> {
    const job: MusicJob = await json(JOBS, { method: "POST", body });
    const card = new PieceCard(job, this.#workshop, true);
    this.#cards.set(job.id, card);
    this.#now.prepend(card.element);
    this.#drawEmpty();
    announce(`Ordered: ${job.prompt}.`);
    if (card.element.getBoundingClientRect().top > window.innerHeight) {
      card.element.scrollIntoView({ block: "nearest" });
    }
  }

  #removed(card: PieceCard): void {
    this.#cards.delete(card.id);
    this.#drawEmpty();
    this.#prompt.focus();
  }

  #drawEmpty(): void {
    this.#empty.hidden = this.#now.childElementCount > 0;
    this.#history.hidden = this.#earlier.childElementCount === 0;
  }
}
