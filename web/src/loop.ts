/** The loop's numbers: for those who do not drag, and for exact ones. */

import { announce, button, h, on, uniqueId } from "./dom.ts";
import { clock } from "./format.ts";

export class LoopFields {
  readonly element: HTMLElement;
  #seconds = 0;
  readonly #start = numberField();
  readonly #end = numberField();
  readonly #on = h("input", { type: "checkbox" });

  constructor(
    private readonly changed: (start: number | null, end: number | null) => void,
    playhead: () => number,
  ) {
    const labelled = (text: string, input: HTMLInputElement): HTMLElement => {
      input.id = uniqueId("loop");
      return h("span", { class: "inline" }, h("label", { for: input.id }, text), input, "s");
    };
    for (const input of [this.#start, this.#end]) on(input, { change: () => this.#typed() });
    on(this.#on, { change: () => this.#switched() });
    this.element = h(
      "div",
      { class: "row loop" },
      h("label", { class: "check" }, this.#on, "Loop"),
      labelled("from", this.#start),
      labelled("to", this.#end),
      button("From here", () => this.setEdge("start", playhead()), { title: "It starts at the playhead; key [" }),
      button("To here", () => this.setEdge("end", playhead()), { title: "It ends at the playhead; key ]" }),
    );
  }

  /** What is to be repeated, if anything is. */
  get span(): { start: number; end: number } | null {
    if (!this.#on.checked) return null;
    const [start, end] = [this.#start.valueAsNumber, this.#end.valueAsNumber];
    return end - start > 0.05 ? { start, end } : null;
  }

  setEnd(seconds: number): void {
    this.#seconds = seconds;
    for (const input of [this.#start, this.#end]) input.max = seconds.toFixed(2);
    if (!this.#on.checked) this.#write(0, seconds);
  }

  /** Dragged. */
  show(start: number, end: number): void {
    this.#on.checked = true;
    this.#write(start, end);
  }

  setEdge(edge: "start" | "end", at: number): void {
    let [start, end] = [this.#start.valueAsNumber || 0, this.#end.valueAsNumber || this.#seconds];
    if (edge === "start") [start, end] = [at, end > at ? end : this.#seconds];
    else [start, end] = [start < at ? start : 0, at];
    this.#on.checked = true;
    this.#write(start, end);
    this.changed(start, end);
    announce(`Loop from ${clock(start, 1)} to ${clock(end, 1)}.`);
  }

  #typed(): void {
    const start = Math.min(Math.max(0, this.#start.valueAsNumber || 0), this.#seconds);
    const wanted = this.#end.valueAsNumber || this.#seconds;
    const end = wanted > start ? Math.min(wanted, this.#seconds) : this.#seconds;
    this.#write(start, end);
    if (this.#on.checked) this.changed(start, end);
  }

  #switched(): void {
    if (this.#on.checked)
      this.changed(this.#start.valueAsNumber || 0, this.#end.valueAsNumber || this.#seconds);
    else this.changed(null, null);
  }

  #write(start: number, end: number): void {
    this.#start.value = start.toFixed(2);
    this.#end.value = end.toFixed(2);
  }
}

function numberField(): HTMLInputElement {
  return h("input", { type: "number", min: 0, step: "any", inputmode: "decimal", class: "short" });
}
