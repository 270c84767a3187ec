/** Files onto the user's disk: fetched with the key, never by an address that holds it. */

import { request } from "./api.ts";
import { action, h } from "./dom.ts";

export function save(content: Blob, name: string): void {
  const address = URL.createObjectURL(content);
  const link = h("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function nameIn(disposition: string | null): string | null {
  const coded = /filename\*=UTF-8''([^;]+)/i.exec(disposition ?? "")?.[1];
  if (coded !== undefined) return decodeURIComponent(coded);
  return /filename="([^"]+)"/i.exec(disposition ?? "")?.[1] ?? null;
}

/** A button for each format. */
export function downloads(
  path: string,
  stem: string,
  formats: readonly string[],
  fail: (error: unknown) => void,
): HTMLElement {
  const get = async (format: string): Promise<void> => {
    const response = await request(`${path}?format=${format}`);
    save(await response.blob(), nameIn(response.headers.get("Content-Disposition")) ?? `${stem}.${format}`);
  };
  return h(
    "div",
    { class: "row downloads", role: "group", "aria-label": "Download" },
    h("span", { class: "quiet" }, "Download"),
    ...formats.map((format) =>
      action(format === "mid" ? "MIDI" : format.toUpperCase(), () => get(format), fail),
    ),
  );
}
