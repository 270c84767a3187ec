"""From the folder of a Flamingo checkpoint to a model on a device, or the reason why not.

Nothing here reaches for the network, runs code of the checkpoint or opens a pickle.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from antiphon.errors import ConfigError, DependencyError, ModelError

Precision = Literal["fp32", "bf16", "fp16", "8bit", "4bit"]
Attention = Literal["flash", "sdpa", "eager"]

ARCHITECTURES = (
    "AudioFlamingo3ForConditionalGeneration",
    "MusicFlamingoForConditionalGeneration",
)
_IMPLEMENTATION = {"flash": "flash_attention_2", "sdpa": "sdpa", "eager": "eager"}
# What AutoProcessor reads; of each line one.
_PROCESSOR_FILES = (
    ("processor_config.json", "preprocessor_config.json"),
    ("tokenizer.json", "vocab.json"),
    ("tokenizer_config.json",),
    ("chat_template.jinja", "chat_template.json"),
)


@dataclass(frozen=True)
class Loaded:
    """A model that can be asked, and how it was loaded."""

    model: Any
    processor: Any
    device: str
    precision: Precision
    attention: Attention


def load_checkpoint(
    folder: Path,
    device: str | None,
    precision: Precision | None,
    attention: Attention | None,
    compiled: bool,
    adapter: Path | None,
) -> Loaded:
    """Raises ModelError for a folder that is no whole Flamingo checkpoint, ConfigError for options
    that do not go together here, DependencyError when torch or transformers is missing."""
    try:
        import torch
        import transformers
        from safetensors import SafetensorError
    except ImportError as error:
        raise DependencyError(
            f"{folder} needs torch and transformers: {error}; `pip install 'antiphon[torch]'`"
        ) from error
    architecture = check_folder(folder)
    device = choose_device(device)
    precision = choose_precision(device, precision)
    choices = choose_attention(device, precision, attention, compiled)
    if adapter is not None and not (adapter / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"{adapter} has no adapter_model.safetensors; expected a LoRA folder as peft saves it"
        )
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        processor = transformers.AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        if not hasattr(processor, "audio_token"):
            raise ModelError(
                f"{folder} has a {type(processor).__name__}; expected the processor of a Flamingo"
            )
        make = getattr(transformers, architecture)
        for choice in choices:
            try:
                model = _from_pretrained(make, folder, device, precision, choice)
                break
            except (ImportError, ValueError):
                if choice == choices[-1]:
                    raise
        if adapter is not None:
            model = _with_adapter(model, adapter)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{folder} does not fit into the memory of {device} as {precision}; "
            "try precision 8bit or 4bit, or device cpu"
        ) from error
    except (
        OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError, SafetensorError,
    ) as error:  # fmt: skip
        reason = next(iter(str(error).splitlines()), repr(error))
        raise ModelError(f"{folder} cannot be loaded: {reason}") from error
    finally:
        if bars:
            transformers.utils.logging.enable_progress_bar()
    return Loaded(model.eval(), processor, device, precision, choice)


def check_folder(folder: Path) -> str:
    """The class a checkpoint folder is of; everything it needs is there.

    Raises ModelError naming what is not.
    """
    config = folder / "config.json"
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{folder} is no checkpoint: {config.name} cannot be read") from error
    except ValueError as error:
        raise ModelError(f"{config} is not JSON: {error}; get the file again") from error
    named = settings.get("architectures") if isinstance(settings, dict) else None
    architecture = str(named[0]) if isinstance(named, list) and named else "nothing"
    if architecture not in ARCHITECTURES:
        raise ModelError(f"{config} names {architecture}; expected {' or '.join(ARCHITECTURES)}")
    missing = [
        " or ".join(names)
        for names in _PROCESSOR_FILES
        if not any((folder / name).is_file() for name in names)
    ]
    tokenizer = folder / "tokenizer_config.json"
    if missing == [" or ".join(_PROCESSOR_FILES[3])] and "chat_template" in json.loads(
        tokenizer.read_text(encoding="utf-8")
    ):
        missing = []
    if missing:
        raise ModelError(f"{folder} lacks files of its processor: {', '.join(missing)}")
    missing = _missing_weights(folder)
    if missing:
        raise ModelError(f"{folder} lacks weights: {', '.join(missing)}")
    return architecture


def _missing_weights(folder: Path) -> list[str]:
    if (folder / "model.safetensors").is_file():
        return []
    index = folder / "model.safetensors.index.json"
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except OSError:
        found = " (a pickle such as pytorch_model.bin can run code and is not opened)"
        return ["model.safetensors" + (found if any(folder.glob("*.bin")) else "")]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{index} is damaged: {error!r}; get the file again") from error
    return sorted(str(name) for name in names if not (folder / str(name)).is_file())


def choose_device(device: str | None) -> str:
    """`cuda`, `mps` or `cpu`; a device that is asked for must be there."""
    import torch

    if device in (None, "auto"):
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(str(device)).type
    except RuntimeError as error:
        raise ConfigError(
            f"device is {device!r}; expected auto, cpu, cuda, cuda:1 or mps"
        ) from error
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here.get(kind, False):
        raise ConfigError(f"device is {device!r}, which this torch does not see; leave it to auto")
    return str(device)


def choose_precision(device: str, precision: Precision | None) -> Precision:
    """bf16 where the device has it; 8bit and 4bit need bitsandbytes on CUDA."""
    import torch

    if precision is None:
        if device.startswith("cuda"):
            return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        return "fp32" if device == "cpu" else "fp16"
    if precision not in ("fp32", "bf16", "fp16", "8bit", "4bit"):
        raise ConfigError(f"precision is {precision!r}; expected fp32, bf16, fp16, 8bit or 4bit")
    if precision in ("8bit", "4bit"):
        if torch.version.hip:
            raise ConfigError(
                f"precision is {precision}, which bitsandbytes gets wrong on ROCm; use bf16, "
                "or a GGUF of the model"
            )
        if not device.startswith("cuda"):
            raise ConfigError(
                f"precision is {precision}, which needs CUDA, on {device}; use a GGUF of the model"
            )
        try:
            import bitsandbytes  # noqa: F401
        except ImportError as error:
            raise DependencyError(
                f"precision {precision} needs bitsandbytes; `pip install bitsandbytes`"
            ) from error
    return precision


def choose_attention(
    device: str, precision: Precision, attention: Attention | None, compiled: bool
) -> Sequence[Attention]:
    """What to try, the best first; what is asked for is tried alone."""
    import torch
    from transformers.utils import is_flash_attn_2_available

    if compiled and torch.version.hip:
        raise ConfigError("compile is on, which fails on ROCm in these models; leave it off")
    if attention not in (None, "flash", "sdpa", "eager"):
        raise ConfigError(f"attention is {attention!r}; expected flash, sdpa or eager")
    if attention == "flash":
        if compiled:
            raise ConfigError("compile is on and attention is flash; they exclude each other")
        if not device.startswith("cuda") or precision == "fp32":
            raise ConfigError(
                f"attention is flash, which needs CUDA and 16 bits, on {device} in {precision}; "
                "use sdpa"
            )
        if not is_flash_attn_2_available():
            raise DependencyError(
                "attention flash needs flash-attn; `pip install flash-attn --no-build-isolation`"
            )
    if attention is not None:
        return (attention,)
    flash = device.startswith("cuda") and precision != "fp32" and not compiled
    if flash and is_flash_attn_2_available():
        return ("flash", "sdpa", "eager")
    return ("sdpa", "eager")


def _from_pretrained(
    make: Any, folder: Path, device: str, precision: Precision, attention: Attention
) -> Any:
    import torch
    import transformers

    options: dict[str, Any] = {}
    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision in ("8bit", "4bit"):
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_8bit=precision == "8bit",
            load_in_4bit=precision == "4bit",
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    if device == "cuda":
        options["device_map"] = "auto"  # over all of them
    elif device != "cpu":
        options["device_map"] = {"": device}
    model, report = make.from_pretrained(
        folder,
        dtype=types.get(precision, torch.bfloat16),
        attn_implementation=_IMPLEMENTATION[attention],
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    # transformers draws them at random and only warns: a model that hears nothing.
    absent = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if absent:
        raise ModelError(f"{folder} lacks {len(absent)} tensors, {absent[0]} for one")
    return model


def _with_adapter(model: Any, adapter: Path) -> Any:
    """The model with the LoRA layers inside, as the class that it was."""
    try:
        import peft
    except ImportError as error:
        raise DependencyError(
            f"the adapter {adapter} needs peft; `pip install 'antiphon[torch]'`"
        ) from error
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5.24 for what it renamed.
        warnings.simplefilter("ignore", FutureWarning)
        wrapped = peft.PeftModel.from_pretrained(model, adapter, local_files_only=True)
    return wrapped.get_base_model()
