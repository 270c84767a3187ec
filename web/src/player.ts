/** One recording: waveform, spectrogram, lanes, a loop, and the transport's buttons. */

import type WaveSurfer from "wavesurfer.js";
import type { Region } from "wavesurfer.js/plugins/regions";

import { colours } from "./colours.ts";
import { button, h, on, select } from "./dom.ts";
import { clock, spokenTime } from "./format.ts";
import { lanes, timelineText, type Timeline } from "./lanes.ts";
import { LoopFields } from "./loop.ts";
import { show } from "./problems.ts";
import { activate, activePlayer, assign, claimSound, forget, releaseSound, type Slot } from "./transport.ts";
import { DETAILED_SECONDS, spectrogram, waveform, type Regions, type Spectrogram } from "./wave.ts";

/** Fetches the sound: as it is, or decoded by the server where the browser cannot play it. */
export type Fetch = (decoded: boolean, signal: AbortSignal) => Promise<Blob>;

const SKIP_SECONDS = 5;

export class Player {
  readonly element: HTMLElement;
  #surfer: WaveSurfer | null = null;
  #regions: Regions | null = null;
  #region: Region | null = null;
  #spectrogram: Spectrogram | null = null;
  readonly #loading = new AbortController();

  readonly #play = button("Play", () => void this.toggle(), { class: "primary play" });
  readonly #stop = button("Stop", () => this.stop());
  readonly #time = h("span", { class: "time" }, "0:00.0");
  readonly #slotA = button("A", () => assign("A", this), {
    "aria-pressed": "false",
    "aria-label": "Pick as A",
  });
  readonly #slotB = button("B", () => assign("B", this), {
    "aria-pressed": "false",
    "aria-label": "Pick as B",
  });
  readonly #spectrogramSwitch = button("Spectrogram", () => this.#toggleSpectrogram(), {
    "aria-pressed": "false",
  });
  readonly #wave: HTMLElement;
  readonly #spectrogramPlace = h("div", {
    class: "spectrogram",
    role: "img",
    "aria-label": "Spectrogram: time to the right, pitch upwards, loud is strong",
    hidden: true,
  });
  readonly #lanes = h("div", { class: "lanes" });
  readonly #playhead = h("div", { class: "playhead", "aria-hidden": "true" });
  readonly #plot: HTMLElement;
  readonly #state = h("div", { class: "state" });
  readonly #loop: LoopFields;

  constructor(
    readonly title: string,
    readonly loudness: number | null,
    private readonly expectedSeconds: number,
    private readonly fetchSound: Fetch,
    private readonly timeline: Timeline | null,
  ) {
    this.#wave = h("div", {
      class: "wave",
      role: "slider",
      tabindex: 0,
      "aria-label": `Position in ${title}`,
      "aria-valuemin": 0,
      "aria-valuemax": 0,
      "aria-valuenow": 0,
      "aria-valuetext": "loading",
    });
    on(this.#wave, { keydown: (event) => this.#key(event) });
    this.#loop = new LoopFields(
      (start, end) => this.setLoop(start, end),
      () => this.time,
    );
    this.#plot = h("div", { class: "plot" }, this.#wave, this.#spectrogramPlace, this.#lanes, this.#playhead);
    this.element = h(
      "div",
      { class: "player", role: "group", "aria-label": `Player: ${title}` },
      h(
        "div",
        { class: "row transport" },
        this.#play,
        this.#stop,
        this.#time,
        h("span", { class: "grow" }),
        this.#speed(),
        this.#zoom(),
        this.#spectrogramSwitch,
        h("span", { class: "slots" }, this.#slotA, this.#slotB),
      ),
      // A container that scrolls has to be reachable by the keys: its slider and sections are.
      h("div", { class: "scroller" }, this.#plot),
      this.#state,
      this.#loop.element,
      timeline === null ? null : timelineText(timeline, (to) => this.seek(to)),
    );
    on(this.element, { focusin: () => activate(this), pointerdown: () => activate(this) });
    document.addEventListener("themechange", this.#recolour);
  }

  get time(): number {
    return this.#surfer?.getCurrentTime() ?? 0;
  }

  get seconds(): number {
    return this.#surfer?.getDuration() ?? 0;
  }

  get isPlaying(): boolean {
    return this.#surfer?.isPlaying() ?? false;
  }

  async load(): Promise<void> {
    this.#state.replaceChildren(h("p", { class: "quiet" }, "Loading the sound …"));
    try {
      const { signal } = this.#loading;
      const sound = await this.fetchSound(false, signal);
      try {
        await this.#draw(sound);
      } catch {
        // A format that this browser does not play: the server decodes it.
        const decoded = await this.fetchSound(true, signal);
        await this.#draw(decoded).catch((error: unknown) => {
          throw new Error("This browser cannot play the sound; download it instead.", { cause: error });
        });
      }
      if (signal.aborted) return;
      this.#state.replaceChildren();
      if (activePlayer() === null) activate(this);
    } catch (error) {
      this.#state.replaceChildren();
      show(this.#state, error, { label: "Try again", act: () => void this.load() });
    }
  }

  async #draw(sound: Blob): Promise<void> {
    this.#surfer?.destroy();
    const { surfer, regions } = waveform(this.#wave, this.expectedSeconds);
    this.#surfer = surfer;
    this.#regions = regions;
    surfer.on("timeupdate", () => this.#moved());
    surfer.on("seeking", () => {
      this.#moved();
      this.#keepInView();
    });
    surfer.on("play", () => {
      claimSound(this.#silence);
      activate(this);
      this.#play.textContent = "Pause";
    });
    surfer.on("pause", () => {
      releaseSound(this.#silence);
      this.#play.textContent = "Play";
    });
    surfer.on("finish", () => this.#finished());
    await new Promise<void>((resolve, reject) => {
      // What the media element cannot play is said by this event alone; the load would wait for ever.
      surfer.on("error", reject);
      surfer.loadBlob(sound).then(resolve, reject);
    });
    const seconds = surfer.getDuration();
    this.#wave.setAttribute("aria-valuemax", seconds.toFixed(1));
    regions.enableDragSelection({ color: colours().regionColor });
    regions.on("region-created", (region) => this.#adopt(region));
    regions.on("region-updated", (region) => this.#loop.show(region.start, region.end));
    if (this.timeline !== null) {
      this.#lanes.replaceChildren(...lanes(this.timeline, seconds, (to) => this.seek(to)));
    }
    this.#loop.setEnd(seconds);
    this.#moved();
    if (seconds <= DETAILED_SECONDS) this.#toggleSpectrogram();
  }

  #adopt(region: Region): void {
    if (this.#region !== region) this.#region?.remove();
    this.#region = region;
    this.#loop.show(region.start, region.end);
  }

  /** A loop between two positions in seconds; null takes it away. */
  setLoop(start: number | null, end: number | null): void {
    if (start === null || end === null) {
      this.#region?.remove();
      this.#region = null;
      return;
    }
    if (this.#region === null) {
      this.#regions?.addRegion({ start, end, color: colours().regionColor });
    } else {
      this.#region.setOptions({ start, end });
    }
  }

  /** `[` and `]`. */
  setLoopEdge(edge: "start" | "end"): void {
    this.#loop.setEdge(edge, this.time);
  }

  #moved(): void {
    const { time, seconds } = this;
    const loop = this.#loop.span;
    if (loop !== null && this.isPlaying && time >= loop.end) {
      this.seek(loop.start);
      return;
    }
    this.#time.textContent = `${clock(time, 1)} / ${clock(seconds, 1)}`;
    this.#wave.setAttribute("aria-valuenow", time.toFixed(1));
    this.#wave.setAttribute("aria-valuetext", `${spokenTime(time)} of ${spokenTime(seconds)}`);
    this.#playhead.style.left = `${seconds > 0 ? (100 * time) / seconds : 0}%`;
    if (this.isPlaying) this.#keepInView();
  }

  /** A zoomed plot turns the page when the playhead leaves it. */
  #keepInView(): void {
    const scroller = this.#plot.parentElement;
    if (scroller === null || scroller.scrollWidth <= scroller.clientWidth) return;
    const at = this.#playhead.offsetLeft;
    // Where it stands still, at the left edge, the most of what comes next is seen.
    if (at < scroller.scrollLeft || at > scroller.scrollLeft + scroller.clientWidth) scroller.scrollLeft = at;
  }

  #finished(): void {
    const loop = this.#loop.span;
    if (loop === null) return;
    this.seek(loop.start);
    void this.play();
  }

  readonly #silence = (): void => this.pause();

  async play(): Promise<void> {
    // A play that is paused before it begins rejects; that is no failure.
    await this.#surfer?.play().catch((error: unknown) => show(this.#state, error));
  }

  pause(): void {
    this.#surfer?.pause();
  }

  stop(): void {
    this.pause();
    this.seek(this.#loop.span?.start ?? 0);
  }

  async toggle(): Promise<void> {
    if (this.isPlaying) this.pause();
    else await this.play();
  }

  seek(seconds: number): void {
    if (this.#surfer === null) return;
    const to = Math.min(Math.max(0, seconds), this.seconds);
    this.#surfer.setTime(to);
    // wavesurfer.js 8.0.1 keeps a seek during a seek for later, and drops it when the first one's event
    // comes with another time: two quick arrow keys went one step.
    const media = this.#surfer.getMediaElement();
    if (media?.seeking) media.currentTime = to;
  }

  skip(direction: 1 | -1): void {
    this.seek(this.time + direction * SKIP_SECONDS);
  }

  /** Turn it down by so many decibels (0 or less). */
  setLevel(db: number): void {
    this.#surfer?.setVolume(Math.min(1, 10 ** (db / 20)));
  }

  setSlot(slot: Slot | null): void {
    this.#slotA.setAttribute("aria-pressed", String(slot === "A"));
    this.#slotB.setAttribute("aria-pressed", String(slot === "B"));
  }

  destroy(): void {
    this.#loading.abort();
    this.pause();
    forget(this);
    document.removeEventListener("themechange", this.#recolour);
    this.#surfer?.destroy();
    this.#surfer = null;
  }

  #key(event: KeyboardEvent): void {
    const to = { Home: 0, End: this.seconds, PageUp: this.time + 30, PageDown: this.time - 30 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.seek(to);
  }

  #speed(): HTMLElement {
    const choice = select(
      [
        ["1", "speed 1×"],
        ["0.75", "speed ¾×"],
        ["0.5", "speed ½×"],
      ],
      "1",
    );
    choice.setAttribute("aria-label", "Speed");
    choice.title = "The pitch stays";
    // The second argument keeps the pitch: what is slowed down to be learned stays in tune.
    return on(choice, { change: () => this.#surfer?.setPlaybackRate(Number(choice.value), true) });
  }

  #zoom(): HTMLElement {
    const choice = select(
      [
        ["1", "zoom 1×"],
        ["2", "zoom 2×"],
        ["4", "zoom 4×"],
        ["8", "zoom 8×"],
      ],
      "1",
    );
    choice.setAttribute("aria-label", "Zoom");
    return on(choice, {
      change: () => {
        this.#plot.style.width = `${100 * Number(choice.value)}%`;
        this.#keepInView();
      },
    });
  }

  #toggleSpectrogram(): void {
    if (this.#surfer === null) return;
    if (this.#spectrogram === null) {
      this.#spectrogramPlace.hidden = false;
      this.#spectrogram = spectrogram(this.#spectrogramPlace);
      this.#surfer.registerPlugin(this.#spectrogram);
    } else {
      this.#surfer.unregisterPlugin(this.#spectrogram);
      this.#spectrogram.destroy();
      this.#spectrogram = null;
      this.#spectrogramPlace.replaceChildren();
      this.#spectrogramPlace.hidden = true;
    }
    this.#spectrogramSwitch.setAttribute("aria-pressed", String(this.#spectrogram !== null));
  }

  readonly #recolour = (): void => {
    const { regionColor, ...wave } = colours();
    this.#surfer?.setOptions(wave);
    this.#region?.setOptions({ color: regionColor });
    if (this.#spectrogram !== null) {
      this.#toggleSpectrogram();
      this.#toggleSpectrogram();
    }
  };
}
