/**
 * Which player sounds (one at a time), which one the keys mean, and A and B: two pieces at the same
 * position, the louder one turned down to the level of the other.
 */

import { announce, button, byId, h } from "./dom.ts";
import { number } from "./format.ts";
import type { Player } from "./player.ts";

export type Slot = "A" | "B";

let active: Player | null = null;
let stopSounding: (() => void) | null = null;
const slots: Record<Slot, Player | null> = { A: null, B: null };

export function activePlayer(): Player | null {
  return active;
}

/** The keys mean this player from now on. */
export function activate(player: Player): void {
  if (active === player) return;
  active = player;
  drawComparison();
}

/** From now on this sounds: what sounded before is stopped. */
export function claimSound(stop: () => void): void {
  if (stopSounding !== null && stopSounding !== stop) stopSounding();
  stopSounding = stop;
}

export function releaseSound(stop: () => void): void {
  if (stopSounding === stop) stopSounding = null;
}

/** A player goes away. */
export function forget(player: Player): void {
  if (active === player) active = null;
  for (const slot of ["A", "B"] as const) if (slots[slot] === player) slots[slot] = null;
  drawComparison();
}

export function assign(slot: Slot, player: Player): void {
  const other: Slot = slot === "A" ? "B" : "A";
  if (slots[other] === player) {
    slots[other]?.setSlot(null);
    slots[other] = null;
  }
  slots[slot]?.setSlot(null);
  slots[slot] = player;
  player.setSlot(slot);
  matchLevels();
  drawComparison();
  announce(`${player.title} is ${slot}.`);
}

/** Hear A or B at the position of what is heard now; with nothing there, the active player gets it. */
export function hear(slot: Slot): void {
  const next = slots[slot];
  if (next === null) {
    if (active !== null) assign(slot, active);
    else announce(`Open a piece first; then ${slot.toLowerCase()} makes it ${slot}.`);
    return;
  }
  const before = slots[slot === "A" ? "B" : "A"];
  const isHeard = next.isPlaying || (active === next && before?.isPlaying !== true);
  if (before !== null && !isHeard) {
    const wasPlaying = before.isPlaying;
    next.seek(before.time);
    before.pause();
    if (wasPlaying) void next.play();
  }
  active = next;
  drawComparison();
  announce(`Hearing ${slot}: ${next.title}.`);
}

function matchLevels(): void {
  const { A, B } = slots;
  if (A?.loudness == null || B?.loudness == null) {
    A?.setLevel(0);
    B?.setLevel(0);
    return;
  }
  const quieter = Math.min(A.loudness, B.loudness);
  A.setLevel(quieter - A.loudness);
  B.setLevel(quieter - B.loudness);
}

function levelSentence(): string {
  const { A, B } = slots;
  if (A === null || B === null) return "Pick two pieces as A and B, then switch with the keys a and b.";
  if (A.loudness === null || B.loudness === null) return "Not level-matched: a loudness is not known.";
  const apart = A.loudness - B.loudness;
  if (Math.abs(apart) < 0.05) return "Both are equally loud.";
  const louder = apart > 0 ? "A" : "B";
  return `Level-matched: ${louder} is turned down by ${number(Math.abs(apart))} dB.`;
}

function clear(): void {
  for (const slot of ["A", "B"] as const) {
    slots[slot]?.setSlot(null);
    slots[slot]?.setLevel(0);
    slots[slot] = null;
  }
  drawComparison();
  byId("main").focus();
}

const hearA = button("", () => hear("A"), { class: "slot slot-a" });
const hearB = button("", () => hear("B"), { class: "slot slot-b" });
const sentence = h("p", { class: "quiet" });
const clearing = button("Clear", clear, { "aria-label": "Clear A and B" });

function drawComparison(): void {
  const place = byId("compare");
  place.hidden = slots.A === null && slots.B === null;
  document.body.classList.toggle("comparing", !place.hidden);
  if (place.childElementCount === 0) {
    place.append(
      h("div", { class: "row" }, h("div", { class: "pairing" }, hearA, hearB), sentence, clearing),
    );
  }
  for (const [slot, made] of [
    ["A", hearA],
    ["B", hearB],
  ] as const) {
    const player = slots[slot];
    made.replaceChildren(h("b", {}, slot), ` ${player?.title ?? "not picked"}`);
    made.setAttribute("aria-pressed", String(player !== null && player === active));
    made.disabled = player === null;
  }
  sentence.textContent = levelSentence();
}
