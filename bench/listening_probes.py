"""Measurements of the listening engines that need a process of their own; see listening.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from antiphon.listen.engines import Answer, ListenerEngine, Question, Sampling
from antiphon.listen.engines.fake import FakeEngine
from antiphon.listen.windows import SAMPLE_RATE, Clip

CLIP_SECONDS = 150.0
TOKENS = 64
PROMPTS = (
    "Describe this recording.", "Which genre is it?", "Which instruments are heard?",
    "What is its structure?", "Name the mood.",
)  # fmt: skip
TRACKS, TRACK_SECONDS = 16, 180.0
ANSWER_SECONDS = 1.5
BUSY_LOG = "ANTIPHON_BENCH_BUSY"


def clip(seconds: float = CLIP_SECONDS, seed: int = 0) -> Clip:
    draw = np.random.default_rng(seed)
    time_axis = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * hz * time_axis) for hz in draw.uniform(100, 2000, 6))
    return Clip(np.float32(0.1 * tones + 0.01 * draw.standard_normal(len(time_axis))))


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def questions(count: int) -> list[Question]:
    return [Question(prompt) for prompt in PROMPTS[:count]]


def gguf(path: str) -> list[float]:
    """Seconds of one prompt, of five, and of five in processes of their own."""
    from antiphon.listen.engines import gguf as engines

    engine = engines.load(Path(path))
    one = seconds_of(lambda: engine.answer(clip(seed=1), questions(1), Sampling(TOKENS)))
    five = seconds_of(lambda: engine.answer(clip(seed=2), questions(5), Sampling(TOKENS)))
    engine.close()
    command = [sys.executable, "-W", "ignore", __file__, "gguf once", path]
    apart = sum(
        seconds_of(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))
        for _ in PROMPTS
    )
    return [one, five, apart]


def gguf_once(path: str) -> list[float]:
    from antiphon.listen.engines import gguf as engines

    engine = engines.load(Path(path))
    engine.answer(clip(seed=2), questions(1), Sampling(TOKENS))
    engine.close()
    return []


def transformers(path: str) -> list[float]:
    """Seconds of one prompt, of five in a batch, and of five calls of `generate`."""
    import torch

    from antiphon.listen.engines import transformers as engines

    torch.set_num_threads(os.cpu_count() or 1)
    engine = engines.load(Path(path), device="cpu", precision="bf16")
    engine.answer(clip(1.0), questions(1), Sampling(2))  # what the first call alone costs
    one = seconds_of(lambda: engine.answer(clip(seed=1), questions(1), Sampling(TOKENS)))
    five = seconds_of(lambda: engine.answer(clip(seed=2), questions(5), Sampling(TOKENS)))
    model, processor = engine._model, engine._prompts.processor

    def plainly(prompt: str) -> None:
        content = [
            {"type": "audio", "audio": clip(seed=2).samples},
            {"type": "text", "text": prompt},
        ]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
        )
        inputs = inputs.to(dtype=model.dtype)
        with torch.inference_mode():
            model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False, repetition_penalty=1.0)

    plain = seconds_of(lambda: [plainly(prompt) for prompt in PROMPTS])
    return [one, five, plain]


def encoder(path: str) -> list[float]:
    """Peak MB above the loaded model while one window is heard, and 10 min less their features."""
    found = []
    for seconds in (30.0, 600.0):
        command = [sys.executable, "-W", "ignore", __file__, f"encode {seconds:g}", path]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found += json.loads(done.stdout.splitlines()[-1])
    return found


def encode(seconds: float, path: str) -> list[float]:
    import torch

    from antiphon.listen.engines import transformers as engines

    torch.set_num_threads(os.cpu_count() or 1)
    engine = engines.load(Path(path), device="cpu", precision="fp32")
    model = engine._model
    windows = round(seconds / 30)
    features = torch.zeros(windows, 128, 3000)
    mask = torch.ones(windows, 3000, dtype=torch.long)
    before = memory_mb("VmRSS")
    reset_peak()
    with torch.inference_mode():
        heard = model.model.audio_tower(features, input_features_mask=mask).last_hidden_state
    kept = heard.numel() * 4 / 1e6
    return [memory_mb("VmHWM") - before - kept]


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def memory_mb(name: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def cancel_gguf(path: str) -> list[float]:
    from antiphon.listen.engines import gguf as engines

    engine = engines.load(Path(path))
    found = cancelled(engine)
    engine.close()
    return found


def cancel_transformers(path: str) -> list[float]:
    import torch

    from antiphon.listen.engines import transformers as engines

    torch.set_num_threads(os.cpu_count() or 1)
    return cancelled(engines.load(Path(path), device="cpu", precision="bf16"))


def cancelled(
    engine: ListenerEngine, reading: float = CLIP_SECONDS, wait_seconds: float = 3.0
) -> list[float]:
    """Seconds from `cancel` to the end of the call: after the first token, and `wait_seconds` into
    a clip of `reading` seconds, before the first."""
    begun = threading.Event()
    while_writing = cancel_after(engine, clip(20.0), begun, lambda: begun.wait(600.0))
    while_reading = cancel_after(
        engine, clip(reading, seed=3), threading.Event(), lambda: time.sleep(wait_seconds)
    )
    return [while_writing, while_reading]


def cancel_after(
    engine: ListenerEngine, heard: Clip, begun: threading.Event, wait: Callable[[], object]
) -> float:
    ended: list[float] = []
    answers: list[Answer] = []

    def call() -> None:
        answers.extend(
            engine.answer(heard, questions(1), Sampling(2048), lambda piece: begun.set())
        )
        ended.append(time.perf_counter())

    thread = threading.Thread(target=call)
    thread.start()
    wait()
    asked = time.perf_counter()
    engine.cancel()
    thread.join()
    assert answers[0].finish == "cancelled", answers
    return ended[0] - asked


def idle(folder: str) -> list[float]:
    """Share of the time that the model of a library run waits, tracks, seconds of an answer."""
    from antiphon.arrange import arrange
    from antiphon.audio import write
    from antiphon.cli.describe import Asking, _WorkerDescribing
    from antiphon.controls import GENRES, Controls
    from antiphon.listen.engine_host import hosted
    from antiphon.listen.library import RunOptions, Tracks, describe_library
    from antiphon.listen.library_outputs import Outputs
    from antiphon.listen.prompts import load_prompt_set
    from antiphon.settings import load
    from antiphon.synth import render

    library = Path(folder) / "library"
    library.mkdir()
    for number in range(TRACKS):
        controls = Controls(genre=GENRES[number % len(GENRES)], duration_seconds=TRACK_SECONDS)
        write(library / f"{number:02}.mp3", render(arrange(controls, seed=number)))
    log = Path(folder) / "busy"
    os.environ[BUSY_LOG] = str(log)  # the engine's process inherits it
    prompts = load_prompt_set("standard")
    asking = Asking(prompts, ("full",), "annotate", False, "truncate")
    with tempfile.TemporaryDirectory() as state, hosted(TimedEngine.load) as address:
        describing = _WorkerDescribing(asking, load(), address, "", Sampling())
        options = RunOptions(jobs=2, track_timeout_seconds=600.0)
        describe_library(Tracks((library,)), describing, Outputs(), Path(state), options)
    spans = [tuple(map(float, line.split())) for line in log.read_text().splitlines()]
    busy = sum(stop - start for start, stop in spans)
    whole = max(stop for _, stop in spans) - min(start for start, _ in spans)
    assert len(spans) == TRACKS
    return [1.0 - busy / whole, TRACKS, busy / TRACKS]


class TimedEngine(FakeEngine):
    """Answers after ANSWER_SECONDS and notes when it was busy."""

    @classmethod
    def load(cls) -> ListenerEngine:
        return cls("word " * 29 + "end.", seconds_per_word=ANSWER_SECONDS / 30)

    def answer(self, *arguments: object, **named: object) -> list[Answer]:
        started = time.time()
        answers = super().answer(*arguments, **named)  # type: ignore[arg-type]
        with Path(os.environ[BUSY_LOG]).open("a", encoding="ascii") as log:
            log.write(f"{started} {time.time()}\n")
        return answers


def main() -> None:
    name, path = sys.argv[1:]
    probes: dict[str, Callable[[str], list[float]]] = {
        "gguf": gguf,
        "gguf once": gguf_once,
        "transformers": transformers,
        "encoder": encoder,
        "cancel GGUF": cancel_gguf,
        "cancel transformers": cancel_transformers,
        "idle": idle,
    }
    if name.startswith("encode "):
        found = encode(float(name.removeprefix("encode ")), path)
    else:
        found = probes[name](path)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
