/** Tables and JSON lines, written by the browser from what it shows. */

import { button, h } from "./dom.ts";
import { save } from "./downloads.ts";
import type { Description } from "./types.ts";

type Cell = string | number | null | undefined;

/** RFC 4180. A cell that a spreadsheet would take for a formula gets an apostrophe in front. */
export function csv(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cell = (value: Cell): string => {
    let text = value === null || value === undefined ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

export function saveText(text: string, name: string, type: string): void {
  save(new Blob([text], { type: `${type};charset=utf-8` }), name);
}

/** One description as `antiphon describe --jsonl` writes it, and its texts alone. */
export function downloadsOfDescription(title: string, found: Description): HTMLElement {
  const stem = title.replace(/\.[^.]+$/, "");
  const texts = Object.entries(found.texts)
    .map(([kind, text]) => `${kind}\n${text}\n`)
    .join("\n");
  return h(
    "div",
    { class: "row downloads", role: "group", "aria-label": "Download" },
    h("span", { class: "quiet" }, "Download"),
    button("JSON", () => saveText(`${JSON.stringify(found)}\n`, `${stem}.json`, "application/json")),
    button("Texts", () => saveText(texts, `${stem}.txt`, "text/plain")),
  );
}
