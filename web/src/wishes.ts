/**
 * The controls of a piece. Each shows what the text says until the user sets it; what he sets wins, and
 * can be given back to the text.
 */

import { button, h, on, select, uniqueId, unseen } from "./dom.ts";
import { accidentals, plain } from "./format.ts";
import type { Json, ServerInfo, Understanding } from "./types.ts";

type Values = { [option: string]: Json };

/** How one control is shown and read; `read` gives undefined where it holds nothing. */
interface Control {
  element: HTMLElement;
  write: (value: Json | undefined) => void;
  read: () => Json | undefined;
}

interface Row {
  control: Control;
  origin: HTMLElement;
  clear: HTMLButtonElement;
  label: string;
}

const TONICS = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const MINOR_TONICS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"];
export const KEYS = [
  ...TONICS.map((tonic) => `${tonic} major`),
  ...MINOR_TONICS.map((tonic) => `${tonic} minor`),
];

/** Options that are one thing for the user: how long it is, in one of three ways. */
const LENGTHS = ["seconds", "loop_bars", "sections"] as const;

export class WishForm {
  readonly element: HTMLElement;
  readonly #own: Values = {};
  #said: Values = {};
  readonly #rows = new Map<string, Row>();

  constructor(info: ServerInfo) {
    const orAny = (values: readonly string[]): [string, string][] => [
      ["", "any"],
      ...values.map((value): [string, string] => [value, accidentals(value)]),
    ];
    this.element = h(
      "div",
      { class: "wishes" },
      this.#row("genre", "Genre", choice(orAny(info.genres))),
      this.#row("tempo", "Tempo, BPM", amount(40, 240)),
      this.#row("key", "Key", choice(orAny(KEYS))),
      this.#row("metre", "Metre", choice(orAny(info.metres))),
      this.#row("energy", "Energy", choice(orAny(info.energies))),
      this.#row("length", "Length", lengthControl(info.caps.piece_seconds)),
      this.#row("mood", "Mood", several(info.moods), true),
      this.#row("instruments", "Instruments", several(info.instruments), true),
      this.#row("without", "Without", several(info.instruments), true),
      this.#row(
        "intro",
        "Intro",
        choice(
          [
            ["", "any"],
            ["yes", "with one"],
            ["no", "none"],
          ],
          true,
        ),
      ),
      this.#row(
        "ending",
        "Ending",
        choice(
          [
            ["", "any"],
            ["yes", "with one"],
            ["no", "none"],
          ],
          true,
        ),
      ),
    );
    this.#draw();
  }

  /** What the text says, as the server read it. */
  hear(understanding: Understanding | null): void {
    this.#said = { ...(understanding?.options ?? {}) };
    const { duration, bars, sections } = this.#said;
    if (duration !== undefined) this.#said["length"] = { seconds: duration };
    else if (bars !== undefined) this.#said["length"] = { loop_bars: bars };
    else if (sections !== undefined) {
      this.#said["length"] = { sections: Array.isArray(sections) ? sections.join(",") : sections };
    }
    this.#draw();
  }

  /** What the user set himself, as fields of a request. */
  get own(): Values {
    const { length, ...rest } = this.#own;
    return { ...rest, ...(typeof length === "object" && !Array.isArray(length) ? length : {}) };
  }

  #row(option: string, label: string, control: Control, wide = false): HTMLElement {
    const origin = h("span", { class: "origin" });
    const clear = button("", () => this.#forget(option), { class: "link" });
    this.#rows.set(option, { control, origin, clear, label });
    on(control.element, { change: () => this.#set(option, control.read()) });
    if (wide) {
      const summary = control.element.querySelector("summary");
      summary?.prepend(h("b", {}, label), " ");
      summary?.append(" ", origin);
      control.element.querySelector("fieldset")?.prepend(h("legend", { class: "unseen" }, label));
      return h("div", { class: "field wide" }, control.element, clear);
    }
    const target = control.element.matches("select, input")
      ? control.element
      : (control.element.querySelector<HTMLElement>("select, input") ?? control.element);
    if (!target.id) target.id = uniqueId("wish");
    return h(
      "div",
      { class: "field" },
      h("div", { class: "over" }, h("label", { for: target.id }, label), origin),
      control.element,
      clear,
    );
  }

  #set(option: string, value: Json | undefined): void {
    if (value === undefined) delete this.#own[option];
    else this.#own[option] = value;
    this.#draw();
  }

  #forget(option: string): void {
    delete this.#own[option];
    this.#draw();
    const control = this.#rows.get(option)?.control.element;
    const target = control?.matches("select, input")
      ? control
      : control?.querySelector<HTMLElement>("summary, select");
    target?.focus();
  }

  #draw(): void {
    for (const [option, { control, origin, clear, label }] of this.#rows) {
      const own = this.#own[option];
      const said = this.#said[option];
      control.write(own ?? said);
      const source = own !== undefined ? "set here" : said !== undefined ? "from text" : "";
      origin.textContent = source;
      origin.className = own !== undefined ? "origin own" : "origin";
      clear.hidden = own === undefined;
      clear.replaceChildren(said === undefined ? "clear" : "back to the text", unseen(`, ${label}`));
    }
  }
}

function choice(options: [string, string][], isYesOrNo = false): Control {
  const element = select(options);
  return {
    element,
    write: (value) => {
      element.value =
        value === undefined ? "" : value === true ? "yes" : value === false ? "no" : plainText(value);
    },
    read: () => (element.value === "" ? undefined : isYesOrNo ? element.value === "yes" : element.value),
  };
}

function plainText(value: Json): string {
  return typeof value === "string" ? value : plain(value);
}

function amount(low: number, high: number): Control {
  const element = h("input", { type: "number", min: low, max: high, step: "any", placeholder: "any" });
  return {
    element,
    write: (value) => {
      if (document.activeElement !== element) element.value = typeof value === "number" ? String(value) : "";
    },
    read: () => (Number.isNaN(element.valueAsNumber) ? undefined : element.valueAsNumber),
  };
}

/** Any number of a list: a box that opens to checkboxes, and says closed what is chosen. */
function several(options: readonly string[]): Control {
  const summary = h("span", { class: "chosen" }, "any");
  const boxes = options.map((option) => {
    const box = h("input", { type: "checkbox", value: option });
    return { box, label: h("label", { class: "check" }, box, option) };
  });
  const element = h(
    "details",
    { class: "several" },
    h("summary", {}, summary),
    h("fieldset", {}, ...boxes.map(({ label }) => label)),
  );
  return {
    element,
    write: (value) => {
      const chosen = Array.isArray(value) ? value.map(String) : [];
      for (const { box } of boxes) box.checked = chosen.includes(box.value);
      summary.textContent = chosen.join(", ") || "any";
    },
    read: () => {
      const chosen = boxes.filter(({ box }) => box.checked).map(({ box }) => box.value);
      return chosen.length ? chosen : undefined;
    },
  };
}

/** Seconds, bars of a loop, or sections: only one of them at a time. */
function lengthControl(mostSeconds: number): Control {
  const kind = select([
    ["", "any"],
    ["seconds", "seconds"],
    ["loop_bars", "bars of a loop"],
    ["sections", "sections"],
  ]);
  const input = h("input", { type: "text", "aria-label": "Length: how much" });
  const dress = (): void => {
    input.hidden = kind.value === "";
    input.inputMode = kind.value === "sections" ? "text" : "decimal";
    input.placeholder =
      { seconds: `1 to ${mostSeconds}`, loop_bars: "8", sections: "intro:4,verse:8" }[kind.value] ?? "";
  };
  on(kind, {
    change: () => {
      if (kind.value !== "")
        input.value =
          { seconds: "20", loop_bars: "8", sections: "intro:4,verse:8,ending:4" }[kind.value] ?? "";
      dress();
    },
  });
  return {
    element: h("div", { class: "pair" }, kind, input),
    write: (value) => {
      if (document.activeElement === input) return;
      const given = typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
      const name = LENGTHS.find((length) => given[length] !== undefined) ?? "";
      kind.value = name;
      input.value = name === "" ? "" : String(given[name]);
      dress();
    },
    read: () => {
      if (kind.value === "") return undefined;
      if (kind.value === "sections") return { sections: input.value.trim() };
      // A text that is no number goes as it is: the server says what it expects.
      const value = Number(input.value.replace(",", "."));
      return { [kind.value]: Number.isFinite(value) && input.value.trim() !== "" ? value : input.value };
    },
  };
}
