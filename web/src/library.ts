/** All described recordings in one table: filtered, sorted, taken away as a file. */

import { json, pages } from "./api.ts";
import { action, announce, button, field, h, on, select } from "./dom.ts";
import { accidentals, clock, number } from "./format.ts";
import { show } from "./problems.ts";
import { csv, saveText } from "./tables.ts";
import type { DescriptionJob, ServerInfo } from "./types.ts";
import { KEYS } from "./wishes.ts";

const PAGE = 100;
const ROWS_AT_ONCE = 200;

type Summary = DescriptionJob["summary"];

interface Column {
  name: string;
  value: (job: DescriptionJob) => string | number | null;
  text: (summary: Summary) => string;
  isNumber: boolean;
}

const column = (
  name: string,
  field: keyof Summary,
  isNumber: boolean,
  text: (value: number | string) => string,
): Column => ({
  name,
  value: ({ summary }) => summary[field] ?? null,
  text: (summary) => {
    const value = summary[field];
    return value === null || value === undefined ? "–" : text(value);
  },
  isNumber,
});

const COLUMNS: readonly Column[] = [
  { name: "name", value: nameOf, text: () => "", isNumber: false },
  column("length", "duration_seconds", true, (value) => clock(Number(value))),
  column("tempo, BPM", "tempo", true, (value) => number(Number(value))),
  column("key", "key", false, (value) => accidentals(String(value))),
  column("genre", "genre", false, String),
  column("energy", "energy", false, String),
  column("loudness, LUFS", "loudness", true, (value) => number(Number(value))),
];

function nameOf(job: DescriptionJob): string {
  return job.filename ?? job.id;
}

export class LibraryView {
  readonly element: HTMLElement;
  readonly #jobs = new Map<string, DescriptionJob>();
  #sort: { column: Column; isUp: boolean } | null = null;
  #rowsShown = ROWS_AT_ONCE;
  readonly #text = h("input", { type: "search" });
  readonly #low = h("input", { type: "number", min: 0, step: "any", class: "short" });
  readonly #high = h("input", { type: "number", min: 0, step: "any", class: "short" });
  readonly #key = select([["", "any"], ...KEYS.map((key) => [key, accidentals(key)] as const)]);
  readonly #genre: HTMLSelectElement;
  readonly #count = h("p", { class: "quiet", role: "status" });
  readonly #heads = h("tr", {});
  readonly #body = h("tbody", {});
  readonly #more = button("Show more", () => {
    this.#rowsShown += ROWS_AT_ONCE;
    this.#draw();
  });
  readonly #exports = h(
    "div",
    { class: "row" },
    button("Export CSV", () => this.#exportCsv()),
    action(
      "Export JSON lines",
      () => this.#exportLines(),
      (error) => this.#fail(error),
    ),
  );
  readonly #trouble = h("div", {});
  readonly #table: HTMLElement;

  constructor(info: ServerInfo) {
    this.#genre = select([["", "any"], ...info.genres.map((genre) => [genre, genre] as const)]);
    const filters = h(
      "form",
      { class: "panel filters", role: "search", "aria-label": "Filter" },
      field("Name", this.#text),
      field("From, BPM", this.#low),
      field("To, BPM", this.#high),
      field("Key", this.#key),
      field("Genre", this.#genre),
      h("button", { type: "reset" }, "Show all"),
    );
    on(filters, {
      input: () => this.#filtered(),
      submit: (event) => event.preventDefault(),
      reset: () => window.setTimeout(() => this.#filtered()), // the fields are empty after the event
    });
    this.#table = h(
      "div",
      { class: "table", tabindex: 0, role: "region", "aria-label": "Described recordings" },
      h(
        "table",
        { class: "library" },
        h("caption", { class: "unseen" }, "Described recordings"),
        h("thead", {}, this.#heads),
        this.#body,
      ),
    );
    this.element = h(
      "div",
      { class: "view" },
      h("h1", {}, "Library"),
      filters,
      h(
        "div",
        { class: "row" },
        this.#count,
        h("span", { class: "grow" }),
        this.#exports,
      ),
      this.#trouble,
      this.#table,
      h("div", { class: "row" }, this.#more),
    );
    this.#draw();
  }

  readonly #fail = (error: unknown): void => show(this.#trouble, error);

  /** All of them anew: others may have been described or deleted meanwhile. */
  async load(): Promise<void> {
    this.#trouble.replaceChildren();
    try {
      const seen = new Set<string>();
      for await (const jobs of pages<DescriptionJob>("/v1/descriptions", PAGE)) {
        for (const job of jobs) {
          if (job.status !== "completed") continue;
          seen.add(job.id);
          this.#jobs.set(job.id, job);
        }
        this.#draw();
      }
      for (const id of this.#jobs.keys()) if (!seen.has(id)) this.#jobs.delete(id);
      this.#draw();
    } catch (error) {
      show(this.#trouble, error, { label: "Load again", act: () => void this.load() });
    }
  }

  #filtered(): void {
    this.#rowsShown = ROWS_AT_ONCE;
    this.#draw();
  }

  #rows(): DescriptionJob[] {
    const text = this.#text.value.trim().toLowerCase();
    const low = Number.isNaN(this.#low.valueAsNumber) ? -Infinity : this.#low.valueAsNumber;
    const high = Number.isNaN(this.#high.valueAsNumber) ? Infinity : this.#high.valueAsNumber;
    const isUnbounded = low === -Infinity && high === Infinity;
    const rows = [...this.#jobs.values()].filter((job) => {
      const { tempo, key, genre } = job.summary;
      if (text !== "" && !nameOf(job).toLowerCase().includes(text)) return false;
      if (!isUnbounded && (tempo == null || tempo < low || tempo > high)) return false;
      if (this.#key.value !== "" && key !== this.#key.value) return false;
      return this.#genre.value === "" || genre === this.#genre.value;
    });
    const sort = this.#sort;
    if (sort === null) return rows;
    const direction = sort.isUp ? 1 : -1;
    return rows.sort((one, other) => {
      const [a, b] = [sort.column.value(one), sort.column.value(other)];
      // What was not measured comes last, whichever way it is sorted.
      if (a === null || b === null) return Number(a === null) - Number(b === null);
      if (typeof a === "number" && typeof b === "number") return direction * (a - b);
      return direction * String(a).localeCompare(String(b), undefined, { numeric: true });
    });
  }

  #sortBy(chosen: Column): void {
    const isSame = this.#sort?.column === chosen;
    this.#sort = { column: chosen, isUp: isSame ? !this.#sort?.isUp : true };
    this.#draw();
    announce(`Sorted by ${chosen.name}, ${this.#sort.isUp ? "ascending" : "descending"}.`);
    this.#heads.querySelectorAll("button")[COLUMNS.indexOf(chosen)]?.focus();
  }

  #draw(): void {
    const rows = this.#rows();
    this.#count.textContent =
      this.#jobs.size === 0
        ? "Nothing is described yet: go to Listen and drop a recording there."
        : rows.length === this.#jobs.size
          ? `${rows.length} recordings`
          : `${rows.length} of ${this.#jobs.size} recordings`;
    this.#heads.replaceChildren(...COLUMNS.map((each) => this.#head(each)), h("td", {}));
    this.#body.replaceChildren(...rows.slice(0, this.#rowsShown).map((job) => this.#row(job)));
    this.#more.hidden = rows.length <= this.#rowsShown;
    this.#table.hidden = this.#exports.hidden = this.#jobs.size === 0;
  }

  #head(each: Column): HTMLElement {
    const isSorted = this.#sort?.column === each;
    const direction = this.#sort?.isUp ? "ascending" : "descending";
    const arrow = isSorted ? (this.#sort?.isUp ? " ↑" : " ↓") : "";
    const sorting = button(each.name, () => this.#sortBy(each), { class: "link" });
    sorting.append(h("span", { "aria-hidden": "true" }, arrow));
    return h(
      "th",
      { scope: "col", "aria-sort": isSorted ? direction : "none", class: each.isNumber ? "figure" : "" },
      sorting,
    );
  }

  #row(job: DescriptionJob): HTMLElement {
    const name = nameOf(job);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, h("a", { href: `#/listen/${job.id}` }, name)),
      ...COLUMNS.slice(1).map((each) =>
        h("td", { class: each.isNumber ? "figure" : "" }, each.text(job.summary)),
      ),
      h("td", { class: "figure" }, this.#deleteButton(job, name)),
    );
  }

  #deleteButton(job: DescriptionJob, name: string): HTMLButtonElement {
    let isAsked = false;
    const made = action(
      "Delete",
      async () => {
        if (!isAsked) {
          isAsked = true;
          made.textContent = "For good?";
          made.setAttribute("aria-label", `Delete ${name} for good?`);
          return;
        }
        await json(`/v1/descriptions/${job.id}`, { method: "DELETE" });
        this.#jobs.delete(job.id);
        this.#draw();
        announce(`${name} was deleted.`);
        this.#text.focus();
      },
      this.#fail,
      { class: "danger", "aria-label": `Delete ${name}` },
    );
    return on(made, {
      blur: () => {
        isAsked = false;
        made.textContent = "Delete";
        made.setAttribute("aria-label", `Delete ${name}`);
      },
    });
  }

  #exportCsv(): void {
    const rows = this.#rows().map((job) => COLUMNS.map((each) => each.value(job)));
    const head = ["name", "duration_seconds", "tempo_bpm", "key", "genre", "energy", "loudness_lufs"];
    saveText(csv(head, rows), "antiphon-library.csv", "text/csv");
  }

  /** One full description a line, as `antiphon describe --jsonl` writes them. */
  async #exportLines(): Promise<void> {
    const rows = this.#rows();
    const lines: string[] = [];
    for (const job of rows) {
      this.#count.textContent = `Collecting ${lines.length + 1} of ${rows.length} …`;
      const full: DescriptionJob = await json(`/v1/descriptions/${job.id}`);
      lines.push(`${JSON.stringify(full.result)}\n`);
    }
    saveText(lines.join(""), "antiphon-library.jsonl", "application/x-ndjson");
    this.#draw();
  }
}
