"""What a magnitude codec says of itself in config.json. Knows no tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from antiphon.compose.config_values import CONFIG_NAME, ConfigValues
from antiphon.errors import ConfigError, ModelError

MODEL_TYPE = "antiphon_magnitude"
_MOST_ITERATIONS = 1000


@dataclass(frozen=True)
class MagnitudeConfig:
    """The fields of a codec's config.json, beside its model_type."""

    sample_rate: int = 16_000
    window: int = 1024
    """Samples of a Hann window of the STFT, 64 ms."""
    stft_hop: int = 160
    """Samples, 10 ms."""
    frames_per_code: int = 4
    """STFT frames that share their codes."""
    codebooks: int = 4
    codebook_size: int = 1024
    width: int = 288
    encoder_blocks: int = 3
    decoder_blocks: int = 5
    latent_width: int = 64
    log_floor: float = 1e-3
    """Added to magnitudes before the logarithm: -108 dB of a full-scale sine."""
    griffin_lim_iterations: int = 32

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"{field.name} is {value!r}; expected more than 0")
        if self.window % 2 or self.stft_hop % 2 or self.stft_hop > self.window // 2:
            raise ConfigError(
                f"window is {self.window} and stft_hop {self.stft_hop}; expected even numbers, "
                "the hop at most half the window"
            )
        if self.sample_rate % self.hop:
            raise ConfigError(
                f"sample_rate is {self.sample_rate}; expected a multiple of the {self.hop} samples "
                "of a code frame"
            )
        if self.griffin_lim_iterations > _MOST_ITERATIONS:
            raise ConfigError(
                f"griffin_lim_iterations is {self.griffin_lim_iterations}; "
                f"expected at most {_MOST_ITERATIONS}"
            )

    @property
    def hop(self) -> int:
        """Samples per code frame."""
        return self.stft_hop * self.frames_per_code

    @property
    def bins(self) -> int:
        """Of a spectrum."""
        return self.window // 2 + 1

    def values(self) -> dict[str, object]:
        """What config.json holds."""
        return {"model_type": MODEL_TYPE, **asdict(self)}


def magnitude_config(values: ConfigValues) -> MagnitudeConfig:
    """The config that these values say. Raises ModelError for one that is not accepted."""
    values.expect("model_type", MODEL_TYPE, None)
    known = asdict(MagnitudeConfig())
    for name in values.values().keys() - known.keys() - {"model_type"}:
        values.refuse(name, f"none of that name; known are {', '.join(known)}")
    given = {name: values.get(name, type(value), value) for name, value in known.items()}
    try:
        return MagnitudeConfig(**given)
    except ConfigError as error:
        raise ModelError(f"{values.where}: {error}") from error


def is_magnitude_codec(folder: Path) -> bool:
    """Whether a folder holds a magnitude codec by itself."""
    if not (folder / CONFIG_NAME).is_file():
        return False
    return ConfigValues.load(folder).get("model_type", str, "") == MODEL_TYPE


def read_magnitude_config(folder: Path) -> MagnitudeConfig:
    """The config.json of a codec. Raises ModelError for one that is missing or not accepted."""
    return magnitude_config(ConfigValues.load(folder))
