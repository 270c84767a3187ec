/** Elements, made by script alone: text goes in as text, never as HTML. */

type Attributes = { [name: string]: string | number | boolean | null | undefined };
type Child = Node | string | null | undefined | false;
type Listeners = { [Type in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Type]) => void };

/** An element with attributes (false, null and undefined leave one out) and children. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

export function on<Kind extends HTMLElement>(element: Kind, listeners: Listeners): Kind {
  for (const [type, listener] of Object.entries(listeners)) {
    element.addEventListener(type, listener as EventListener);
  }
  return element;
}

export function button(label: string, act: () => void, attributes: Attributes = {}): HTMLButtonElement {
  return on(h("button", { type: "button", ...attributes }, label), { click: act });
}

/** A button whose act may fail; it is disabled meanwhile, and the failure goes to `fail`. */
export function action(
  label: string,
  act: () => Promise<void>,
  fail: (error: unknown) => void,
  attributes: Attributes = {},
): HTMLButtonElement {
  const made = button(
    label,
    () => {
      // aria-disabled keeps the focus where it is; `disabled` would throw it to the page's start.
      if (made.getAttribute("aria-disabled") === "true") return;
      made.setAttribute("aria-disabled", "true");
      act()
        .catch(fail)
        .finally(() => made.removeAttribute("aria-disabled"));
    },
    attributes,
  );
  return made;
}

let lastId = 0;

export function uniqueId(stem: string): string {
  lastId += 1;
  return `${stem}-${lastId}`;
}

/** A label above its control, with what is said of it below. */
export function field(label: string, control: HTMLElement, ...extra: Child[]): HTMLDivElement {
  if (!control.id) control.id = uniqueId("field");
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, ...extra);
}

export function select(options: readonly (readonly [string, string])[], value = ""): HTMLSelectElement {
  const made = h("select", {}, ...options.map(([key, text]) => h("option", { value: key }, text)));
  made.value = value;
  return made;
}

export function unseen(text: string): HTMLSpanElement {
  return h("span", { class: "unseen" }, text);
}

export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`index.html has no element #${id}`);
  return element;
}

/** Say something to those who hear the page, without taking the focus. */
export function announce(text: string): void {
  const announcer = byId("announcer");
  // The same sentence twice is two changes only if it was gone in between.
  announcer.textContent = "";
  window.setTimeout(() => (announcer.textContent = text), 50);
}

/** The API counts characters; a string's own indexes count UTF-16 units. */
export function characters(text: string): string[] {
  return Array.from(text);
}
