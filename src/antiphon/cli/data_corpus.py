"""`antiphon data synthesize`, `preprocess` and `inspect`: music with exact truth, music as codes,
and what a composer is fed."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from antiphon.cli import console
from antiphon.cli.data import AsJson, Jobs, ManifestPath, RetryFailed, leave, long_run
from antiphon.cli.train import require_training_packages

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

    from antiphon.data.loading import Corpus

SYNTHESIZE_EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon data synthesize --count 1000 --output-dir corpus/\n"
    "    antiphon data synthesize --count 200 --seed 7 --genre jazz --genre funk --output-dir jf/\n"
    "    antiphon data synthesize --count 1000 --renderer fluidsynth --soundfont F.sf3 "
    "--output-dir c/\n"
    "    antiphon data synthesize --count 20000 --renderer synth --renderer fluidsynth "
    "--soundfont A.sf3 --soundfont B.sf2 --variation strong --sample-rate 16000 "
    "--output-dir heard/\n\n"
    "DIR/manifest.parquet has a row for each piece; its score lies beside its sound. The same seed "
    "gives the same pieces; a larger count adds to them."
)

INSPECT_EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon data inspect codes/\n"
    "    antiphon data inspect codes/ --config configs/composer/small.yaml --batches 2\n"
    "    antiphon data inspect codes/ training.batch_size=4 data.lengths=[10] --json\n\n"
    "A shard that is damaged is named, and ends it; so it does in train."
)

PREPROCESS_EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon data preprocess m.parquet --output-dir codes/\n"
    "    antiphon data preprocess m.parquet --codec runs/codec/codec/ --output-dir codes/\n"
    "    antiphon data preprocess m.parquet --codec encodec_24khz/ --codebooks 8 --output-dir c8/\n"
    "    antiphon data preprocess m.parquet --text-encoder musicgen-small/ --output-dir codes/\n"
    "\n"
    "DIR holds Parquet shards; each says in its footer which codec it is of. Run the same command "
    "again after an interruption, or when the manifest changed. Exit code 3: finished, but some "
    "clips could not be read."
)


def synthesize(
    context: typer.Context,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="How many pieces.")],
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where they go.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other pieces.")] = 0,
    duration: Annotated[float, typer.Option(metavar="SECONDS", help="Of each piece.")] = 30.0,
    sample_rate: Annotated[int, typer.Option(metavar="HZ")] = 32_000,
    channels: Annotated[int, typer.Option(metavar="N", help="1 or 2.")] = 1,
    genre: Annotated[
        list[str] | None, typer.Option(metavar="G", help="Only these; may be repeated.")
    ] = None,
    renderer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="synth, our own, or fluidsynth; of several, one is drawn for each piece.",
        ),
    ] = None,
    soundfont: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="For fluidsynth: .sf2 or .sf3; may be repeated."),
    ] = None,
    variation: Annotated[
        Literal["none", "light", "strong"],
        typer.Option(
            help="How far sounds differ: light, tunings, rooms and equalisers, for models that "
            "compose; strong, with thinned bands, noise and MP3, for models that listen."
        ),
    ] = "none",
    not_music: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="How much of it is no music: noise, applause, speech, sirens; for models that "
            "listen.",
        ),
    ] = 0.0,
    jobs: Jobs = None,
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
) -> None:
    """Arrange pieces, play them and write down what is true of each: score, tempo, key, metre,
    instruments, and a caption that says nothing else."""
    settings = console.start(context, jobs=jobs)
    from antiphon.controls import GENRES
    from antiphon.data.synthesizing import MANIFEST_NAME, Recipe
    from antiphon.data.synthesizing import synthesize as make

    recipe = Recipe(
        count,
        seed,
        duration,
        sample_rate,
        channels,
        tuple(renderer or ("synth",)),
        tuple(soundfont or ()),
        variation,
        tuple(genre or GENRES),
        not_music,
    )
    with long_run("synthesizing", settings, retry_failed=retry_failed) as (stop, run):
        result = make(recipe, output_dir, run)
    made, failed = len(result.records), result.failures
    for outcome in failed:
        console.note(f"error: {outcome.name}: {outcome.error}")
    manifest = output_dir / MANIFEST_NAME
    if as_json:
        done = {"output": str(manifest), "pieces": made, "failed": len(failed)}
        console.print_json(json.dumps(done))
    elif result.is_complete:
        console.print_text(str(manifest))
    console.note(f"{made:,} of {count:,} pieces, {made * duration / 3600:.1f} h")
    leave(stop, [outcome.exit_code for outcome in failed], made)


def preprocess(
    context: typer.Context,
    manifest: ManifestPath,
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where the shards go.")],
    codec: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="EnCodec, MusicGen, or a run's; else the packaged one."),
    ] = None,
    codebooks: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="The first K, where there is a choice.")
    ] = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="T5 or MusicGen: its states of captions go with them."),
    ] = None,
    jobs: Jobs = None,
    retry_failed: RetryFailed = False,
    as_json: AsJson = False,
) -> None:
    """Encode every clip of a manifest, with its caption, controls and score."""
    settings = console.start(context, jobs=jobs)
    from antiphon.compose.composer import PACKAGED_NAME
    from antiphon.data.manifest import read_manifest
    from antiphon.data.preprocessing import Coding
    from antiphon.data.preprocessing import preprocess as encode
    from antiphon.models.finding import find

    found = read_manifest(manifest)
    cache = settings.cache / "graphs"
    place = find(codec or PACKAGED_NAME)
    encoder = None if text_encoder is None else find(text_encoder)
    coding = Coding(place, cache, codebooks, text_encoder=encoder)
    with long_run("encoding", settings, retry_failed=retry_failed) as (stop, run):
        done = encode(found, coding, output_dir, run)
    for failure in done.unread:
        console.note(f"error: {failure.id}: {failure.reason}")
    for outcome in done.result.failures:
        console.note(f"error: {outcome.name}: {outcome.error}")
    if as_json:
        said = {
            "output": str(output_dir),
            "clips": done.clips,
            "seconds": done.seconds,
            "failed": len(done.unread) + len(done.result.failures),
        }
        console.print_json(json.dumps(said))
    elif done.result.is_complete:
        console.print_text(str(output_dir))
    console.note(f"{done.clips:,} of {len(found.clips):,} clips, {done.seconds / 3600:.2f} h")
    codes = [1] * len(done.unread) + [outcome.exit_code for outcome in done.result.failures]
    leave(stop, codes, done.clips)


def inspect(
    context: typer.Context,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="What data preprocess wrote.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]…", help="Of the composer's config, as in train."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The composer's config.")
    ] = None,
    batches: Annotated[int, typer.Option(min=1, metavar="N", help="How many are shown.")] = 1,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out shards that cannot be read, and say.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a composer would be fed, batch by batch: shapes, texts, what is heard, and how fast
    batches are made."""
    console.start(context)
    require_training_packages()
    from antiphon.data.loading import Corpus
    from antiphon.train.composer import ComposerTask
    from antiphon.train.config import ComposerConfig, load_config

    corpus = Corpus(codes, "train", skip_damaged=skip_damaged)
    for path in corpus.damaged:
        console.note(f"damaged, left out: {path}")
    if not as_json:
        console.print_text(_summary(corpus))
    told = [*(overrides or ()), *(["data.skip_damaged=true"] if corpus.damaged else [])]
    chosen = load_config(ComposerConfig, config, told)
    with tempfile.TemporaryDirectory() as folder:  # a tokenizer goes there
        # Not as overrides, in which a path's apostrophes and ${ would be read as grammar.
        data = replace(chosen.data, codes=str(codes))
        task = ComposerTask(replace(chosen, data=data, output_dir=folder), needs_codec=False)
        for position in range(batches):
            started = time.perf_counter()
            batch = task.batch(position, 0, 1)
            shown = _Shown.of(position, batch, task.tokenizer, time.perf_counter() - started)
            if as_json:
                states = None if corpus.text_encoder is None else corpus.text_encoder.width
                damaged = [str(path) for path in corpus.damaged]
                said = {**asdict(shown), "text_states_width": states, "damaged": damaged}
                console.print_json(json.dumps(said))
            else:
                console.print_text("\n".join(shown.lines()))


def _summary(corpus: Corpus) -> str:
    """What shards hold for training, in one line."""
    codec, encoder = corpus.codec, corpus.text_encoder
    hours = int(corpus.frames.sum()) / codec.frame_rate / 3600
    states = "no text states"
    if encoder is not None:
        states = f"text states of {encoder.name}, width {encoder.width}"
    return f"train: {len(corpus):,} clips, {hours:.2f} h, codec {codec.name}, {states}"


@dataclass(frozen=True)
class _Shown:
    """A batch as people see it; each list has an entry for each clip, `texts` are empty where
    their states come with the codes."""

    batch: int
    shapes: dict[str, list[int]]
    texts: list[str]
    text_heard: list[bool]
    score_heard: list[bool]
    clips_per_second: float

    @classmethod
    def of(
        cls, position: int, batch: Mapping[str, Tensor], tokenizer: Tokenizer | None, seconds: float
    ) -> _Shown:
        heard = batch["text_heard"].tolist()
        texts = [""] * len(heard)
        if tokenizer is not None:
            texts = [tokenizer.decode(row) for row in batch["tokens"].tolist()]
        return cls(
            position,
            {name: list(tensor.shape) for name, tensor in batch.items()},
            texts,
            heard,
            batch["score_heard"].tolist(),
            round(len(heard) / seconds, 1),
        )

    def lines(self) -> list[str]:
        shapes = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        rows = [
            f"  {'text' if is_heard else '-':<5}{'score' if has_score else '-':<6} {text}"
            for text, is_heard, has_score in zip(
                self.texts, self.text_heard, self.score_heard, strict=True
            )
        ]
        return [
            f"batch {self.batch}: {shapes}; {self.clips_per_second:,.0f} clips a second",
            *rows,
        ]
