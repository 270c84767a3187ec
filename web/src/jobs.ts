/**
 * Jobs on their way. A browser opens six connections to a server at most, and each event stream holds
 * one: the first jobs are followed by events, those behind them are asked for now and then.
 */

import { connectionBack, events, isAbort, json, ApiError } from "./api.ts";
import { isFinal, type Job } from "./types.ts";

const MOST_STREAMS = 2;
const ASK_EVERY_MS = 2000;

let streams = 0;

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Tell `changed` of each change until the job is at its end; a lost connection is waited for.
 * `path` is that of the job. Raises ApiError when the job is gone.
 */
export async function follow<Kind extends Job>(
  path: string,
  changed: (job: Kind) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      if (streams < MOST_STREAMS) {
        streams += 1;
        try {
          for await (const data of events(`${path}/events`, { signal })) {
            const job = JSON.parse(data) as Kind;
            changed(job);
            if (isFinal(job)) return;
          }
        } finally {
          streams -= 1;
        }
      }
      const job: Kind = await json(path, { signal });
      changed(job);
      if (isFinal(job)) return;
      await pause(ASK_EVERY_MS);
    } catch (error) {
      if (isAbort(error)) return;
      // A stream that breaks off is a TypeError; everything else that is none of the server's is ours.
      if (
        error instanceof ApiError ? error.status !== 0 && error.status < 500 : !(error instanceof TypeError)
      ) {
        throw error;
      }
      if (error instanceof ApiError && error.status >= 500) await pause(ASK_EVERY_MS);
      else await connectionBack();
    }
  }
}
