/** "Change only …": one value of a piece, everything else and the seed the same. */

import { button, field, h, on, select } from "./dom.ts";
import type { Workshop } from "./piece_card.ts";
import { changed, changes, changeValue } from "./requests.ts";
import type { MusicJob } from "./types.ts";

export function changeForm(
  job: MusicJob,
  workshop: Workshop,
  fail: (error: unknown) => void,
): { opener: HTMLElement; form: HTMLElement } {
  const offered = changes(workshop.info, workshop.models);
  const what = select(
    offered.map(({ name, label }) => [name, label] as const),
    "tempo",
  );
  const place = h("div", {});
  let read = (): string => "";

  const draw = (): void => {
    const change = offered.find(({ name }) => name === what.value);
    if (change === undefined) return;
    const asked = job.result?.requested ?? {};
    const now = asked[change.name === "seconds" ? "duration" : change.name] ?? job.request[change.name] ?? "";
    const text = change.name === "prompt" ? job.prompt : Array.isArray(now) ? now.join(", ") : String(now);
    const control =
      typeof change.values === "string"
        ? h("input", {
            type: "text",
            inputmode: change.values === "number" ? "decimal" : "text",
            value: text,
          })
        : select([["", "as the text says"], ...change.values.map((value) => [value, value] as const)], text);
    read = () => control.value;
    place.replaceChildren(field("to", control));
  };

  const submit = (): void => {
    const change = offered.find(({ name }) => name === what.value);
    if (change === undefined) return;
    workshop.order(changed(job, change.name, changeValue(change, read()))).catch(fail);
  };

  on(what, { change: draw });
  draw();
  const form = h(
    "form",
    { class: "row ends" },
    field("Change only", what),
    place,
    h("button", { type: "submit" }, "Compose with this change"),
  );
  on(form, {
    submit: (event) => {
      event.preventDefault();
      submit();
    },
  });
  const opener = button("Change only …", () => toggle(), { "aria-expanded": "false" });
  const toggle = (): void => {
    form.hidden = !form.hidden;
    opener.setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) what.focus();
  };
  form.hidden = true;
  return { opener, form };
}
