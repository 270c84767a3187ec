/** Failures on the page: what the server said, and a way out. */

import { ApiError, isAbort } from "./api.ts";
import { button, h } from "./dom.ts";
import { sentence } from "./format.ts";

export interface WayOut {
  label: string;
  act: () => void;
}

function messageOf(error: unknown): string {
  return sentence(error instanceof Error ? error.message : String(error));
}

/** What usually helps, where the server's sentence does not already say it. */
function advice(error: unknown): string | null {
  if (!(error instanceof ApiError)) return null;
  if (error.status === 0) return "Check that it runs; then try again.";
  if (error.status === 429) return "Too much at once: wait a moment, then try again.";
  if (error.status === 413) return "Choose a smaller file.";
  if (error.status === 404) return "It may have been deleted, or have expired.";
  if (error.status >= 500) return "It is the server's fault: try again.";
  return null;
}

/** A box that is read out when it appears. It has a button for each way out, and one to go away. */
export function problemBox(error: unknown, ...waysOut: WayOut[]): HTMLElement {
  const hint = advice(error);
  const box = h(
    "div",
    { class: "problem", role: "alert" },
    h("p", {}, messageOf(error), hint === null ? null : ` ${hint}`),
  );
  const buttons = waysOut.map(({ label, act }) =>
    button(label, () => {
      box.remove();
      act();
    }),
  );
  box.append(
    h(
      "div",
      { class: "row" },
      ...buttons,
      button("Close", () => box.remove()),
    ),
  );
  return box;
}

/** Show a failure in `place`, in place of an earlier one. What was stopped on purpose is none. */
export function show(place: HTMLElement, error: unknown, ...waysOut: WayOut[]): void {
  if (isAbort(error)) return;
  place.replaceChildren(problemBox(error, ...waysOut));
}
