/** The page: header, three views by the address's hash, keys. */

import { accessKey, forgetKey } from "./access.ts";
import { json } from "./api.ts";
import { themeSwitch } from "./colours.ts";
import { ComposeView } from "./compose.ts";
import { button, byId } from "./dom.ts";
import { listenToKeys, showKeys } from "./keyboard.ts";
import { LibraryView } from "./library.ts";
import { ListenView } from "./listen.ts";
import { show } from "./problems.ts";
import type { ServerInfo } from "./types.ts";

const TITLES: { [view: string]: string } = { compose: "Compose", listen: "Listen", library: "Library" };

interface Views {
  compose: ComposeView;
  listen: ListenView;
  library: LibraryView;
}

function route(): { view: keyof Views; id: string | null } {
  const [, view = "", id] = location.hash.split("/");
  if (view === "listen" || view === "library") return { view, id: id ?? null };
  return { view: "compose", id: null };
}

/** Views are kept when another one is shown: what is typed, computed or sent goes on. */
function showRoute(views: Views, isFirst: boolean): void {
  const { view, id } = route();
  const main = byId("main");
  for (const name of Object.keys(views) as (keyof Views)[]) {
    const { element } = views[name];
    if (!element.isConnected) main.append(element);
    element.hidden = name !== view;
  }
  for (const link of document.querySelectorAll<HTMLAnchorElement>("a[data-view]")) {
    if (link.dataset["view"] === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[view]} – antiphon`;
  if (view === "listen") void views.listen.open(id);
  if (view === "library") void views.library.load();
  if (!isFirst) main.focus({ preventScroll: false });
}

async function start(): Promise<void> {
  const main = byId("main");
  let info: ServerInfo;
  try {
    info = await json("/v1/server");
  } catch (error) {
    show(main, error, { label: "Try again", act: () => void start() });
    return;
  }
  byId("version").textContent = `antiphon ${info.version}`;
  if (info.needs_key) {
    byId("tools").append(
      button("Forget the key", () => {
        forgetKey();
        location.reload();
      }),
    );
    if (accessKey() === null) await json("/v1/models").catch(() => undefined); // asks for the key once
  }
  main.replaceChildren();
  const views: Views = {
    compose: new ComposeView(info),
    listen: new ListenView(info),
    library: new LibraryView(info),
  };
  showRoute(views, true);
  window.addEventListener("hashchange", () => showRoute(views, false));
}

byId("tools").append(themeSwitch(), button("Shortcuts", showKeys, { title: "Key ?" }));
listenToKeys();
void start();
