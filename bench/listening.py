"""How well the listening engines do: the texts of transformers, one hearing for many prompts,
claims against marks made by hand, how soon a model is free again.

    python bench/run.py listening

The models are made here: a toy that was trained to name sounds, and one with random weights of a
size at which times mean something. What takes a process of its own is in listening_probes.py.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
for folder in ("tests/listen", "tests"):  # where the small models and the marks are made
    sys.path.insert(0, str(REPOSITORY / folder))

import flamingo  # noqa: E402
import flamingo_gguf  # noqa: E402
import marked_claims  # noqa: E402

from antiphon.listen.engines import ListenerEngine, Question, Sampling  # noqa: E402
from antiphon.listen.engines import gguf as gguf_engine  # noqa: E402
from antiphon.listen.engines import transformers as transformers_engine  # noqa: E402
from antiphon.listen.engines.gguf_audio import fit_windows  # noqa: E402
from antiphon.listen.windows import Clip  # noqa: E402
from report import Part, Row  # noqa: E402

PROBES = Path(__file__).with_name("listening_probes.py")
CAP_SECONDS = 1800.0
# From a moment to more than any cap but the longest; four are exact multiples of a window.
DURATIONS_SECONDS = (0.2, 1.0, 4.0, 15.0, 29.99, 30.0, 45.0, 60.0, 75.0, 150.0, 600.0, 1260.0)
SOUNDS_PER_DURATION = 3
TOY_TOKENS = 24
# Of the evidence: an encoder of 8 layers of 1280, a language model of 24 layers of 896.
SIZES = {
    "encoder_width": 1280, "encoder_layers": 8, "encoder_heads": 20, "encoder_inner": 5120,
    "width": 896, "layers": 24, "heads": 14, "kv_heads": 2, "inner": 4864, "spread": 0.02,
}  # fmt: skip


def run() -> Part:
    """All figures of the listening engines."""
    toy = flamingo.toy_checkpoint()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            *claim_rows(),
            *parity_rows(toy, folder),
            *timing_rows(folder),
            idle_row(folder),
        ]
    notes = (
        f"Texts: a toy Audio Flamingo 3 with trained weights, {len(flamingo.QUESTIONS)} questions "
        f"to each of {SOUNDS_PER_DURATION} sounds of each of {len(DURATIONS_SECONDS)} durations "
        f"from {DURATIONS_SECONDS[0]} s to {DURATIONS_SECONDS[-1] / 60:.0f} min, greedy, float32. "
        f"Times: random weights, an encoder of {SIZES['encoder_layers']} layers of "
        f"{SIZES['encoder_width']} and a language model of {SIZES['layers']} of "
        f"{SIZES['width']}, five prompts of 64 tokens on a clip of 150 s, all "
        f"{os.cpu_count()} cores, bfloat16 by transformers, q8_0 by llama.cpp. Claims: 300 "
        "sentences marked by hand before the grammar was written, which its first version met with "
        "a precision of .946 and a recall of .930 and was then mended by; later ones that it was "
        "mended by as well, and held-out ones, by which nothing is mended."
    )
    return Part("listening", "Listening engines", notes, rows)


def claim_rows() -> list[Row]:
    sentences = marked_claims.load()
    score = marked_claims.score(sentences)
    left, wrong, _ = marked_claims.left_after_correcting(sentences)
    beside = f"{score.right} of {score.found} found and of {score.marked} marked are right"
    return [
        Row("claims: precision", score.precision, at_least=0.98, must=True, beside=beside),
        Row("claims: recall", score.recall, at_least=0.95, must=True),
        *later_rows(marked_claims.SEEN, "later"),
        *later_rows(marked_claims.HELD_OUT, "held-out"),
        Row(
            "contradicted numbers left after `correct`",
            100.0 * left / wrong,
            " %",
            at_most=5.0,
            must=True,
            digits=1,
            beside=f"{left} of {wrong} marked ones",
        ),
    ]


def later_rows(file: Path, which: str) -> list[Row]:
    """By sentences that came after the grammar."""
    sentences = marked_claims.load(file)
    score = marked_claims.score(sentences)
    left, wrong, _ = marked_claims.left_after_correcting(sentences)
    what = f"on {len(sentences)} {which} sentences"
    return [
        Row(f"{what}: precision", score.precision, beside=f"{score.right} of {score.found}"),
        Row(f"{what}: recall", score.recall, beside=f"{score.right} of {score.marked}"),
        Row(f"{what}: left after `correct`", 100.0 * left / wrong, " %", digits=1,
            beside=f"{left} of {wrong}"),
    ]  # fmt: skip


def parity_rows(toy: Path, folder: Path) -> list[Row]:
    """Ours against what transformers makes of each prompt by itself."""
    engine = transformers_engine.load(toy, device="cpu", precision="fp32", cap_seconds=CAP_SECONDS)
    model = flamingo_gguf.convert(toy, folder / "toy")
    llama = gguf_engine.load(model, context=32_768)
    texts = list(flamingo.QUESTIONS)
    sounds = list(flamingo.SOUNDS)
    by_transformers, by_llama = Tally(), Tally()

    def tokens(text: str) -> list[int]:
        return tokens_of(engine, text)

    try:
        for number, seconds in enumerate(DURATIONS_SECONDS):
            for nth in range(SOUNDS_PER_DURATION):
                sound = sounds[(number + nth) % len(sounds)]
                clip = Clip(flamingo.toy_sound(sound, seconds, seed=number))
                # llama.cpp hears whole windows only: transformers is given what it was given.
                fitted = Clip(fit_windows(clip.samples)[0])
                ours, theirs = answers(engine, clip, texts), answers(llama, clip, texts)
                for text, our, their in zip(texts, ours, theirs, strict=True):
                    by_transformers.add(tokens(plain_answer(engine, clip, text)), tokens(our))
                    by_llama.add(tokens(plain_answer(engine, fitted, text)), tokens(their))
    finally:
        engine.close()
        llama.close()
    return [
        Row(
            "transformers engine: tokens equal to `generate` per prompt",
            by_transformers.percent,
            " %",
            at_least=100.0,
            must=True,
            digits=1,
            beside=f"{by_transformers.heard} tokens",
        ),
        Row(
            "GGUF engine: tokens equal to transformers",
            by_llama.percent,
            " %",
            at_least=98.0,
            must=True,
            digits=1,
            beside=f"{by_llama.heard} tokens; both heard whole windows, as llama.cpp must",
        ),
    ]


def plain_answer(engine: Any, clip: Clip, text: str) -> str:
    """What transformers writes for one prompt, by its own `generate` and no code of ours."""
    import torch

    model, processor = engine._model, engine._prompts.processor
    content = [{"type": "audio", "audio": clip.samples}, {"type": "text", "text": text}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
    )
    with torch.inference_mode():
        made = model.generate(
            **inputs, max_new_tokens=TOY_TOKENS, do_sample=False, repetition_penalty=1.0
        )
    new = made[0, inputs["input_ids"].shape[1] :]
    decoded: str = processor.tokenizer.decode(new, skip_special_tokens=True)
    return decoded


def answers(engine: ListenerEngine, clip: Clip, texts: Sequence[str]) -> list[str]:
    questions = [Question(text) for text in texts]
    return [answer.text for answer in engine.answer(clip, questions, Sampling(TOY_TOKENS))]


def tokens_of(engine: Any, text: str) -> list[int]:
    tokens: list[int] = engine._prompts.tokenizer(text.strip())["input_ids"]
    return tokens


@dataclass
class Tally:
    """How many tokens of two texts are the same in their order, of the longer text's."""

    same: int = 0
    heard: int = 0

    def add(self, first: list[int], second: list[int]) -> None:
        blocks = difflib.SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
        self.same += sum(block.size for block in blocks)
        self.heard += max(len(first), len(second))

    @property
    def percent(self) -> float:
        return 100.0 * self.same / self.heard


def timing_rows(folder: Path) -> list[Row]:
    checkpoint = flamingo.make_checkpoint(folder / "large", **SIZES)
    model = flamingo_gguf.convert(checkpoint, folder / "large-gguf", precision="q8_0")
    one, five, apart = probe("gguf", model)
    single, batched, plain = probe("transformers", checkpoint)
    one_window, ten_minutes = probe("encoder", checkpoint)
    return [
        Row(
            "GGUF: five prompts against one",
            five / one,
            " times",
            at_most=1.35,
            must=True,
            digits=2,
            beside=f"{five:.0f} s and {one:.0f} s",
        ),
        Row(
            "GGUF: five prompts against a process per prompt",
            apart / five,
            " times faster",
            at_least=3.4,
            must=True,
            digits=1,
            beside=f"{apart:.0f} s apart",
        ),
        Row(
            "transformers: five prompts in a batch against one",
            batched / single,
            " times",
            at_most=1.55,
            must=True,
            digits=2,
            beside=f"{batched:.0f} s and {single:.0f} s",
        ),
        Row(
            "transformers: five prompts in a batch against five `generate`",
            plain / batched,
            " times faster",
            at_least=3.2,
            must=True,
            digits=1,
            beside=f"{plain:.0f} s plain",
        ),
        Row(
            "memory of the encoder: 10 min against one window, features aside",
            ten_minutes / one_window,
            " times",
            at_most=1.2,
            digits=2,
            beside=f"{ten_minutes:.0f} MB and {one_window:.0f} MB above the loaded model",
        ),
        *[
            Row(
                f"{name}: from cancel to the end of the call, {when}",
                seconds,
                " s",
                at_most=1.0,
                digits=2,
                beside=beside,
            )
            for name, path in (("GGUF", model), ("transformers", checkpoint))
            for when, seconds, beside in zip(
                ("while it writes", "while it reads the sound"),
                probe(f"cancel {name}", path),
                ("", "the process is replaced" if name == "GGUF" else "between two layers"),
                strict=True,
            )
        ],
    ]


def idle_row(folder: Path) -> Row:
    idle, tracks, answering = probe("idle", folder)
    return Row(
        "library run: the model waits for the next track",
        100.0 * idle,
        " %",
        at_most=5.0,
        digits=1,
        beside=f"of the time between its first and its last answer; {tracks:.0f} tracks of 3 min, "
        f"{answering:.1f} s of answering each",
    )


def probe(name: str, path: Path) -> list[float]:
    """What a probe of listening_probes.py finds, in a process of its own."""
    command = [sys.executable, "-W", "ignore", str(PROBES), name, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found
