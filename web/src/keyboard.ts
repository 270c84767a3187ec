/** The keys, and the sheet that names them. */

import { button, h } from "./dom.ts";
import { activePlayer, hear } from "./transport.ts";

const KEYS: readonly (readonly [string, string])[] = [
  ["space", "play, pause"],
  ["← →", "5 seconds back, on"],
  ["[ ]", "the loop starts, ends at the playhead"],
  ["a b", "make it A or B; then hear A or B at the same position"],
  ["Home End", "to the start, to the end (on a waveform)"],
  ["Page Up Page Down", "30 seconds on, back (on a waveform)"],
  ["?", "this list"],
];

const sheet = h(
  "dialog",
  { "aria-labelledby": "keys-title" },
  h("h2", { id: "keys-title" }, "Keyboard shortcuts"),
  h(
    "dl",
    { class: "keys" },
    ...KEYS.flatMap(([key, act]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, act)]),
  ),
  h("p", { class: "quiet" }, "They mean the player that was used last, and are off while you type."),
  h(
    "div",
    { class: "row" },
    button("Close", () => sheet.close(), { class: "primary" }),
  ),
);

export function showKeys(): void {
  if (!sheet.isConnected) document.body.append(sheet);
  if (!sheet.open) sheet.showModal();
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.closest("dialog") !== null) return true;
  if (target instanceof HTMLInputElement) return target.type !== "checkbox";
  return target.matches("textarea, select");
}

/** The space bar presses what has the focus, if that can be pressed. */
function isPressable(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("button, a, summary, input");
}

export function listenToKeys(): void {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const player = activePlayer();
    const acts: { [key: string]: (() => void) | undefined } = {
      " ": isPressable(event.target) ? undefined : player === null ? undefined : () => void player.toggle(),
      ArrowLeft: player === null ? undefined : () => player.skip(-1),
      ArrowRight: player === null ? undefined : () => player.skip(1),
      "[": player === null ? undefined : () => player.setLoopEdge("start"),
      "]": player === null ? undefined : () => player.setLoopEdge("end"),
      a: () => hear("A"),
      b: () => hear("B"),
      "?": showKeys,
    };
    const act = acts[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  });
}
