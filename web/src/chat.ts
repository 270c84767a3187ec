/** Questions about a recording; the answer is shown as it is written. */

import { events, isAbort } from "./api.ts";
import { announce, button, field, h, on } from "./dom.ts";
import { problemBox } from "./problems.ts";
import type { Json } from "./types.ts";

const MODEL = "antiphon-listener";

interface Turn {
  role: "user" | "assistant";
  text: string;
}

interface Chunk {
  choices?: { delta?: { content?: string | null } }[];
  error?: { message: string };
}

export class Chat {
  readonly element: HTMLElement;
  readonly #turns: Turn[] = [];
  readonly #log = h("div", {
    class: "turns",
    role: "log",
    "aria-live": "off",
    "aria-label": "Conversation",
    tabindex: 0,
  });
  readonly #question = h("textarea", { rows: 2, required: true, placeholder: "Which key is it in?" });
  readonly #send = h("button", { type: "submit", class: "primary" }, "Ask");
  readonly #stop = button("Stop", () => this.#answering?.abort());
  #answering: AbortController | null = null;

  constructor(private readonly fileId: string) {
    this.#stop.hidden = true;
    const form = h(
      "form",
      { class: "stack" },
      field("Your question", this.#question),
      h("div", { class: "row" }, this.#send, this.#stop),
    );
    on(form, {
      submit: (event) => {
        event.preventDefault();
        const text = this.#question.value.trim();
        if (text === "" || this.#answering !== null) return;
        this.#question.value = "";
        this.#say({ role: "user", text });
        void this.#answer();
      },
    });
    on(this.#question, {
      keydown: (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        form.requestSubmit();
      },
    });
    this.element = h("section", { class: "panel chat" }, h("h2", {}, "Ask about it"), this.#log, form);
  }

  destroy(): void {
    this.#answering?.abort();
  }

  #say(turn: Turn): HTMLElement {
    this.#turns.push(turn);
    const text = h("p", {}, turn.text);
    this.#log.append(
      h("div", { class: `turn ${turn.role}` }, h("b", {}, turn.role === "user" ? "You" : "antiphon"), text),
    );
    this.#log.scrollTop = this.#log.scrollHeight;
    return text;
  }

  /** The recording stays in the first message; the rest is what was said since. */
  #messages(): Json[] {
    return this.#turns.map(({ role, text }, index): Json => {
      if (index > 0) return { role, content: text };
      const heard = { type: "file", file: { file_id: this.fileId } };
      return { role, content: [heard, { type: "text", text }] };
    });
  }

  async #answer(): Promise<void> {
    const messages = this.#messages();
    const answering = new AbortController();
    this.#answering = answering;
    this.#stop.hidden = false;
    const turn: Turn = { role: "assistant", text: "" };
    const shown = this.#say(turn);
    shown.textContent = "…";
    try {
      const body = { model: MODEL, stream: true, messages };
      for await (const data of events("/v1/chat/completions", {
        method: "POST",
        body,
        signal: answering.signal,
      })) {
        if (data === "[DONE]") break;
        const chunk = JSON.parse(data) as Chunk;
        if (chunk.error) throw new Error(chunk.error.message);
        turn.text += chunk.choices?.[0]?.delta?.content ?? "";
        shown.textContent = turn.text;
        this.#log.scrollTop = this.#log.scrollHeight;
      }
      announce(turn.text);
    } catch (error) {
      this.#failed(turn, shown, error);
    } finally {
      this.#answering = null;
      this.#stop.hidden = true;
    }
  }

  #failed(turn: Turn, shown: HTMLElement, error: unknown): void {
    if (isAbort(error)) {
      if (turn.text === "") turn.text = "(stopped)";
      shown.textContent = `${turn.text} (stopped)`.replace("(stopped) (stopped)", "(stopped)");
      return;
    }
    // An answer that did not come is no turn: the question is asked again.
    this.#turns.pop();
    shown.parentElement?.remove();
    const question = this.#turns.pop();
    const again = (): void => {
      if (question !== undefined) this.#turns.push(question);
      void this.#answer();
    };
    this.#log.append(problemBox(error, { label: "Ask again", act: again }));
    this.#log.scrollTop = this.#log.scrollHeight;
  }
}
