"""A service without a model, as a program: its argument says what its work and its options are."""

from __future__ import annotations

import json
import sys

from antiphon import log, settings, threads
from antiphon.cli import console
from antiphon.serve.fake import FakeWork, fake_listener, fake_owner
from antiphon.serve.options import Caps, ServeOptions
from antiphon.serve.supervisor import serve

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    threads.use_one()
    log.configure("info")
    more = dict(item.split("=", 1) for item in given["options"])
    typed = {"listener": "none"} | {name: json.loads(value) for name, value in more.items()}
    options = ServeOptions(
        port=given["port"],
        state=settings.load().state,
        caps=Caps(**given["caps"]),
        **typed,
    )
    owners = [fake_owner(FakeWork(**given["work"]))]
    if options.listener != "none":
        owners.append(fake_listener(FakeWork(**given["work"])))
    sys.exit(serve(options, owners, on_ready=lambda at: console.note(f"antiphon is at {at}")))
