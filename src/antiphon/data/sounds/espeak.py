"""Speech by espeak-ng, where that program is installed: many languages and voices.

The program is GPL and runs by itself; what it says here are words of ours in no order.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.audio import Waveform, resample
from antiphon.audio.waveform import FloatArray
from antiphon.errors import EngineError

_TIMEOUT_SECONDS = 60.0
_HEADER_BYTES = 44  # of its WAV, whose length it does not know when it writes it
_LANGUAGES = (
    "en-us", "en-gb", "de", "fr-fr", "es", "it", "pt", "nl", "sv", "da", "pl", "cs", "ru", "el",
    "tr", "fi", "hu", "ro", "hi", "id", "sw", "vi", "cmn", "fa",
)  # fmt: skip
_VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5", "klatt",
             "klatt2", "klatt4", "croak", "whisper")  # fmt: skip
_TEXT = (
    "the morning train leaves from platform number and nobody knows why house water bread letter "
    "garden window people river market yesterday tomorrow perhaps always never under between "
    "please listen question answer minister weather report northern council decided against "
    "children brought seven small boxes out of kitchen while their neighbour repaired an old "
    "bicycle casa camino trabajo siempre montagne fenêtre bonjour Straße Wasser gestern schön "
    "finestra acqua domani barco manhã huis morgen vatten skog most ulica okno kale deniz talo "
    "joki ház rumah jalan nyumba safari"
)
_WORDS = _TEXT.split()
_WORDS_PER_SECOND = 3.5  # more than anybody says, so that the text does not end before the time


@dataclass(frozen=True)
class Espeak:
    """The program, and its version as it says it: another may speak otherwise."""

    program: Path
    version: str

    def talk(self, frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
        """Somebody reads sentences, [T]. Raises EngineError where the program fails."""
        voice = f"{draws.choice(_LANGUAGES)}+{draws.choice(_VARIANTS)}"
        pace, pitch = int(draws.integers(120, 230)), int(draws.integers(15, 95))
        text = _text(int(frames / rate * _WORDS_PER_SECOND) + 8, draws)
        said = self._run("--stdin", "--stdout", "-b", "1", "-v", voice, "-s", str(pace),
                         "-p", str(pitch), said=text)  # fmt: skip
        its_rate = int.from_bytes(said[24:28], "little")
        samples = np.frombuffer(said[_HEADER_BYTES : len(said) & ~1], "<i2")
        if its_rate == 0 or samples.size == 0:
            raise EngineError(
                f"{self.program} said nothing with the voice {voice}; install it anew"
            )
        samples = samples[: int(frames / rate * its_rate) + its_rate]
        full = (samples[None] / 32768).astype(np.float32)
        heard = resample(Waveform(full, its_rate), rate).samples[0]
        found = np.zeros(frames, np.float32)
        found[: len(heard)] = heard[:frames]
        return found

    def _run(self, *arguments: str, said: str) -> bytes:
        return _run(self.program, *arguments, said=said)


def find_espeak() -> Espeak | None:
    """The program on this machine, None where there is none. Raises EngineError for one that does
    not run."""
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    # Behind it comes the place of its data, which is the machine's.
    version = _run(Path(program), "--version").decode(errors="replace").split("Data at")[0].strip()
    return Espeak(Path(program), version)


def _run(program: Path, *arguments: str, said: str = "") -> bytes:
    try:
        done = subprocess.run(
            [str(program), *arguments],
            input=said.encode(),
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or b""
        raise EngineError(
            f"{program} failed: {told.decode(errors='replace').strip() or error}; mend or remove it"
        ) from error
    return done.stdout


def _text(count: int, draws: np.random.Generator) -> str:
    """About `count` words in sentences, numbers among them, which each language says its own
    way."""
    sentences = []
    while count > 0:
        length = int(draws.integers(3, 15))
        words = [str(word) for word in draws.choice(_WORDS, length)]
        if draws.random() < 0.4:
            words[int(draws.integers(length))] = str(draws.integers(0, 10_000))
        if length > 8:
            words[length // 2] += ","
        sentences.append(
            " ".join(words).capitalize() + str(draws.choice((".", ".", ".", "?", "!")))
        )
        count -= length
    return " ".join(sentences)
