"""Measurements of the composing engine that need a process of their own: started by `probe`.

The checkpoint is given by its folder; where ours are prepared says ANTIPHON_CACHE.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STEPS = 200  # of the comparison with transformers
GREEDY_STEPS = 60
POSITIONS = (0, 1000)
ROUNDS = 11
BATCH = 4
CLIP_SECONDS = 10.0
LONG_SECONDS = 30.0


def probe(name: str, folder: Path, *, cores: int) -> Any:
    """What the probe `name` finds, in a fresh process on so many cores."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-W", "ignore", __file__, name, str(folder), str(cores)]
    done = subprocess.run(command, env=os.environ | threads, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def parity(folder: Path, cores: int) -> dict[str, float]:
    """Guided logits and greedy tokens against transformers, three texts in a padded batch."""
    import numpy as np
    import torch
    from transformers import MusicgenForConditionalGeneration

    from antiphon.compose.engines import Branch
    from antiphon.compose.sampling import Sampling

    ours = loaded(folder, "fp32", cores)
    peer = MusicgenForConditionalGeneration.from_pretrained(folder).eval()
    card, codebooks = ours.config.decoder.card, ours.config.decoder.codebooks
    texts = ("jazz", "slow piano in the key of a minor", "the fast guitar music of jazz")
    states = [ours.text.encode(text) for text in texts]
    longest = max(map(len, states))
    padded = torch.zeros(len(texts), longest, states[0].shape[1])
    mask = torch.zeros(len(texts), longest, dtype=torch.long)
    for row, one in enumerate(states):
        padded[row, : len(one)] = torch.from_numpy(one)
        mask[row, : len(one)] = 1
    items = [(Branch(None), Branch(one)) for one in states]

    def teacher_forced(codes: torch.Tensor) -> np.ndarray:
        """[I, K, S] -> guided logits [I, K, S, V] by transformers."""
        flat = codes.reshape(-1, codes.shape[-1])
        with torch.no_grad():
            shown = peer.enc_to_dec_proj(padded) * mask[..., None]
            kinds = ((torch.zeros_like(shown), torch.zeros_like(mask)), (shown, mask))
            null, conditional = (
                peer.decoder(
                    input_ids=flat, encoder_hidden_states=hidden, encoder_attention_mask=seen
                ).logits
                for hidden, seen in kinds
            )
        return (null + 3.0 * (conditional - null)).reshape(len(texts), codebooks, -1, card).numpy()

    codes = torch.randint(0, card, (len(texts), codebooks, STEPS))
    codes[..., 0] = card
    expected = teacher_forced(codes)
    session = ours.engine.begin(items, (3.0,), Sampling(temperature=0.0), STEPS)
    largest = max(
        float(np.abs(session.logits(codes[..., step].numpy()) - expected[:, :, step]).max())
        for step in range(STEPS)
    )
    # Greedy: each of ours must be what transformers would choose after the same beginning.
    session = ours.engine.begin(items, (3.0,), Sampling(temperature=0.0), GREEDY_STEPS)
    column = np.full((len(texts), codebooks), card)
    chosen = [column]
    for _ in range(GREEDY_STEPS):
        column = session.next_codes(column, np.zeros(column.shape))
        chosen.append(column)
    written = np.stack(chosen, axis=-1)
    theirs = teacher_forced(torch.from_numpy(written[..., :-1])).argmax(-1)
    equal = float((theirs == written[..., 1:]).mean())
    return {"largest_difference": largest, "greedy_equal": equal, "steps": STEPS}


def steps(folder: Path, cores: int) -> dict[str, Any]:
    """Guided steps of ours, fp32 and 8-bit, and of transformers, in turn; and the bandwidth."""
    import numpy as np
    import torch
    from transformers import MusicgenForConditionalGeneration

    from antiphon.compose.benchmarking import bandwidth_gb_s, session_at
    from antiphon.compose.peer import PeerSession

    torch.set_num_threads(cores)
    models = {name: loaded(folder, name, cores) for name in ("fp32", "8bit")}
    peer = MusicgenForConditionalGeneration.from_pretrained(folder).eval()
    found: dict[str, Any] = {}
    for position in POSITIONS:
        sessions = {n: session_at(m.engine, branches(m), position) for n, m in models.items()}
        theirs = PeerSession(peer, position)
        codes = np.zeros((1, models["fp32"].config.decoder.codebooks), np.int64)
        times: dict[str, list[float]] = {"transformers": [], **{name: [] for name in sessions}}
        bandwidths = []
        for _ in range(ROUNDS):
            for name, session in sessions.items():
                started = time.perf_counter()
                session.logits(codes)
                times[name].append(1000 * (time.perf_counter() - started))
            started = time.perf_counter()
            theirs.step()
            times["transformers"].append(1000 * (time.perf_counter() - started))
            bandwidths.append(bandwidth_gb_s(cores, repeats=1))
        medians: dict[str, float] = {name: statistics.median(t) for name, t in times.items()}
        found[str(position)] = medians | {"bandwidth_gb_s": statistics.median(bandwidths)}
    return found


def divergence(folder: Path, cores: int) -> dict[str, float]:
    """Mean KL divergence (nats) of 8-bit from fp32, along what fp32 samples."""
    import numpy as np

    from antiphon.compose.sampling import Sampling, draws_of

    sessions, models = {}, {}
    for name in ("fp32", "8bit"):
        models[name] = loaded(folder, name, cores)
        sessions[name] = models[name].engine.begin(
            [branches(models[name])], (3.0,), Sampling(), STEPS
        )
    decoder = models["fp32"].config.decoder
    column = np.full((1, decoder.codebooks), decoder.card)
    draws = draws_of(0)
    found = []
    from antiphon.compose.sampling import choose

    for _ in range(STEPS):
        exact, near = (sessions[name].logits(column).astype(float) for name in ("fp32", "8bit"))
        p, q = (log_softmax(np, logits) for logits in (exact, near))
        found.append(float((np.exp(p) * (p - q)).sum(-1).mean()))
        column = choose(exact.astype(np.float32), draws.random(column.shape), Sampling())
    return {"mean": statistics.mean(found), "largest": max(found)}


def log_softmax(np: Any, logits: Any) -> Any:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def clip(folder: Path, cores: int) -> dict[str, float]:
    """A clip from the prompt to its last sample, 8-bit: the median of three."""
    from antiphon.compose.benchmarking import composed

    model = loaded(folder, "8bit", cores)
    runs = [composed(model, CLIP_SECONDS) for _ in range(3)]
    return {
        "first_seconds": statistics.median(first for first, _ in runs),
        "factor": statistics.median(spent for _, spent in runs) / CLIP_SECONDS,
    }


def batch(folder: Path, cores: int) -> dict[str, float]:
    """Four prompts side by side, and one after the other; in turn, the median of three."""
    from antiphon.compose.requests import Request
    from antiphon.controls import Controls

    model = loaded(folder, "8bit", cores)
    requests = [
        Request(f"jazz piano {n}", seed=n, controls=Controls(duration_seconds=CLIP_SECONDS))
        for n in range(BATCH)
    ]

    def spent(some: list[Request]) -> float:
        started = time.perf_counter()
        for _ in model.perform(some).blocks():
            pass
        return time.perf_counter() - started

    ratios = [sum(spent([one]) for one in requests) / spent(requests) for _ in range(3)]
    return {"ratio": statistics.median(ratios)}


def codec(folder: Path, cores: int) -> dict[str, float]:
    """Decoding in pieces of a second: processor time, and the difference to decoding it whole."""
    import numpy as np

    from antiphon import settings
    from antiphon.compose.codecs.opening import open_codec

    model = open_codec(folder, cache=settings.load().cache / "graphs", threads=cores)
    seconds = 10
    frames = seconds * model.frame_rate
    codes = np.random.default_rng(0).integers(0, model.codebook_size, (model.codebooks, frames))
    whole = model.decode(codes)
    times, streamed = [], []
    for _ in range(5):
        stream = model.stream()
        started = time.process_time()
        parts = [stream.feed(codes[:, at : at + 50]) for at in range(0, frames, 50)]
        parts.append(stream.finish())
        times.append(1000 * (time.process_time() - started) / seconds)
        streamed = parts
    difference = np.abs(np.concatenate(streamed, axis=1) - whole).max()
    return {"ms_per_second": statistics.median(times), "difference": float(difference)}


def memory(folder: Path, cores: int) -> dict[str, float]:
    """The most memory of a process that loads a prepared model and composes a long clip."""
    from antiphon.compose.benchmarking import composed, peak_memory_mb

    composed(loaded(folder, "8bit", cores), LONG_SECONDS)
    return {"peak_mb": peak_memory_mb()}


def loading(folder: Path, cores: int) -> dict[str, float]:
    """Loading where nothing is prepared yet, and where everything is."""
    started = time.perf_counter()
    loaded(folder, "8bit", cores)
    return {"seconds": time.perf_counter() - started}


def loaded(folder: Path, precision: str, cores: int) -> Any:
    from antiphon.compose.loading import LoadOptions, load_musicgen

    return load_musicgen(folder, LoadOptions(precision, threads=cores))


def branches(model: Any) -> Any:
    from antiphon.compose.requests import Request

    return model.guidance(Request("upbeat jazz", seed=0), ["upbeat jazz"]).sections[0]


if __name__ == "__main__":
    name, folder, cores = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    print(json.dumps(globals()[name](folder, cores)))
