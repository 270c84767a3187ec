/** What runs along under a waveform: sections, chords and beats, on the waveform's own time axis. */

import { button, h } from "./dom.ts";
import { chordName, clock } from "./format.ts";
import type { Facts, Score, Span } from "./types.ts";

/**
 * Positions in seconds. `beats` are all beats, `downbeats` those among them that begin a bar; where the
 * sections are too uncertain for the texts, `areDoubted` says so.
 */
export interface Timeline {
  sections: Span[];
  areDoubted: boolean;
  chords: Span[];
  beats: number[];
  downbeats: number[];
}

const FAIR = 0.3; // below it, the texts say nothing of the sections either

export function timelineOfScore(score: Score): Timeline {
  const beat = 60 / score.tempo_bpm; // seconds
  const bar = beat * score.beats_per_bar;
  const beats = Array.from({ length: score.bars * score.beats_per_bar }, (_, index) => index * beat);
  return {
    sections: score.sections.map(({ label, start_bar, bars }) => ({
      label,
      start_seconds: start_bar * bar,
      end_seconds: (start_bar + bars) * bar,
    })),
    areDoubted: false,
    chords: score.chords.map((span) => ({
      label: span.chord ?? span.symbol ?? "N",
      start_seconds: span.start_beat * beat,
      end_seconds: (span.start_beat + span.duration_beats) * beat,
    })),
    beats,
    downbeats: beats.filter((_, index) => index % score.beats_per_bar === 0),
  };
}

export function timelineOfFacts(facts: Facts): Timeline {
  return {
    sections: facts.sections.spans ?? [],
    areDoubted: (facts.sections.confidence ?? 0) < FAIR,
    chords: facts.chords.spans ?? [],
    beats: facts.beats.times_seconds ?? [],
    downbeats: facts.downbeats.times_seconds ?? [],
  };
}

/** The lanes of a timeline; a click on a section goes to its start. */
export function lanes(line: Timeline, seconds: number, seek: (to: number) => void): HTMLElement[] {
  const made: HTMLElement[] = [];
  if (line.beats.length) made.push(beatLane(line, seconds));
  if (line.sections.length) {
    const lane = h("div", {
      class: line.areDoubted ? "lane sections doubted" : "lane sections",
      role: "group",
      "aria-label": line.areDoubted ? "Sections, uncertain" : "Sections",
    });
    // One too narrow to be hit is no button until the plot is zoomed; the list below has it meanwhile.
    new ResizeObserver(() => {
      for (const part of lane.querySelectorAll("button")) part.disabled = part.offsetWidth < LEAST_TARGET;
    }).observe(lane);
    line.sections.forEach((span, index) => {
      const doubt = line.areDoubted ? ", uncertain" : "";
      const part = button(span.label, () => seek(span.start_seconds), {
        class: "span",
        title: `${span.label}, ${clock(span.start_seconds)} to ${clock(span.end_seconds)}${doubt}`,
        "aria-label": `${span.label}, from ${clock(span.start_seconds)}`,
        "data-tone": index % 2,
      });
      part.replaceChildren(h("span", { class: "name" }, line.areDoubted ? `${span.label} ?` : span.label));
      lane.append(placed(part, span, seconds));
    });
    made.push(lane);
  }
  if (line.chords.length) {
    // Hundreds of chords are no tab stops; those who hear the page find them in the list below.
    const lane = h("div", { class: "lane chords", "aria-hidden": "true" });
    for (const span of line.chords) {
      const name = chordName(span.label);
      const part = h(
        "span",
        { class: "span", title: `${name}, ${clock(span.start_seconds, 1)}` },
        h("span", { class: "name" }, name),
      );
      lane.append(placed(part, span, seconds));
    }
    made.push(lane);
  }
  return made;
}

function placed(element: HTMLElement, span: Span, seconds: number): HTMLElement {
  const end = Math.min(span.end_seconds, seconds);
  element.style.left = `${(100 * span.start_seconds) / seconds}%`;
  element.style.width = `${(100 * Math.max(0, end - span.start_seconds)) / seconds}%`;
  return element;
}

const LEAST_TARGET = 24; // CSS pixels, as WCAG 2.2 has it
const LEAST_APART = 5; // CSS pixels between two ticks
const TICKS_HEIGHT = 14; // CSS pixels; a downbeat is drawn over all of it

function beatLane(line: Timeline, seconds: number): HTMLElement {
  const canvas = h("canvas", { class: "ticks", "aria-hidden": "true" });
  const downbeats = new Set(line.downbeats.map((time) => time.toFixed(3)));
  const draw = (): void => {
    const width = canvas.clientWidth;
    const context = canvas.getContext("2d");
    if (width === 0 || context === null) return;
    const ratio = window.devicePixelRatio;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(TICKS_HEIGHT * ratio);
    context.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    // Ticks closer than this would be a grey bar: downbeats alone are drawn then, or every 2nd, 4th, …
    const isDense = line.beats.length * LEAST_APART > width;
    let stride = 1;
    while ((line.downbeats.length / stride) * LEAST_APART > width) stride *= 2;
    let bar = -1;
    for (const time of line.beats) {
      const isDownbeat = downbeats.has(time.toFixed(3));
      if (isDownbeat) bar += 1;
      if (isDense && (!isDownbeat || bar % stride !== 0)) continue;
      const height = isDownbeat ? TICKS_HEIGHT : TICKS_HEIGHT / 2;
      context.fillStyle = style.getPropertyValue(isDownbeat ? "--ink" : "--muted");
      context.fillRect((time / seconds) * width, 0, isDownbeat ? 1.6 : 1, height);
    }
  };
  new ResizeObserver(draw).observe(canvas);
  document.addEventListener("themechange", draw);
  return h("div", { class: "lane beats" }, canvas);
}

/** The same in words; sections are buttons here too, large ones where those in the lane are narrow. */
export function timelineText(line: Timeline, seek: (to: number) => void): HTMLElement {
  const sections = line.sections.map((span) =>
    button(`${clock(span.start_seconds)} ${span.label}`, () => seek(span.start_seconds), { class: "link" }),
  );
  const chords = line.chords.map((span) => `${clock(span.start_seconds)} ${chordName(span.label)}`);
  return h(
    "details",
    { class: "as-text" },
    h("summary", {}, "Sections, chords and beats as text"),
    h(
      "dl",
      {},
      h("dt", {}, line.areDoubted ? "Sections, uncertain" : "Sections"),
      h("dd", {}, ...(sections.length ? sections : ["none"])),
      h("dt", {}, "Chords"),
      h("dd", {}, chords.join(", ") || "none"),
      h("dt", {}, "Beats"),
      h("dd", {}, `${line.beats.length} beats, ${line.downbeats.length} of them begin a bar`),
    ),
  );
}
