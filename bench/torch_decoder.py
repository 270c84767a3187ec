"""Milliseconds per step of the decoder on torch, against transformers on the same device.

    python bench/torch_decoder.py                        # a CUDA device, the size of musicgen-small
    python bench/torch_decoder.py --tiny --device cpu    # tries the script out

Weights are random: times and memory are those of the published checkpoint. Guidance 3, sampling of
250 entries; transformers in fp16 with its static cache, as fast as it gets there. Prints a table as
it goes, then JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import MusicgenConfig, MusicgenForConditionalGeneration, StoppingCriteriaList

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY / "src"), str(REPOSITORY / "tests" / "compose")]

from published_musicgen import published_config  # noqa: E402

from antiphon.compose.checkpoint import MusicGenConfig, read_config  # noqa: E402
from antiphon.compose.engines import Branch  # noqa: E402
from antiphon.compose.engines.torch import TorchDecoder  # noqa: E402
from antiphon.compose.lm import Decoder  # noqa: E402
from antiphon.compose.sampling import Sampling  # noqa: E402

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
GUIDANCE = 3.0
TEXT_TOKENS = 16
WARM_STEPS = 4  # that are not counted, where a session goes on at its position
STEPS_PER_SECOND = 50  # of music


class Enough(Exception):
    """Ends `generate` when all that is counted has been."""


@dataclass(frozen=True)
class Variant:
    engine: str  # "antiphon" or "transformers"
    precision: str
    batch: int
    graphs: bool
    compiled: bool = False

    def __str__(self) -> str:
        how = " ".join(n for n in ("graphs", "compiled") if getattr(self, n)) or "eager"
        what = how if self.engine == "antiphon" else "static cache"
        return f"{self.engine} {self.precision} batch {self.batch}, {what}"


@dataclass(frozen=True)
class Measured:
    variant: Variant
    position: int
    ms_per_step: float
    times_real_time: float  # seconds of music, of all pieces together, per second


def variants(arguments: argparse.Namespace) -> Iterator[Variant]:
    graphs = arguments.device.startswith("cuda")
    for batch in arguments.batches:
        if not arguments.no_peer:
            yield Variant("transformers", arguments.precisions[0], batch, graphs)
        for precision in arguments.precisions:
            yield Variant("antiphon", precision, batch, graphs)
            if graphs and arguments.eager:
                yield Variant("antiphon", precision, batch, graphs=False)
            if arguments.compile:
                yield Variant("antiphon", precision, batch, graphs, compiled=True)


def random_decoder(config: MusicGenConfig, device: torch.device, precision: str) -> Decoder:
    torch.manual_seed(0)
    torch.set_default_dtype(DTYPES[precision])
    with torch.device(device):
        decoder = Decoder(config)
    torch.set_default_dtype(torch.float32)
    decoder.to(device, DTYPES[precision])
    return decoder


def ours(engine: TorchDecoder, batch: int, position: int, steps: int) -> list[float]:
    """Seconds of each of `steps` steps after the first `position`."""
    random = np.random.default_rng(0)
    config = engine.config
    text = random.normal(size=(TEXT_TOKENS, config.text.width)).astype(np.float32)
    items = [(Branch(None), Branch(text))] * batch
    seconds: list[float] = []
    for _ in range(2):  # graphs are made and compiled in the first
        session = engine.begin(items, (GUIDANCE,), Sampling(), position + WARM_STEPS + steps)
        shape = (batch, config.decoder.codebooks)
        codes = random.integers(0, config.decoder.card, (*shape, position + 1))
        if position:
            session.feed(codes[..., :-1])
        column, seconds = codes[..., -1], []
        for _ in range(WARM_STEPS + steps):
            started = time.perf_counter()
            column = session.next_codes(column, random.random(shape))
            seconds.append(time.perf_counter() - started)
        del session
        gc.collect()
    return seconds[WARM_STEPS:]


def theirs(
    model: MusicgenForConditionalGeneration, batch: int, position: int, steps: int, longest: int
) -> list[float]:
    """The same by `generate`, whose loop looks at the device once a step, too.

    Its cache has room for the `longest` position, wherever it stands: another size would compile
    everything again.
    """
    config = model.config.decoder
    counted = WARM_STEPS + steps
    stamps: list[float] = []

    def stamp(ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        if ids.device.type == "cuda":
            torch.cuda.synchronize()
        stamps.append(time.perf_counter())
        if len(stamps) > counted:
            raise Enough  # an early end by the rules does not fit its delay pattern
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    for _ in range(2):
        stamps.clear()
        rows = batch * config.num_codebooks
        ids = torch.randint(0, 100, (batch, TEXT_TOKENS), device=model.device)
        shape = (rows, position + 1)
        with contextlib.suppress(Enough):
            model.generate(
                input_ids=ids,
                decoder_input_ids=torch.randint(0, config.vocab_size, shape, device=model.device),
                do_sample=True, top_k=min(250, config.vocab_size), guidance_scale=GUIDANCE,
                max_length=longest + counted + 2, cache_implementation="static",
                stopping_criteria=StoppingCriteriaList([stamp]),
            )  # fmt: skip
    return list(np.diff(stamps))[WARM_STEPS:]


def bandwidth_gb_s(device: torch.device) -> float:
    """What the device reads and writes by copying: no ratio means anything without it."""
    source = torch.zeros(1 << (28 if device.type == "cuda" else 25), device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * source.numel() * 4 / best / 1e9


def arguments_of(command: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", default="musicgen-small", help="a published size")
    parser.add_argument("--tiny", action="store_true", help="two narrow layers")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=["fp16", "bf16"])
    parser.add_argument("--positions", type=int, nargs="+", default=[0, 500, 1000])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--no-peer", action="store_true", help="without transformers")
    parser.add_argument("--no-eager", dest="eager", action="store_false")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    return parser.parse_args(command)


def main() -> None:
    arguments = arguments_of()
    device = torch.device(arguments.device)
    published: MusicgenConfig = published_config(arguments.size)
    if arguments.tiny:
        for part in (published.decoder, published.text_encoder):
            part.num_hidden_layers = part.num_layers = 2
        published.decoder.update(
            {"hidden_size": 64, "num_attention_heads": 4, "ffn_dim": 96, "vocab_size": 256}
        )
        published.decoder.update({"pad_token_id": 256, "bos_token_id": 256})
        published.audio_encoder.update(
            {"num_filters": 4, "codebook_size": 256, "target_bandwidths": [1.6]}
        )
    with tempfile.TemporaryDirectory() as folder:
        published.save_pretrained(folder)
        config = read_config(Path(folder))

    found: dict[str, object] = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "bandwidth_gb_s": round(bandwidth_gb_s(device), 1),
        "size": "tiny" if arguments.tiny else arguments.size,
    }
    print(found)
    rows: list[Measured] = []
    peers: dict[str, MusicgenForConditionalGeneration] = {}
    engines: dict[Variant, TorchDecoder] = {}
    for variant in variants(arguments):
        if variant.engine == "transformers" and variant.precision not in peers:
            torch.set_default_dtype(DTYPES[variant.precision])
            with torch.device(device):
                peer = MusicgenForConditionalGeneration(published).eval()
            torch.set_default_dtype(torch.float32)
            start = published.decoder.bos_token_id
            peer.generation_config.update(
                decoder_start_token_id=start, pad_token_id=start, bos_token_id=start
            )
            peers[variant.precision] = peer
        key = replace(variant, batch=0)
        if variant.engine == "antiphon" and key not in engines:
            decoder = random_decoder(config, device, variant.precision)
            engines[key] = TorchDecoder(decoder, graphs=variant.graphs, compiled=variant.compiled)
        for position in arguments.positions:
            started = time.perf_counter()
            if variant.engine == "antiphon":
                seconds = ours(engines[key], variant.batch, position, arguments.steps)
            else:
                longest = max(arguments.positions)
                peer = peers[variant.precision]
                seconds = theirs(peer, variant.batch, position, arguments.steps, longest)
            step = statistics.median(seconds)
            rows.append(
                Measured(variant, position, 1e3 * step, variant.batch / step / STEPS_PER_SECOND)
            )
            row = rows[-1]
            print(
                f"{variant!s:<52} {position:>5} {row.ms_per_step:>9.3f} ms "
                f"{row.times_real_time:>8.1f} x real time   "
                f"(all in {time.perf_counter() - started:.0f} s)",
                flush=True,
            )
    print(json.dumps({**found, "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
