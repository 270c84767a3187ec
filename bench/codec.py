"""What is left of music when it was codes of the codec in the package. Knows no composer."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from antiphon import settings
from antiphon.analysis.mel import mel_distance, mel_filters
from antiphon.arrange import arrange
from antiphon.audio import Waveform
from antiphon.compose.codecs.magnitude import MagnitudeCodec
from antiphon.compose.codecs.opening import open_codec
from antiphon.compose.codecs.phase import PhaseStream, analyse, margin
from antiphon.controls import GENRES, Controls
from antiphon.models.finding import packaged
from antiphon.score import Score
from antiphon.synth import FluidSynthPlayer, find_soundfont, fit_length, render
from antiphon.train.magnitude_model import codebook_perplexity
from report import Row

HELD_SEED = 90_000  # of pieces that no codec of ours has learned from
CLIP_SECONDS = 12.0
REFERENCE_BANDS = 100
NOTES = (
    f"The codec: one piece of {CLIP_SECONDS:.0f} s of each genre for each renderer (our own "
    "synth, FluidSynth with the soundfont of this machine), of seeds that it did not learn from; "
    "mel distance as the mean absolute difference of ln(mel + 1e-5), 80 bands, averaged over "
    f"windows of 512, 1024 and 2048. Beside it {REFERENCE_BANDS} unquantised mel bands, their "
    "magnitudes by the pseudo-inverse, with the same phases."
)


def codec_rows() -> list[Row]:
    """What is left of a piece when it was codes."""
    folder = packaged("composer")
    codec = open_codec(folder, cache=settings.load().cache / "graphs")
    assert isinstance(codec, MagnitudeCodec), "the packaged codec"
    config = codec.config
    filters = mel_filters(REFERENCE_BANDS, config.window, config.sample_rate)
    inverse = np.linalg.pinv(filters)
    reach = margin(config.window, config.stft_hop)
    ours, reference, codes, spent = [], [], [], [0.0, 0.0]
    for sound in held_pieces(config.sample_rate):
        started = time.process_time()
        found = codec.encode(sound[None])
        encoded = time.process_time()
        again = codec.decode(found)[0, : len(sound)]
        spent[0] += encoded - started
        spent[1] += time.process_time() - encoded
        codes.append(found)
        ours.append(mel_distance(sound, again, config.sample_rate))
        magnitudes = analyse(np.pad(sound, reach), config.window, config.stft_hop)
        banded = np.maximum(magnitudes @ filters @ inverse, 0).astype(np.float32)
        stream = PhaseStream(config.window, config.stft_hop, config.griffin_lim_iterations)
        rebuilt = np.concatenate([stream.feed(banded), stream.finish()])[: len(sound)]
        reference.append(mel_distance(sound, rebuilt, config.sample_rate))
    seconds = CLIP_SECONDS * len(ours)
    used = codebook_perplexity(np.concatenate(codes, axis=1), config.codebook_size)
    return [
        Row(
            "magnitude codec, mel distance on other pieces: times that of unquantised mel bands",
            float(np.mean(ours) / np.mean(reference)), " times", at_most=1.5, goal=1.2, must=True,
            digits=2,
            beside=f"{np.mean(ours):.3f} and {np.mean(reference):.3f}, {len(ours)} pieces; the "
            f"worst {max(ours):.3f}",
        ),
        Row(
            "least used codebook: perplexity", float(used.min()), "", at_least=100.0, must=True,
            digits=0, beside="of 1024; all: " + ", ".join(f"{value:.0f}" for value in used),
        ),
        Row("encoding on one core, times real time", seconds / spent[0], "", digits=0),
        Row("decoding on one core, times real time", seconds / spent[1], "", digits=0),
    ]  # fmt: skip


def held_pieces(sample_rate: int) -> list[np.ndarray]:
    """A piece [T] of each genre and renderer."""
    found = []
    with FluidSynthPlayer(find_soundfont()) as player:
        players: tuple[Callable[..., Waveform], ...] = (render, player.render)
        for number, play in enumerate(players):
            for index, genre in enumerate(GENRES):
                controls = Controls(genre=genre, duration_seconds=CLIP_SECONDS)
                score: Score = arrange(controls, HELD_SEED + 100 * number + index)
                waveform = fit_length(play(score, sample_rate=sample_rate), CLIP_SECONDS)
                found.append(waveform.mono().samples[0])
    return found
