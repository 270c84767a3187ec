/** What was asked for against what is heard. */

import { h } from "./dom.ts";
import { optionName, withUnit } from "./format.ts";
import type { MusicResult } from "./types.ts";

export function adherenceTable(result: MusicResult): HTMLElement {
  const rows = Object.entries(result.adherence).map(([option, { requested, measured, ok }]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, optionName(option)),
      h("td", {}, withUnit(option, requested)),
      h("td", {}, withUnit(option, measured)),
      h("td", { class: ok === null ? "unmeasured" : ok ? "confirmed" : "contradicted" }, verdict(ok)),
    ),
  );
  if (rows.length === 0) return h("p", { class: "quiet" }, "Nothing was asked for that can be measured.");
  return h(
    "div",
    { class: "table" },
    h(
      "table",
      {},
      h("caption", {}, "Asked for, and heard"),
      h(
        "thead",
        {},
        h("tr", {}, h("td"), h("th", { scope: "col" }, "asked"), h("th", { scope: "col" }, "heard"), h("td")),
      ),
      h("tbody", {}, ...rows),
    ),
  );
}

function verdict(ok: boolean | null): string {
  return ok === null ? "? not measurable" : ok ? "✓ kept" : "✗ missed";
}
