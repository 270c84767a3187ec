/** Everything measured in a recording, and what a listener heard in it. */

import { h } from "./dom.ts";
import { accidentals, clock, number, percent } from "./format.ts";
import type { Facts, Heard, Named, Reasoned } from "./types.ts";

type Row = [name: string, value: string, more?: string];

function sure(group: Reasoned): string {
  return group.confidence === undefined ? "" : `${percent(group.confidence)} sure`;
}

function measured(value: string | null, group: Reasoned): string {
  return value ?? `not measurable${group.reason ? `: ${group.reason}` : ""}`;
}

function factRows(facts: Facts): Row[] {
  const { tempo, key, metre, tuning, loudness, timbre, silence, clipping, damage } = facts;
  const others = (tempo.alternatives ?? []).filter(({ confidence }) => confidence >= 0.01);
  const lufs = (value: number | null, unit: string): string =>
    measured(value === null ? null : `${number(value)} ${unit}`, loudness);
  return [
    ["Length", clock(facts.duration_seconds, 1)],
    ["Tempo", measured(tempo.bpm === null ? null : `${number(tempo.bpm)} BPM`, tempo), sure(tempo)],
    [
      "Other tempos",
      others.map(({ bpm, confidence }) => `${number(bpm)} BPM (${percent(confidence)})`).join(", ") ||
        "none",
    ],
    ["Key", measured(key.name === null ? null : accidentals(key.name), key), sure(key)],
    ["Next best key", key.runner_up ? accidentals(key.runner_up) : "none"],
    [
      "Metre",
      measured(metre.beats_per_bar === null ? null : `${metre.beats_per_bar} beats to the bar`, metre),
      sure(metre),
    ],
    [
      "Tuning",
      measured(
        tuning.cents === null
          ? null
          : `${tuning.cents > 0 ? "+" : ""}${number(tuning.cents)} cents from 440 Hz`,
        tuning,
      ),
      sure(tuning),
    ],
    ["Loudness", lufs(loudness.integrated_lufs, "LUFS")],
    ["True peak", lufs(loudness.true_peak_dbtp, "dBTP")],
    ["Loudness range", lufs(loudness.range_lu, "LU")],
    [
      "Chords",
      facts.chords.spans === null ? measured(null, facts.chords) : `${facts.chords.spans.length}`,
      sure(facts.chords),
    ],
    [
      "Sections",
      facts.sections.spans === null ? measured(null, facts.sections) : `${facts.sections.spans.length}`,
      sure(facts.sections),
    ],
    [
      "Brightness",
      measured(timbre.brightness_hz === null ? null : `${number(timbre.brightness_hz, 0)} Hz`, timbre),
    ],
    [
      "Percussive",
      measured(timbre.percussive_share === null ? null : percent(timbre.percussive_share), timbre),
    ],
    ["Silence", measured(silence.share === null ? null : percent(silence.share), silence)],
    ["Clipping", clipping.samples ? `${clipping.samples} samples` : "none"],
    ["File", `${facts.sample_rate} Hz, ${facts.channels === 1 ? "mono" : `${facts.channels} channels`}`],
    ["Damage", damage.problems.length ? damage.problems.join("; ") : "none found"],
  ];
}

const names = (list: readonly Named[] | undefined): string =>
  (list ?? []).map(({ name, confidence }) => `${name} (${percent(confidence)})`).join(", ") ||
  "nothing it is sure of";

function heardRows(heard: Heard): Row[] {
  const rows: Row[] = [
    ["Genre", names(heard.genre)],
    ["Instruments", names(heard.instruments?.filter(({ confidence }) => confidence >= 0.3))],
    ["Mood", names(heard.moods)],
  ];
  if (heard.drums)
    rows.push(["Drums", heard.drums.present ? "yes" : "no", `${percent(heard.drums.confidence)} sure`]);
  if (heard.energy) {
    rows.push([
      "Energy",
      heard.energy,
      heard.energy_confidence ? `${percent(heard.energy_confidence)} sure` : "",
    ]);
  }
  return rows;
}

function table(caption: string, rows: Row[]): HTMLElement {
  return h(
    "table",
    { class: "facts" },
    h("caption", {}, caption),
    h(
      "tbody",
      {},
      ...rows.map(([name, value, more]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          h("td", {}, value, more ? h("span", { class: "quiet" }, ` ${more}`) : null),
        ),
      ),
    ),
  );
}

export function factsTables(facts: Facts | null, heard: Heard | null): HTMLElement {
  return h(
    "div",
    { class: "table columns" },
    facts === null ? h("p", { class: "quiet" }, "Nothing was measured.") : table("Measured", factRows(facts)),
    heard === null ? null : table("Heard, with how sure it is", heardRows(heard)),
  );
}
