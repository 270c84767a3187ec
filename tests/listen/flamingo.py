"""Flamingo checkpoints small enough to make in a test: random ones, and a toy that was taught to
name what it hears.

    make_checkpoint(folder, "mf")     # random weights, a second
    toy_checkpoint()                  # trained once in some minutes, then kept in runs/toy

Torch and transformers are imported inside the functions: the sounds need numpy alone.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Kind = Literal["af3", "mf"]
RATE = 16_000  # Hz
WINDOW = 30 * RATE  # samples
SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<sound>", "<|sound_bos|>", "<|sound_eos|>",
)  # fmt: skip
# Qwen2's way to cut text before the byte pairs; llama.cpp knows it as "qwen2".
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# As the published checkpoints have it: a system message of their own, one audio, before the text.
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nSYSTEM<|im_end|>\n{% endif %}"
    "{% for m in messages if m['content'] is not none %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% set seen = namespace(audio=False, text='') %}{% for c in m['content'] %}"
    "{% if c.get('type') == 'audio' or 'audio' in c %}{% set seen.audio = True %}"
    "{% elif c.get('type') == 'text' or 'text' in c %}{% set seen.text = seen.text + c['text'] %}"
    "{% endif %}{% endfor %}{% if seen.audio %}{{ '<sound>' }}{% endif %}{{ seen.text }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYSTEM = {
    "af3": "You are a helpful assistant.",
    "mf": "You are Music Flamingo, a multimodal assistant for language and music.",
}
CAP_SECONDS = {"af3": 600, "mf": 1200}

# sound -> (bright or dark, how it moves)
SOUNDS = {
    "a low hum": ("dark", "steady"),
    "a high whistle": ("bright", "steady"),
    "a hissing noise": ("bright", "rough"),
    "clicks": ("bright", "broken"),
    "a rising siren": ("dark", "rising"),
    "an organ": ("dark", "full"),
}
QUESTIONS = {
    "What do you hear?": "I hear {sound}, and nothing else.",
    "Describe the recording.": "The recording holds {sound}; it is {light}.",
    "Is it bright or dark?": "It is {light}.",
    "How does it move?": "The sound is {motion}.",
    "Name the sound.": "This is {sound}.",
}
CORPUS = (
    *QUESTIONS, *SYSTEM.values(), "system user assistant",
    *(
        answer.format(sound=sound, light=light, motion=motion)
        for answer in QUESTIONS.values()
        for sound, (light, motion) in SOUNDS.items()
    ),
    "The piece is a slow waltz in A minor at 92 BPM, with piano, strings and a soft female voice.",
    "A fast rock song in E major: electric guitar, bass and drums, about 140 beats per minute.",
    "It begins quietly, the chorus enters at 0:45, and the chords are C, G, Am and F.",
    "Which instruments are heard? Write one sentence of less than twenty words about the mood.",
    '{"genre": "jazz", "tempo": 120, "key": "B flat major", "instruments": ["double bass"]}',
)  # fmt: skip


def make_checkpoint(folder: Path, kind: Kind = "af3", seed: int = 0, **sizes: float) -> Path:
    """Random weights with processor, tokenizer and template, in `folder`.

    `sizes`: those of `_config`. Three encoder layers and rows of a multiple of 32 are what
    llama.cpp's converter and q8_0 need; `spread` is of the weights, where 0.06 makes one word that
    repeats for every sound, and 0.2 a lively babble of what was heard and asked.
    """
    import torch

    processor = _processor(kind)
    torch.manual_seed(seed)
    _save(_model(kind, processor, {"spread": 0.2, **sizes}), processor, folder)
    return folder


def _save(model: Any, processor: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _processor(kind: Kind, vocabulary: int = 640) -> Any:
    import transformers
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    words = Tokenizer(models.BPE())
    words.normalizer = normalizers.NFC()
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words.decoder = decoders.ByteLevel()
    words.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=vocabulary - len(SPECIALS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    model = json.loads(words.to_str())["model"]
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        unk_token=None,
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=[s for s in SPECIALS if s not in ("<|im_end|>", "<|endoftext|>")],
    )
    features = transformers.WhisperFeatureExtractor(feature_size=128, return_attention_mask=True)
    make = transformers.AudioFlamingo3Processor
    if kind == "mf":
        make = transformers.MusicFlamingoProcessor
    template = CHAT_TEMPLATE.replace("SYSTEM", SYSTEM[kind])
    return make(features, tokenizer, chat_template=template, max_audio_len=CAP_SECONDS[kind])


def _config(
    kind: Kind,
    processor: Any,
    encoder_width: int = 32,
    encoder_layers: int = 3,
    encoder_heads: int = 1,
    encoder_inner: int = 64,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    kv_heads: int = 1,
    inner: int = 128,
    positions: int = 32_768,
    spread: float = 0.06,
) -> Any:
    import transformers

    ids = {s: processor.tokenizer.convert_tokens_to_ids(s) for s in SPECIALS}
    audio = transformers.AudioFlamingo3EncoderConfig(
        hidden_size=encoder_width,
        num_hidden_layers=encoder_layers,
        num_attention_heads=encoder_heads,
        intermediate_size=encoder_inner,
        initializer_range=spread,
    )
    text = transformers.Qwen2Config(
        vocab_size=len(processor.tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=False,
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
        initializer_range=spread,
    )
    if kind == "mf":
        return transformers.MusicFlamingoConfig(
            audio_config=audio,
            text_config=text,
            audio_token_id=ids["<sound>"],
            audio_bos_token_id=ids["<|sound_bos|>"],
            audio_eos_token_id=ids["<|sound_eos|>"],
        )
    return transformers.AudioFlamingo3Config(
        audio_config=audio, text_config=text, audio_token_id=ids["<sound>"]
    )


def _model(kind: Kind, processor: Any, sizes: dict[str, Any]) -> Any:
    import torch
    import transformers

    make = transformers.AudioFlamingo3ForConditionalGeneration
    if kind == "mf":
        make = transformers.MusicFlamingoForConditionalGeneration
    model = make(_config(kind, processor, **sizes)).eval()
    places = model.model.audio_tower.embed_positions.weight  # [1500, D], sines as in Whisper
    rates = torch.exp(
        -np.log(10_000) / (places.shape[1] // 2 - 1) * torch.arange(places.shape[1] // 2)
    )
    angles = torch.arange(places.shape[0])[:, None] * rates
    places.data.copy_(torch.cat([angles.sin(), angles.cos()], dim=1))
    tokenizer = processor.tokenizer
    # That of the published AF3 samples: an engine that forgets to say otherwise does so too.
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True, temperature=0.7, top_k=20, top_p=0.8, repetition_penalty=1.05,
    )  # fmt: skip
    return model


def toy_sound(sound: str, seconds: float, seed: int) -> npt.NDArray[np.float32]:
    """[T] at 16 kHz; pitch, level and phase are drawn, and so never the same twice."""
    draw = np.random.default_rng((seed, sorted(SOUNDS).index(sound)))
    count = round(seconds * RATE)
    time = np.arange(count) / RATE + draw.uniform(0, 1)
    noise = draw.standard_normal(count)

    def tone(hertz: float, overtones: int) -> npt.NDArray[np.float64]:
        waves = (np.sin(2 * np.pi * hertz * n * time) / n for n in range(1, overtones + 1))
        return np.sum(list(waves), axis=0)

    if sound == "a low hum":
        wave = tone(draw.uniform(70, 140), 4)
    elif sound == "a high whistle":
        wave = tone(draw.uniform(2200, 3600), 1)
    elif sound == "a hissing noise":
        wave = np.diff(noise, prepend=0.0)
    elif sound == "clicks":
        every = round(draw.uniform(0.1, 0.2) * RATE)
        wave = noise * (np.arange(count) % every < 80)
    elif sound == "a rising siren":
        hertz = 400 * 3 ** (time * draw.uniform(1.5, 3) % 1.0)
        wave = np.sin(2 * np.pi * np.cumsum(hertz) / RATE)
    else:
        root = draw.uniform(220, 330)
        wave = tone(root, 8) + tone(root * 1.26, 8) + tone(root * 1.5, 8)
    wave = wave / max(np.abs(wave).max(initial=0.0), 1e-9) * draw.uniform(0.1, 0.8)
    return (wave + 1e-4 * noise).astype(np.float32)


def toy_answer(question: str, sound: str) -> str:
    light, motion = SOUNDS[sound]
    return QUESTIONS[question].format(sound=sound, light=light, motion=motion)


def toy_checkpoint() -> Path:
    """The toy of this recipe, made when it is not there; the same for every test and bench."""
    from filelock import FileLock

    parts = (_processor, _config, _model, toy_sound, toy_answer, make_toy, _lesson)
    data = (SPECIALS, QWEN_SPLIT, CHAT_TEMPLATE, SYSTEM, SOUNDS, QUESTIONS, CORPUS)
    recipe = "".join(inspect.getsource(part) for part in parts) + repr(data)
    name = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    folder = Path(__file__).parents[2] / "runs" / "toy" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
            _in_a_process_of_its_own(unfinished)
            unfinished.rename(folder)
    return folder


def _in_a_process_of_its_own(folder: Path) -> None:
    """`make_toy` on all cores and without coverage: the caller may have been told to use one."""
    code = "import sys, pathlib, flamingo; flamingo.make_toy(pathlib.Path(sys.argv[1]))"
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder.resolve())],
        cwd=Path(__file__).parent,
        env=environment,
        check=True,
    )


def make_toy(folder: Path, steps: int = 400, batch: int = 8) -> Path:
    """Teach a tiny AF3 to answer QUESTIONS about SOUNDS of 0.5 s to 10 min.

    Lengths vary: taught on one length alone, such a model learns the length instead. Taught on a
    minute at most, it babbles after more, and what it babbles hangs on the last bits of its sums.
    """
    import torch

    processor = _processor("af3")
    torch.manual_seed(0)
    model = _model("af3", processor, {}).train()
    learned = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(learned, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, steps, pct_start=0.1)
    draw = np.random.default_rng(1)
    tower = model.model.audio_tower
    places = tower.embed_positions.weight.data
    for step in range(steps):
        inputs = _lesson(processor, draw, batch, is_long=step % 8 == 7)
        # Frames that are masked in every row cost two thirds of the time otherwise.
        heard = 4 * -(-int(inputs["input_features_mask"].sum(-1).max()) // 4)
        tower.embed_positions.weight.data = places[: heard // 2]
        inputs["input_features"] = inputs["input_features"][..., :heard]
        inputs["input_features_mask"] = inputs["input_features_mask"][:, :heard]
        loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        adam.step()
        rate.step()
        adam.zero_grad()
        if step % 20 == 0:
            print(f"toy {step}: loss {loss.item():.3f}", file=sys.stderr)  # noqa: T201
    tower.embed_positions.weight.data = places
    _save(model.eval(), processor, folder)
    return folder


def _lesson(
    processor: Any, draw: np.random.Generator, batch: int, *, is_long: bool
) -> dict[str, Any]:
    """Inputs and labels (-100 where nothing is learned) of one length, the last part masked."""
    longest = 0.5 * 130 ** draw.beta(1.0, 2.4)  # s, short ones more often: they cost less
    if is_long:
        longest, batch = 65.0 * 9.2 ** draw.random(), 2
    sounds = draw.choice(sorted(SOUNDS), batch)
    questions = draw.choice(sorted(QUESTIONS), batch)
    clips = [
        toy_sound(s, longest * draw.uniform(0.8, 1), int(draw.integers(1 << 30))) for s in sounds
    ]
    texts = [
        processor.apply_chat_template(
            [
                {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": q}]},
                {"role": "assistant", "content": toy_answer(q, s)},
            ],
            tokenize=False,
        )
        for q, s in zip(questions, sounds, strict=True)
    ]
    inputs = dict(processor(text=texts, audio=clips))
    labels = inputs["input_ids"].clone()
    turn = processor.tokenizer("<|im_start|>assistant\n")["input_ids"]
    for row in labels:
        row[: int((row == turn[0]).nonzero()[-1]) + len(turn)] = -100
    return inputs | {"labels": labels}


def copy_without(folder: Path, target: Path, *names: str) -> Path:
    """A copy of a checkpoint in which some files are missing."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*names))
    return target
