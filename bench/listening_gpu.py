"""The transformers engine on a CUDA device: the same tokens as `generate`, and times at 8B size.

    python bench/listening_gpu.py

Weights are random: times and memory are those of the published Audio Flamingo 3, texts are not.
Needs torch with CUDA and transformers; prints JSON. `--tiny` tries the script out on a CPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY / "src"), str(REPOSITORY / "tests" / "listen")]

import flamingo  # noqa: E402

import listening_probes  # noqa: E402
from antiphon.listen.engines import EngineInfo, Sampling  # noqa: E402
from antiphon.listen.engines.transformers import TransformersEngine, load  # noqa: E402
from antiphon.listen.engines.transformers_loading import Loaded  # noqa: E402
from antiphon.listen.engines.transformers_prompts import Prompts  # noqa: E402
from listening_probes import PROMPTS, TOKENS, clip, questions, seconds_of  # noqa: E402

TINY = "--tiny" in sys.argv
DEVICE = "cpu" if TINY else "cuda"
DURATIONS_SECONDS = (0.2, 1.0, 4.0, 15.0, 29.99, 30.0, 45.0, 60.0, 75.0, 150.0, 600.0, 1260.0)
# Of nvidia/audio-flamingo-3-hf.
SIZES_8B = {
    "encoder_width": 1280, "encoder_layers": 32, "encoder_heads": 20, "encoder_inner": 5120,
    "width": 3584, "layers": 28, "heads": 28, "kv_heads": 4, "inner": 18_944, "spread": 0.02,
}  # fmt: skip
VOCABULARY_8B = 151_672


def plainly(engine: TransformersEngine, samples: Any, prompt: str, tokens: int) -> list[int]:
    """What `generate` writes for one prompt, without any code of ours."""
    model, processor = engine._model, engine._prompts.processor
    content = [{"type": "audio", "audio": samples}, {"type": "text", "text": prompt}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
    ).to(DEVICE, dtype=model.dtype)
    with torch.inference_mode():
        made = model.generate(
            **inputs, max_new_tokens=tokens, do_sample=False, repetition_penalty=1.0
        )
    return made[0, inputs["input_ids"].shape[1] :].tolist()


def parity(folder: Path) -> dict[str, float]:
    """Share of tokens equal, float32, by class."""
    found = {}
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for kind in ("af3", "mf"):
        checkpoint = flamingo.make_checkpoint(folder / kind, kind)
        engine = load(checkpoint, device=DEVICE, precision="fp32", cap_seconds=1800.0)
        tokenizer = engine._prompts.tokenizer
        same = total = 0
        for number, seconds in enumerate(DURATIONS_SECONDS[: 4 if TINY else None]):
            heard = clip(seconds, seed=number)
            ours = engine.answer(heard, questions(5), Sampling(TOKENS))
            for prompt, answer in zip(PROMPTS, ours, strict=True):
                plain = plainly(engine, heard.samples, prompt, TOKENS)
                text = tokenizer.decode(plain, skip_special_tokens=True).strip()
                # A loop ends our answer early: what there is of it must be the same.
                same += text.startswith(answer.text.strip()) * len(plain)
                total += len(plain)
        found[kind] = same / total
        engine.close()
    return found


def large_engine() -> TransformersEngine:
    """Of the published size, with random weights made on the device."""
    import transformers

    processor = flamingo._processor("af3")
    config = flamingo._config("af3", processor, **({} if TINY else SIZES_8B))
    if not TINY:
        config.text_config.vocab_size = VOCABULARY_8B
    torch.set_default_dtype(torch.float32 if TINY else torch.bfloat16)
    with torch.device(DEVICE):
        model = transformers.AudioFlamingo3ForConditionalGeneration(config).eval()
    torch.set_default_dtype(torch.float32)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=0, eos_token_id=[VOCABULARY_8B - 1], pad_token_id=0
    )
    loaded = Loaded(model, processor, DEVICE, "bf16", model.config._attn_implementation)
    info = EngineInfo("transformers", "random-8B", None, None, 600.0, {"compile": False})
    return TransformersEngine(loaded, Prompts(processor, 600.0), info, 4)


def times(engine: TransformersEngine) -> dict[str, Any]:
    length = 20.0 if TINY else 150.0
    for count in (1, 5):  # the first of each shape looks for its kernels, which takes seconds
        engine.answer(clip(length, 8 + count), questions(count), Sampling(TOKENS))
    found: dict[str, Any] = {
        "one": seconds_of(lambda: engine.answer(clip(length, 1), questions(1), Sampling(TOKENS))),
        "five": seconds_of(lambda: engine.answer(clip(length, 2), questions(5), Sampling(TOKENS))),
    }
    heard = clip(length, 2).samples
    plainly(engine, heard, PROMPTS[0], TOKENS)
    found["plain"] = seconds_of(lambda: [plainly(engine, heard, p, TOKENS) for p in PROMPTS])
    found["cancel"] = listening_probes.cancelled(engine, 600.0, 0.05 if TINY else 0.5)
    return found


def memory(engine: TransformersEngine) -> dict[str, float]:
    """Peak GB above the weights while 10 min are heard, by windows at once; 30 s beside it."""
    found = {}
    for name, seconds, windows in (
        ("30 s", 30.0, 4),
        ("10 min", 600.0, 4),
        ("10 min, 1", 600.0, 1),
    ):
        engine._most_windows = windows
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        engine.answer(clip(seconds, seed=7), questions(1), Sampling(4))
        found[name] = (torch.cuda.max_memory_allocated() - before) / 1e9
    engine._most_windows = 4
    return found


def main() -> None:
    started = time.perf_counter()
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "device": "cpu" if TINY else torch.cuda.get_device_name(),
    }

    def note(name: str, value: object) -> None:
        found[name] = value
        print(json.dumps({name: value, "after": round(time.perf_counter() - started)}), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        note("parity", parity(Path(folder)))
    engine = large_engine()
    note("weights_gb", sum(p.numel() * p.element_size() for p in engine._model.parameters()) / 1e9)
    note("times", times(engine))
    if not TINY:
        note("memory_gb", memory(engine))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
