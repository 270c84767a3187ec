/** The words of a prompt that were understood, while it is typed. */

import { isAbort, json } from "./api.ts";
import { h } from "./dom.ts";
import { optionName, sentence, withUnit } from "./format.ts";
import type { Understanding } from "./types.ts";

const QUIET_MS = 300; // without a key, before the text is sent

export class UnderstoodWords {
  readonly element = h("div", { class: "understood", role: "group", "aria-label": "What was understood" });
  #timer = 0;
  #asking = new AbortController();

  constructor(private readonly understood: (understanding: Understanding | null) => void) {}

  typed(prompt: string): void {
    window.clearTimeout(this.#timer);
    this.#asking.abort();
    if (prompt.trim() === "") {
      this.element.replaceChildren();
      this.understood(null);
      return;
    }
    this.#timer = window.setTimeout(() => void this.#ask(prompt), QUIET_MS);
  }

  async #ask(prompt: string): Promise<void> {
    this.#asking = new AbortController();
    try {
      const body = { prompt };
      const { signal } = this.#asking;
      const found: Understanding = await json("/v1/music/understandings", { method: "POST", body, signal });
      this.#draw(found);
      this.understood(found);
    } catch (error) {
      // It is a help while typing; what fails here fails again, and is said, when the piece is asked for.
      if (!isAbort(error)) this.element.replaceChildren();
    }
  }

  #draw(found: Understanding): void {
    const chips = found.readings.map((reading) =>
      h(
        "li",
        { class: "chip" },
        h("q", {}, reading.words),
        " → ",
        h("span", { class: "quiet" }, optionName(reading.option)),
        " ",
        h("b", {}, withUnit(reading.option, reading.value)),
      ),
    );
    const unknown = found.unknown.length
      ? h("p", { class: "quiet" }, `Left to the model: ${found.unknown.join(", ")}.`)
      : null;
    this.element.replaceChildren(
      ...(chips.length ? [h("ul", { class: "chips" }, ...chips)] : []),
      ...(unknown === null ? [] : [unknown]),
      ...found.notes.map((note) => h("p", { class: "quiet" }, sentence(note))),
    );
  }
}
