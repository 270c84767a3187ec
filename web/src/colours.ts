/** The design's colours where a canvas needs them as values, and which of the two themes is on. */

import { h, on, select } from "./dom.ts";

const NAME = "antiphon.theme";

function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function colours(): { waveColor: string; progressColor: string; regionColor: string } {
  return {
    waveColor: token("--wave"),
    progressColor: token("--accent"),
    regionColor: token("--region"),
  };
}

type Rgb = [number, number, number];

function rgb(hex: string): Rgb {
  const value = Number.parseInt(hex.replace("#", ""), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/** 256 steps from the page's ground over the accent to the ink: quiet to loud. */
export function spectrogramColours(): number[][] {
  const stops = [rgb(token("--plot")), rgb(token("--accent")), rgb(token("--loud"))];
  return Array.from({ length: 256 }, (_, step) => {
    const position = (step / 255) * (stops.length - 1);
    const index = Math.min(stops.length - 2, Math.floor(position));
    const share = position - index;
    const [low, high] = [stops[index], stops[index + 1]];
    if (low === undefined || high === undefined) return [0, 0, 0, 1];
    return [...low.map((from, part) => (from + share * ((high[part] ?? from) - from)) / 255), 1];
  });
}

function apply(theme: string): void {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
  document.dispatchEvent(new Event("themechange"));
}

/** The switch; applies what was chosen before. */
export function themeSwitch(): HTMLElement {
  const kept = localStorage.getItem(NAME) ?? "auto";
  const choice = select(
    [
      ["auto", "colours: system"],
      ["light", "colours: light"],
      ["dark", "colours: dark"],
    ],
    kept,
  );
  choice.setAttribute("aria-label", "Colours");
  on(choice, {
    change: () => {
      localStorage.setItem(NAME, choice.value);
      apply(choice.value);
    },
  });
  apply(kept);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(choice.value));
  return h("span", {}, choice);
}
