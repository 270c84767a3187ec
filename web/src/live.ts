/** Hear a piece while it is computed: a WAV that grows, scheduled block by block. */

import { request } from "./api.ts";
import { claimSound, releaseSound } from "./transport.ts";

const HEADER_BYTES = 44;
const LEAD_SECONDS = 0.25; // between what has come and what is heard, at the start and after a gap

export class LiveSound {
  #context: AudioContext | null = null;
  #stopping = new AbortController();

  constructor(
    private readonly path: string,
    private readonly ended: () => void,
  ) {}

  /** Ends with the sound, or when it is stopped. Raises what the request raises. */
  async play(): Promise<void> {
    const context = new AudioContext();
    this.#context = context;
    claimSound(this.stop);
    try {
      const response = await request(this.path, { signal: this.#stopping.signal });
      if (response.body === null) return;
      const end = await this.#schedule(context, response.body);
      const rest = end - context.currentTime;
      if (rest > 0) await this.#waited(rest);
    } finally {
      this.stop();
    }
  }

  readonly stop = (): void => {
    if (this.#context === null) return;
    this.#stopping.abort();
    void this.#context.close();
    this.#context = null;
    releaseSound(this.stop);
    this.ended();
  };

  #waited(seconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 1000 * seconds);
      this.#stopping.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Schedules all of it; returns when it ends on the context's clock. */
  async #schedule(context: AudioContext, body: ReadableStream<Uint8Array>): Promise<number> {
    let rest = new Uint8Array(0);
    let form: { channels: number; rate: number } | null = null;
    let at = 0;
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return at;
      const bytes = new Uint8Array(rest.length + value.length);
      bytes.set(rest);
      bytes.set(value, rest.length);
      rest = bytes;
      if (form === null) {
        if (rest.length < HEADER_BYTES) continue;
        const header = new DataView(rest.buffer);
        form = { channels: header.getUint16(22, true), rate: header.getUint32(24, true) };
        rest = rest.slice(HEADER_BYTES);
      }
      const frame = 2 * form.channels; // bytes
      const frames = Math.floor(rest.length / frame);
      if (frames === 0) continue;
      const buffer = context.createBuffer(form.channels, frames, form.rate);
      const view = new DataView(rest.buffer, rest.byteOffset);
      for (let channel = 0; channel < form.channels; channel += 1) {
        const samples = buffer.getChannelData(channel);
        for (let index = 0; index < frames; index += 1) {
          samples[index] = view.getInt16(frame * index + 2 * channel, true) / 32768;
        }
      }
      rest = rest.slice(frames * frame);
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(context.destination);
      if (at < context.currentTime) at = context.currentTime + LEAD_SECONDS;
      source.start(at);
      at += buffer.duration;
    }
  }
}
