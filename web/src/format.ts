/** How times, numbers, chords and names are written. */

import type { Json } from "./types.ts";

/** 75.4 is 1:15, or 1:15.4 with one decimal. */
export function clock(seconds: number, decimals = 0): string {
  const scale = 10 ** decimals;
  const whole = Math.max(0, Math.round(seconds * scale)) / scale;
  const minutes = Math.floor(whole / 60);
  const rest = (whole - 60 * minutes).toFixed(decimals).padStart(decimals ? decimals + 3 : 2, "0");
  return `${minutes}:${rest}`;
}

/** With a capital and a stop: messages of the API are written without. */
export function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** As it is said: 1 minute 15 seconds. */
export function spokenTime(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(whole / 60);
  const rest = `${whole % 60} second${whole % 60 === 1 ? "" : "s"}`;
  return minutes ? `${minutes} minute${minutes === 1 ? "" : "s"} ${rest}` : rest;
}

export function number(value: number, decimals = 1): string {
  return value
    .toFixed(decimals)
    .replace(/^-(0(?:\.0*)?)$/, "$1")
    .replace("-", "−");
}

export function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

export function bytes(count: number): string {
  return count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

export function date(unixSeconds: number): string {
  return new Date(1000 * unixSeconds).toLocaleString(undefined, {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
  });
}

const QUALITIES: { [harte: string]: string } = {
  maj: "",
  min: "m",
  min7: "m7",
  maj7: "maj7",
  hdim7: "m7♭5",
  dim: "dim",
  dim7: "dim7",
  aug: "aug",
  sus4: "sus4",
  "7": "7",
  "9": "9",
  maj9: "maj9",
  min9: "m9",
};

/** Harte's `F#:min7` as musicians write it, F♯m7; `N` is no chord. */
export function chordName(label: string): string {
  if (label === "N") return "–";
  const [root = "", quality = "maj"] = label.split(":");
  return accidentals(root) + (QUALITIES[quality] ?? quality);
}

/** `Bb major` with a real flat sign. */
export function accidentals(text: string): string {
  return text.replace(/\b([A-G])b(?![a-z])/g, "$1♭").replace(/\b([A-G])#/g, "$1♯");
}

/** Any value of the API in a table's cell. */
export function plain(value: Json | undefined): string {
  if (value === null || value === undefined) return "nothing";
  if (value === true) return "yes";
  if (value === false) return "no";
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (typeof value === "number") return number(value).replace(/\.0$/, "");
  if (typeof value === "object") {
    return Object.entries(value)
      .map(([name, part]) => `${name} ${plain(part)}`)
      .join(", ");
  }
  return accidentals(value);
}

const NAMES: { [option: string]: string } = {
  loop_bars: "loop",
  duration: "length",
  seconds: "length",
  tempo: "tempo",
};

export function optionName(option: string): string {
  return NAMES[option] ?? option.replaceAll("_", " ");
}

export function withUnit(option: string, value: Json | undefined): string {
  const text = plain(value);
  if (typeof value !== "number") return text;
  if (option === "tempo") return `${text} BPM`;
  if (option === "duration" || option === "seconds") return `${text} s`;
  if (option === "bars" || option === "loop_bars") return `${text} bars`;
  if (option === "loudness") return `${number(value)} LUFS`;
  if (option === "metre") return `${text}/4`;
  return text;
}

export function modelName(id: string): string {
  if (id === "antiphon-composer") return "composer";
  if (id === "antiphon-composer-synth") return "synth (exact)";
  return id;
}
