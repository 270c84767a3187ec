"""Hearing a file: by the first player that this machine has, beside whatever goes on."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

from antiphon.errors import DependencyError

_PLAYERS = {
    "ffplay": ("-nodisp", "-autoexit", "-loglevel", "quiet"),
    "aplay": ("-q",),
    "paplay": (),
    "afplay": (),
}
_WAV_ONLY = ("aplay",)  # it plays the bytes of other files as noise


class Player:
    """Plays one file at a time: a new one stops the one before. Nobody waits for its end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def play(self, path: Path) -> str:
        """Begin to play `path`; the name of the player.

        Raises DependencyError where there is none that can.
        """
        is_wav = path.suffix.lower() == ".wav"
        for name, options in _PLAYERS.items():
            program = shutil.which(name)
            if program is None or (name in _WAV_ONLY and not is_wav):
                continue
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
            self._process = subprocess.Popen(
                [program, *options, str(path.absolute())],
                stdin=subprocess.DEVNULL,  # else it would take the lines of the session
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is not meant for it
            )
            threading.Thread(target=self._process.wait, daemon=True).start()
            return name
        raise DependencyError(
            f"no player for {str(path)!r} is on this machine; expected one of "
            f"{', '.join(_PLAYERS)}. The file can be opened in any program"
        )
