"""Score -> sound: our own instruments (`render`), or FluidSynth (`render_fluidsynth`)."""

from antiphon.synth.effects import fit_length
from antiphon.synth.fluidsynth import find_soundfont, render_fluidsynth
from antiphon.synth.mix import render

__all__ = ["find_soundfont", "fit_length", "render", "render_fluidsynth"]
