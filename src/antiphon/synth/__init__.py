"""Score -> sound: our own instruments (`render`), or FluidSynth (`render_fluidsynth`)."""

from antiphon.synth.effects import fit_length
from antiphon.synth.fluidsynth import FluidSynthPlayer, find_soundfont, render_fluidsynth
from antiphon.synth.mix import render

__all__ = ["FluidSynthPlayer", "find_soundfont", "fit_length", "render", "render_fluidsynth"]
