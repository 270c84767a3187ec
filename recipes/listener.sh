#!/bin/sh
# Makes the listener that comes with the package, from nothing: 254 hours of sound, 30 GB, and on
# two cores about two hours for the sound and two and a half for the training. It needs FluidSynth,
# espeak-ng and four soundfonts of MIT licence (Debian: musescore-general-soundfont,
# musescore-general-soundfont-small, fluid-soundfont-gm, fluidr3mono-gm-soundfont).
# Run it again to go on where it was broken off.
set -eu

sounds=/usr/share/sounds
fonts="--soundfont $sounds/sf3/MuseScore_General_Full.sf3 --soundfont $sounds/sf3/MuseScore_General_Lite.sf3
    --soundfont $sounds/sf2/FluidR3_GM.sf2 --soundfont $sounds/sf3/FluidR3Mono_GM.sf3"
work=runs/heard

# Every instrument in thousands of pieces, in all sorts of bad recordings; then bands as their genres
# have them; then what is no music.
# shellcheck disable=SC2086  # one argument for each font
antiphon data synthesize --count 20000 --seed 11 --variation strong --sample-rate 16000 \
    --renderer synth --renderer fluidsynth --renderer fluidsynth $fonts --output-dir $work/corpus
# shellcheck disable=SC2086
antiphon data synthesize --count 8000 --seed 13 --variation light --sample-rate 16000 \
    --renderer synth --renderer fluidsynth --renderer fluidsynth --renderer fluidsynth $fonts \
    --output-dir $work/natural
antiphon data synthesize --count 2500 --seed 12 --not-music 1 --variation strong \
    --sample-rate 16000 --output-dir $work/sounds

# From nothing; then on from there, more slowly.
manifests="data.manifests=[$work/corpus/manifest.parquet,$work/natural/manifest.parquet,$work/sounds/manifest.parquet]"
antiphon train listener --config configs/listener/small.yaml --resume auto \
    "$manifests" data.cache=$work/mel output_dir=$work/first
antiphon train listener --config configs/listener/small-second.yaml --resume auto \
    model.base=$work/first/listener "$manifests" data.cache=$work/mel output_dir=$work/second
[ -d $work/listener ] || antiphon export $work/second/listener --precision 8bit --output $work/listener
