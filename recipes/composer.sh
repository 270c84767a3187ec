#!/bin/sh
# Makes the composer that comes with the package, from nothing: 100 hours of music in 30,000 pieces,
# 3 GB, and on two cores 20 minutes for the music, 50 for the codec, 4 for its finer codebooks, 7 for
# the codes and 75 for the decoder. It needs FluidSynth and three soundfonts of MIT licence (Debian:
# musescore-general-soundfont-small, fluid-soundfont-gm, fluidr3mono-gm-soundfont).
# Run it again to go on where it was broken off.
set -eu

sounds=/usr/share/sounds
work=${WORK:-runs/composer}
pieces=${PIECES:-30000}

# Pieces of 12 s in all genres, keys and tempi, by three soundfonts and our own instruments; those
# whose opening chords are held out are for validation and test.
antiphon data synthesize --count "$pieces" --duration 12 --seed 21 --variation light \
    --sample-rate 16000 --renderer synth --renderer fluidsynth --renderer fluidsynth \
    --renderer fluidsynth --soundfont $sounds/sf3/MuseScore_General_Lite.sf3 \
    --soundfont $sounds/sf2/FluidR3_GM.sf2 --soundfont $sounds/sf3/FluidR3Mono_GM.sf3 \
    --output-dir "$work/corpus"

# The codec, of four codebooks and then of two more, in 8 bits: what is shipped makes the codes that
# are learned from.
antiphon train codec --config configs/codec/magnitude.yaml --resume auto \
    data.manifest="$work/corpus/manifest.parquet" output_dir="$work/codec-run" "$@"
[ -d "$work/codec" ] ||
    antiphon export "$work/codec-run/codec" --precision 8bit --output "$work/codec"
antiphon train codec --config configs/codec/finer.yaml --resume auto begin="$work/codec" \
    data.manifest="$work/corpus/manifest.parquet" output_dir="$work/finer-run" "$@"
[ -d "$work/finer" ] ||
    antiphon export "$work/finer-run/codec" --precision 8bit --output "$work/finer"
antiphon data preprocess "$work/corpus/manifest.parquet" --codec "$work/finer" \
    --output-dir "$work/codes"

# The decoder with its text encoder and score adapter.
antiphon train composer --config configs/composer/small.yaml --resume auto \
    data.codes="$work/codes" data.codec="$work/finer" output_dir="$work/run" "$@"
[ -d "$work/whole" ] || antiphon export "$work/run" --output "$work/whole"
[ -d "$work/composer" ] || antiphon export "$work/whole" --format transformers --precision 8bit \
    --output "$work/composer"
