"""The soundfonts of the bench, as Debian's packages install them."""

from __future__ import annotations

from pathlib import Path

from antiphon.synth.fluidsynth import SOUNDFONT_FOLDERS

LEARNED = ("MuseScore_General_Lite.sf3", "FluidR3_GM.sf2", "FluidR3Mono_GM.sf3")
"""What the composer learned from, beside our own instruments."""
KNOWN = ("MuseScore_General_Full.sf3", *LEARNED)
"""What the listener learned from, beside our own instruments."""
UNSEEN = "TimGM6mb.sf2"
_PACKAGES = (
    "fluidsynth musescore-general-soundfont musescore-general-soundfont-small fluid-soundfont-gm "
    "fluidr3mono-gm-soundfont timgm6mb-soundfont espeak-ng"
)


def font(file: str) -> Path:
    """Where a soundfont lies; ends the bench where it is not installed."""
    for folder in SOUNDFONT_FOLDERS:
        if (folder / file).is_file():
            return folder / file
    raise SystemExit(f"{file} is not installed; apt-get install {_PACKAGES}")
