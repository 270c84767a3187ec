/** The key to the server: typed once, kept until the tab is closed, or longer if that is wished. */

import { button, field, h, on } from "./dom.ts";
import { sentence } from "./format.ts";

const NAME = "antiphon.key";

export function accessKey(): string | null {
  return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME);
}

export function forgetKey(): void {
  sessionStorage.removeItem(NAME);
  localStorage.removeItem(NAME);
}

function keep(key: string, remembered: boolean): void {
  forgetKey();
  (remembered ? localStorage : sessionStorage).setItem(NAME, key);
}

let asking: Promise<void> | null = null;

/** Ask for the key, once for all calls that miss it. Ends when one was given; rejects if not. */
export function askForKey(why: string): Promise<void> {
  asking ??= new Promise<void>((resolve, reject) => {
    const key = h("input", {
      type: "password",
      autocomplete: "current-password",
      spellcheck: "false",
      required: true,
    });
    const remembered = h("input", { type: "checkbox" });
    const form = h(
      "form",
      { method: "dialog", class: "stack" },
      h("h2", {}, "This server needs a key"),
      h("p", {}, sentence(why)),
      field("Key", key),
      h("label", { class: "check" }, remembered, "Remember it on this computer"),
      h(
        "div",
        { class: "row" },
        h("button", { class: "primary" }, "Use this key"),
        button("Not now", () => dialog.close()),
      ),
    );
    const dialog = h("dialog", { "aria-label": "Key" }, form);
    on(form, {
      submit: (event) => {
        event.preventDefault();
        keep(key.value.trim(), remembered.checked);
        resolve();
        dialog.close();
      },
    });
    on(dialog, {
      close: () => {
        dialog.remove();
        reject(new Error("This needs the server's key, and none was given."));
      },
    });
    document.body.append(dialog);
    dialog.showModal();
  }).finally(() => (asking = null));
  return asking;
}
