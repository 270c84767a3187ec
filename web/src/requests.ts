/** Requests made of an earlier piece: again, with one change, longer. */

import { KEYS } from "./wishes.ts";
import type { Json, MusicJob, MusicRequest, ServerInfo } from "./types.ts";

/** The fields of a request that a piece is made by; those about its file follow the server. */
const FIELDS = [
  "seconds", "bars", "sections", "loop_bars", "seed", "model", "genre", "mood", "tempo", "key", "metre",
  "instruments", "without", "energy", "intro", "ending", "negative", "continue", "melody", "from_score",
  "section", "candidates", "temperature", "top_k", "top_p", "guidance", "score_guidance", "format", "sample_rate",
  "bit_depth", "channels", "loudness", "fade_out",
];

const LENGTHS = ["seconds", "bars", "sections", "loop_bars"];
const EXTENSION_SECONDS = 10;

function sameRequest(job: MusicJob): MusicRequest {
  const body: MusicRequest = { prompt: job.prompt };
  for (const name of FIELDS) {
    const value = job.request[name];
    if (value === null || value === undefined) continue;
    if (Array.isArray(value) && value.length === 0) continue;
    body[name] = value;
  }
  // The request may name one of several models by nothing; the job knows which it was.
  body["model"] = job.model;
  return body;
}

/** The same prompt and settings, another seed. */
export function again(job: MusicJob): MusicRequest {
  const { seed: _, ...body } = sameRequest(job);
  return body as MusicRequest;
}

/** The same seed and all else, one value changed; an empty one is left to the text. */
export function changed(job: MusicJob, name: string, value: Json): MusicRequest {
  const body = sameRequest(job);
  if (job.seed !== null) body["seed"] = job.seed;
  if (LENGTHS.includes(name)) for (const length of LENGTHS) delete body[length];
  if (value === "" || value === null) delete body[name];
  else body[name] = value;
  return body;
}

/** This piece and some more. */
export function extended(job: MusicJob): MusicRequest {
  const body = sameRequest(job);
  for (const length of [...LENGTHS, "from_score"]) delete body[length];
  body["continue"] = job.id;
  body["seconds"] = Math.round((job.result?.seconds ?? job.seconds ?? 0) + EXTENSION_SECONDS);
  return body;
}

export interface Change {
  name: string;
  label: string;
  /** Choices, or the kind of number or text that is typed. */
  values: readonly string[] | "number" | "text";
}

/** What "change only …" offers. */
export function changes(info: ServerInfo, models: readonly string[]): Change[] {
  return [
    { name: "tempo", label: "tempo, BPM", values: "number" },
    { name: "key", label: "key", values: KEYS },
    { name: "genre", label: "genre", values: info.genres },
    { name: "metre", label: "metre", values: info.metres },
    { name: "mood", label: "mood, with commas", values: "text" },
    { name: "energy", label: "energy", values: info.energies },
    { name: "seconds", label: "length, seconds", values: "number" },
    { name: "loop_bars", label: "bars of a loop", values: "number" },
    { name: "sections", label: "sections", values: "text" },
    { name: "instruments", label: "instruments, with commas", values: "text" },
    { name: "without", label: "without, with commas", values: "text" },
    { name: "prompt", label: "prompt", values: "text" },
    { name: "model", label: "model", values: models },
  ];
}

/** A typed value as the request wants it. */
export function changeValue(change: Change, typed: string): Json {
  if (change.name === "instruments" || change.name === "without" || change.name === "mood") {
    return typed
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean);
  }
  if (change.values === "number") {
    const value = Number(typed.replace(",", "."));
    return typed.trim() === "" ? null : Number.isFinite(value) ? value : typed;
  }
  return typed.trim();
}
