/** A description whose numbers lead to the place they were measured at. */

import { button, characters, h, unseen } from "./dom.ts";
import { plain } from "./format.ts";
import type { Mark, Verdict } from "./types.ts";

const SIGNS: Record<Verdict, string> = { confirmed: "✓", contradicted: "✗", octave: "8", unmeasured: "?" };

export const VERDICTS: Record<Verdict, string> = {
  confirmed: "confirmed by measurement",
  contradicted: "contradicted by measurement",
  octave: "right but for an octave",
  unmeasured: "not measured",
};

/** `go` moves the playhead to a time in seconds; what holds for all of it is at its start. */
export function markedText(text: string, marks: readonly Mark[], go: (seconds: number) => void): HTMLElement {
  const letters = characters(text);
  const paragraph = h("p", { class: "marked" });
  let at = 0;
  for (const mark of [...marks].sort((one, other) => one.start - other.start)) {
    if (mark.start < at || mark.end > letters.length) continue; // marks that overlap: the first one stays
    paragraph.append(letters.slice(at, mark.start).join(""));
    const measured = mark.measured === null ? "" : `, measured ${plain(mark.measured)}`;
    const link = button("", () => go(mark.seconds ?? 0), {
      class: `mark ${mark.verdict}`,
      title: `${mark.quantity.replaceAll("_", " ")}: ${VERDICTS[mark.verdict]}${measured}`,
    });
    link.append(
      letters.slice(mark.start, mark.end).join(""),
      h("sup", { "aria-hidden": "true" }, SIGNS[mark.verdict]),
      unseen(` (${VERDICTS[mark.verdict]}${measured}; go there)`),
    );
    paragraph.append(link);
    at = mark.end;
  }
  paragraph.append(letters.slice(at).join(""));
  return paragraph;
}

export function legend(): HTMLElement {
  return h(
    "p",
    { class: "quiet" },
    ...(Object.keys(SIGNS) as Verdict[]).map((verdict, index) =>
      h(
        "span",
        {},
        index ? " · " : "",
        h("span", { class: `sign ${verdict}` }, SIGNS[verdict]),
        ` ${VERDICTS[verdict]}`,
      ),
    ),
  );
}
