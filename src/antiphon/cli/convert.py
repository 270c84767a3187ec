"""`antiphon convert` and `antiphon export`: a composing model from one form into another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.cli import console
from antiphon.cli.byte_progress import shown_stages, size_text
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.compose.conversion.result import Made

CONVERT_EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon convert musicgen-audiocraft/ --output musicgen/\n"
    "    antiphon convert old/ --output new/ --text-encoder t5-base/ --codec encodec_32khz/"
)
EXPORT_EXAMPLES = (
    "Examples:\n\n\b\n"
    "    antiphon export facebook/musicgen-small --output small-8bit/\n"
    "    antiphon export musicgen/ --format onnx --precision 4bit --output tiny/\n"
    "    antiphon export musicgen/ --format transformers --precision fp16 --output half/\n"
    "    antiphon export small-8bit/ --format transformers --output again/\n"
    "    antiphon export runs/composer --output composer/\n"
    "    antiphon export runs/listener/listener --precision 8bit --output small/\n"
    "    antiphon generate 'calm piano' --model small-8bit/"
)

Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="A new folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="What was made, as JSON.")]


def convert(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A folder of audiocraft, or one with pickles."),
    ],
    output: Output,
    text_encoder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The T5 that the source lacks. [google-t5/t5-base]"),
    ] = None,
    codec: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The EnCodec. [the source's own, or the one it names]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a safe checkpoint, in the layout of transformers, of one that is not.

    For folders of audiocraft (state_dict.bin) and of transformers with pickles for weights or
    without tokenizer.json. No code of a pickle is run. What was written is compared with the
    source, value by value. Needs torch for pickles.
    """
    settings = console.start(context)
    from antiphon.compose.conversion.convert import convert as convert_checkpoint

    with shown_stages() as show:
        made = convert_checkpoint(
            source,
            output,
            text_encoder=text_encoder,
            codec=codec,
            models=settings.models,
            on_progress=show,
        )
    _print(made, "largest difference of a value", as_json=as_json)


def export(
    context: typer.Context,
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A MusicGen's folder or hub name, a listener's folder, or a training run.",
        ),
    ],
    output: Output,
    format: Annotated[
        str | None, typer.Option("--format", metavar="F", help="onnx (default), or transformers.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="P",
            help="onnx: 8bit (default), fp32, 4bit; transformers: fp32 (default), fp16, 8bit, "
            "which only antiphon reads; a listener or a codec: fp32 (default), fp16, 8bit.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of the processor.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a model in another form; a composing one is checked against the source.

    onnx is a folder that `generate --model` loads as it is, without the weights: prepared once,
    half of the size or less. transformers is a plain checkpoint in full or half precision, also of
    a folder that was exported before.
    The check takes the room of the fp32 model, in memory and beside the output, while it lasts.
    Of a training run the model is taken out, by its best checkpoint, in transformers' layout.
    """
    settings = console.start(context)
    if _is_run(Path(checkpoint)):
        if format not in (None, "transformers") or precision or threads:
            raise ConfigError(
                f"{checkpoint} is a training run, whose model comes in transformers' layout and "
                "fp32; expected no other --format, --precision or --threads: export the result "
                "again for these"
            )
        from antiphon.cli.train import note_calibrating
        from antiphon.train.runs import export_run

        step = export_run(Path(checkpoint), output, note_calibrating)
        console.note(f"the model of step {step}")
        console.print_text(str(output))
        return
    from antiphon.compose.codecs.magnitude_config import is_magnitude_codec
    from antiphon.compose.conversion.export import export as export_checkpoint
    from antiphon.listen.ear import is_listener
    from antiphon.models import find

    found = find(checkpoint, settings.models)
    if is_listener(found) or is_magnitude_codec(found):
        if is_listener(found):
            from antiphon.listen.packing import repack

            what = "a listener, which comes in transformers' layout"
        else:
            from antiphon.compose.conversion.packing import pack_codec as repack

            what = "a codec, which comes as safetensors"
        if format not in (None, "transformers") or threads:
            raise ConfigError(
                f"{checkpoint} is {what}; expected no other --format, and no --threads"
            )
        from antiphon.compose.conversion.result import whole_folder

        with whole_folder(output) as temporary:
            repack(found, temporary, precision or "fp32")
        console.print_text(str(output))
        return
    with shown_stages() as show:
        made = export_checkpoint(
            found,
            output,
            format=format or "onnx",
            precision=precision,
            threads=threads,
            on_progress=show,
        )
    _print(made, "logits differ by", as_json=as_json)


def _is_run(folder: Path) -> bool:
    """Whether it is the folder of a training run, or a checkpoint of one."""
    return (folder / "state.json").is_file() or (folder / "checkpoints").is_dir()


def _print(made: Made, measure: str, *, as_json: bool) -> None:
    if as_json:
        console.print_json(json.dumps(made.to_dict()))
        return
    parity = made.parity
    for line in made.notes:
        console.note(f"note: {line}")
    console.note(
        f"{made.format}, {made.precision}: {len(made.files)} files, {size_text(made.size_bytes)}; "
        f"checked: {measure} {parity.max_difference:.2g}, at most {parity.tolerance:g} expected"
    )
    console.note("the licence of the source goes on with it")
    console.print_text(str(made.output))
