/** wavesurfer.js and its plugins, as every player here uses them. */

import WaveSurfer from "wavesurfer.js";
import RegionsPlugin from "wavesurfer.js/plugins/regions";
import SpectrogramPlugin from "wavesurfer.js/plugins/spectrogram";

import { colours, spectrogramColours } from "./colours.ts";

export type Regions = ReturnType<typeof RegionsPlugin.create>;
export type Spectrogram = ReturnType<typeof SpectrogramPlugin.create>;

// Longer recordings are decoded coarsely, which an hour needs, and get a spectrogram on demand.
export const DETAILED_SECONDS = 180;
const SAMPLE_RATE = 22050;
const COARSE_SAMPLE_RATE = 8000;
const WAVE_HEIGHT = 132; // CSS pixels
const SPECTROGRAM_HEIGHT = 116;

/** A waveform without sound yet; `seconds` is about how long the sound will be. */
export function waveform(place: HTMLElement, seconds: number): { surfer: WaveSurfer; regions: Regions } {
  const regions = RegionsPlugin.create();
  const surfer = WaveSurfer.create({
    container: place,
    height: WAVE_HEIGHT,
    normalize: true,
    cursorWidth: 0,
    sampleRate: seconds > DETAILED_SECONDS ? COARSE_SAMPLE_RATE : SAMPLE_RATE,
    plugins: [regions],
    ...colours(),
  });
  adoptStyles(place);
  return { surfer, regions };
}

export function spectrogram(place: HTMLElement): Spectrogram {
  return SpectrogramPlugin.create({
    container: place,
    height: SPECTROGRAM_HEIGHT,
    scale: "mel",
    fftSamples: 1024,
    autoGain: true,
    rangeDB: 60,
    colorMap: spectrogramColours(),
  });
}

/** See `adoptableStyles` in vite.config.ts. */
function adoptStyles(place: HTMLElement): void {
  for (const host of place.children) {
    const template = host.shadowRoot?.querySelector("template");
    if (!host.shadowRoot || !template) continue;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(template.content.textContent ?? "");
    host.shadowRoot.adoptedStyleSheets = [sheet];
  }
}
