/**
 * Calls of the server: the key, its errors as errors of ours, streams, and a connection that may be
 * lost and found. Knows no element but the banner that says so.
 */

import { accessKey, askForKey, forgetKey } from "./access.ts";
import { byId } from "./dom.ts";
import type { AudioFile, Json, Page, Problem } from "./types.ts";

/** What the server said went wrong; `status` 0 is that it was not reached. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly param: string | null = null,
  ) {
    super(message);
  }
}

export const isAbort = (error: unknown): boolean =>
  error instanceof DOMException && error.name === "AbortError";

let clockAheadSeconds = 0; // the server's clock against ours

export function serverNow(): number {
  return Date.now() / 1000 + clockAheadSeconds;
}

let lost: Promise<void> | null = null;

/** Ends when the server answers again; meanwhile the banner says that it does not. */
export function connectionBack(): Promise<void> {
  lost ??= waitForServer().finally(() => (lost = null));
  return lost;
}

async function waitForServer(): Promise<void> {
  const banner = byId("connection");
  banner.textContent = "The server cannot be reached. The page goes on by itself when it is back.";
  for (let seconds = 1; ; seconds = Math.min(10, 2 * seconds)) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    const answer = await fetch("/health").catch(() => null);
    if (answer?.ok) break;
  }
  banner.textContent = "The server is back.";
  setTimeout(() => {
    if (lost === null) banner.textContent = "";
  }, 4000);
}

export interface Call {
  method?: string;
  body?: Json;
  signal?: AbortSignal;
}

/** A response with status 2xx. Asks for a key where one is missing. Raises ApiError. */
export async function request(path: string, call: Call = {}): Promise<Response> {
  for (;;) {
    const key = accessKey();
    const headers = new Headers();
    if (key !== null) headers.set("Authorization", `Bearer ${key}`);
    if (call.body !== undefined) headers.set("Content-Type", "application/json");
    let response: Response;
    try {
      response = await fetch(path, {
        method: call.method ?? "GET",
        headers,
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        ...(call.signal === undefined ? {} : { signal: call.signal }),
      });
    } catch (error) {
      if (isAbort(error)) throw error;
      void connectionBack();
      throw new ApiError("The server cannot be reached.", 0, "unreachable");
    }
    const said = Date.parse(response.headers.get("Date") ?? "");
    if (!Number.isNaN(said)) clockAheadSeconds = Math.round((said - Date.now()) / 1000);
    if (response.ok) return response;
    const error = await errorOf(response);
    if (response.status !== 401) throw error;
    if (accessKey() === key) forgetKey();
    await askForKey(key === null ? "Type it here; it is sent to this server only." : error.message);
  }
}

async function errorOf(response: Response): Promise<ApiError> {
  return problemIn(await response.text(), response.status);
}

function problemIn(text: string, status: number): ApiError {
  try {
    const { error } = JSON.parse(text) as { error: Problem };
    return new ApiError(error.message, status, error.code, error.param);
  } catch {
    return new ApiError(`The server answered with status ${status}.`, status, "unknown");
  }
}

export async function json<Kind>(path: string, call: Call = {}): Promise<Kind> {
  return (await (await request(path, call)).json()) as Kind;
}

export async function blob(path: string, signal?: AbortSignal): Promise<Blob> {
  return (await request(path, signal === undefined ? {} : { signal })).blob();
}

/** A list's pages, one after another, from the newest. */
export async function* pages<Item>(path: string, limit: number): AsyncGenerator<Item[]> {
  let after: string | null = null;
  for (;;) {
    const query = new URLSearchParams({ limit: String(limit), order: "desc" });
    if (after !== null) query.set("after", after);
    const page: Page<Item> = await json(`${path}?${query.toString()}`);
    yield page.data;
    if (!page.has_more || page.last_id === null) return;
    after = page.last_id;
  }
}

/** The data of each server-sent event. */
export async function* events(path: string, call: Call = {}): AsyncGenerator<string> {
  const response = await request(path, call);
  if (response.body === null) return;
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + text).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).replace(/^ /, ""));
      if (data.length) yield data.join("\n");
    }
  }
}

/** Send a file; `progress` is told the share that has gone. `fetch` cannot say that, hence XHR. */
export async function upload(
  file: File,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<AudioFile> {
  for (;;) {
    const key = accessKey();
    try {
      return await send(file, key, progress, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      if (accessKey() === key) forgetKey();
      await askForKey(error.message);
    }
  }
}

function send(
  file: File,
  key: string | null,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<AudioFile> {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("purpose", "user_data");
    form.append("file", file, file.name);
    const call = new XMLHttpRequest();
    call.open("POST", "/v1/files");
    if (key !== null) call.setRequestHeader("Authorization", `Bearer ${key}`);
    call.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
    call.onload = () => {
      if (call.status < 300) resolve(JSON.parse(call.responseText) as AudioFile);
      else reject(problemIn(call.responseText, call.status));
    };
    call.onerror = () => {
      void connectionBack();
      reject(new ApiError("The server cannot be reached.", 0, "unreachable"));
    };
    call.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => call.abort());
    call.send(form);
  });
}
