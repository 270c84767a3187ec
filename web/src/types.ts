/** What the API speaks, as far as the page reads it. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface Problem {
  message: string;
  type: string;
  param: string | null;
  code: string;
}

export interface Page<Item> {
  data: Item[];
  has_more: boolean;
  last_id: string | null;
}

export interface ServerInfo {
  version: string;
  needs_key: boolean;
  caps: { audio_bytes: number; audio_seconds: number; piece_seconds: number };
  formats: string[];
  genres: string[];
  moods: string[];
  instruments: string[];
  metres: string[];
  energies: string[];
  models: { id: string; modalities: { output: string[] } }[];
}

export type Status = "queued" | "in_progress" | "completed" | "failed" | "cancelled";

export interface Job {
  id: string;
  object: string;
  model: string;
  status: Status;
  progress: number;
  created_at: number;
  started_at: number | null;
  completed_at: number | null;
  error: { code: string; message: string } | null;
}

/** What is asked of a piece; the names are those of the request. */
export interface Wishes {
  genre?: string;
  mood?: string[];
  tempo?: number;
  key?: string;
  metre?: string;
  instruments?: string[];
  without?: string[];
  energy?: string;
  seconds?: number;
  loop_bars?: number;
  sections?: string;
  intro?: boolean;
  ending?: boolean;
}

export type MusicRequest = { prompt: string } & { [name: string]: Json };

export interface Reading {
  start: number;
  end: number;
  words: string;
  option: string;
  value: Json;
}

export interface Understanding {
  prompt: string;
  options: { [name: string]: Json };
  readings: Reading[];
  unknown: string[];
  notes: string[];
}

export interface MusicJob extends Job {
  prompt: string;
  seconds: number | null;
  seed: number | null;
  request: { [name: string]: Json };
  summary: {
    seconds?: number;
    tempo?: number | null;
    key?: string | null;
    genre?: string | null;
    loudness?: number | null;
    kept?: number;
    wishes?: number;
  };
  result: MusicResult | null;
}

export interface Adherence {
  requested: Json;
  measured: Json;
  ok: boolean | null;
}

export interface MusicResult {
  seconds: number;
  seed: number;
  requested: { [name: string]: Json };
  measured: { loudness?: number | null } & { [name: string]: Json };
  adherence: { [name: string]: Adherence };
  score: Score | null;
  notes: string[];
  /** Seconds of work for a second of sound. */
  real_time_factor?: number | null;
}

export interface Score {
  tempo_bpm: number;
  beats_per_bar: number;
  key: string | null;
  bars: number;
  sections: { label: string; start_bar: number; bars: number }[];
  chords: { start_beat: number; duration_beats: number; chord?: string; symbol?: string }[];
  tracks: { instrument: string; role?: string }[];
}

export interface AudioFile {
  id: string;
  filename: string;
  bytes: number;
}

export interface Span {
  start_seconds: number;
  end_seconds: number;
  label: string;
}

/** A group of facts; `reason` says why its value could not be measured. */
export interface Reasoned {
  confidence?: number;
  reason?: string | null;
}

export interface Facts {
  duration_seconds: number;
  sample_rate: number;
  channels: number;
  tempo: Reasoned & { bpm: number | null; alternatives?: { bpm: number; confidence: number }[] };
  beats: Reasoned & { times_seconds: number[] | null };
  downbeats: Reasoned & { times_seconds: number[] | null };
  metre: Reasoned & { beats_per_bar: number | null };
  tuning: Reasoned & { cents: number | null };
  key: Reasoned & { name: string | null; runner_up?: string | null };
  chords: Reasoned & { spans: Span[] | null };
  sections: Reasoned & { spans: Span[] | null };
  loudness: Reasoned & {
    integrated_lufs: number | null;
    true_peak_dbtp: number | null;
    range_lu: number | null;
  };
  silence: Reasoned & { share: number | null };
  clipping: { samples: number };
  timbre: Reasoned & { brightness_hz: number | null; percussive_share: number | null };
  damage: { decoded_seconds: number; declared_seconds: number | null; problems: string[] };
}

export interface Named {
  name: string;
  confidence: number;
}

export interface Heard {
  genre?: Named[];
  instruments?: (Named & { passages?: { start_seconds: number; end_seconds: number }[] })[];
  drums?: { present: boolean; confidence: number } | null;
  energy?: string | null;
  energy_confidence?: number | null;
  moods?: Named[];
}

export type Verdict = "confirmed" | "octave" | "contradicted" | "unmeasured";

export interface Mark {
  start: number;
  end: number;
  quantity: string;
  said: Json;
  measured: Json;
  verdict: Verdict;
  seconds: number | null;
}

export interface Description {
  path: string | null;
  texts: { [kind: string]: string };
  facts: Facts | null;
  heard: Heard | null;
  notes: string[];
  marks?: { [kind: string]: Mark[] };
}

export interface DescriptionJob extends Job {
  file_id: string;
  filename: string | null;
  summary: {
    duration_seconds?: number | null;
    tempo?: number | null;
    key?: string | null;
    metre?: number | string | null;
    genre?: string | null;
    energy?: string | null;
    loudness?: number | null;
  };
  result: Description | null;
}

export function isFinal(job: Job): boolean {
  return job.status === "completed" || job.status === "failed" || job.status === "cancelled";
}
