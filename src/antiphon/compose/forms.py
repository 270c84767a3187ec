"""In which form a piece is written, and where its description goes. Knows no sound."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from antiphon.audio import check_form
from antiphon.errors import ConfigError, StorageError

SAMPLE_RATES = (16_000, 24_000, 32_000, 44_100, 48_000)
OPUS_RATE = 48_000  # Hz; Opus knows neither 32,000 nor 44,100
LOUDNESS_LUFS = (-40.0, -5.0)


@dataclass(frozen=True)
class Form:
    """How a piece is written. None leaves it to the model (rate, channels) or the file's suffix.

    `loudness_lufs` is what the whole piece is brought to, `fade_seconds` how long it fades out at
    the end. Raises ConfigError for values that no file takes.
    """

    path: Path
    format: str | None = None
    sample_rate: int | None = None
    bit_depth: int | None = None
    channels: int | None = None
    loudness_lufs: float | None = None
    fade_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.sample_rate not in (None, *SAMPLE_RATES):
            raise ConfigError(
                f"sample rate is {self.sample_rate}; expected one of "
                f"{', '.join(f'{rate}' for rate in SAMPLE_RATES)}"
            )
        if self.channels not in (None, 1, 2):
            raise ConfigError(f"channels is {self.channels}; expected 1 or 2")
        low, high = LOUDNESS_LUFS
        if self.loudness_lufs is not None and not low <= self.loudness_lufs <= high:
            raise ConfigError(
                f"loudness is {self.loudness_lufs:g} LUFS; expected {low:g} to {high:g}, as in -14"
            )
        if not 0 <= self.fade_seconds <= 60:
            raise ConfigError(f"fade is {self.fade_seconds:g} s; expected 0 to 60")

    def fitted(self, sample_rate: int, channels: int) -> Form:
        """With the model's rate and channels where none are given. Raises ConfigError for what the
        format cannot hold and for a description that would take another file's place, StorageError
        where there is no folder to write into."""
        suffix = (self.format or self.path.suffix.removeprefix(".")).lower()
        own_rate = OPUS_RATE if suffix == "opus" else sample_rate
        form = Form(
            **asdict(self)
            | {
                "sample_rate": self.sample_rate or own_rate,
                "channels": self.channels or channels,
            }
        )
        check_form(
            form.path,
            sample_rate=form.sample_rate or own_rate,
            channels=form.channels or channels,
            format=form.format,
            bit_depth=form.bit_depth,
        )
        if not form.path.parent.is_dir():
            raise StorageError(
                f"cannot write {str(form.path)!r}: there is no folder {str(form.path.parent)!r}; "
                "create it first"
            )
        require_place_for_sidecar(form.path)
        return form


def sidecar(path: Path) -> Path:
    """The JSON beside a sound file: what it was made from."""
    return path.with_suffix(".json")


def require_place_for_sidecar(path: Path) -> None:
    """Raise ConfigError if there is a file already that does not describe `path`, or is it."""
    place = sidecar(path)
    if place == path:
        raise ConfigError(
            f"{str(path)!r} is where the description of the sound goes; give the sound another "
            "name, such as one with the suffix of its format"
        )
    try:
        known = json.loads(place.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError):
        known = None
    ours = isinstance(known, dict) and "provenance" in known
    if not ours or known["path"] != path.name:
        what = f"describes {known['path']!r}" if ours else "is another file"
        raise ConfigError(
            f"{str(place)!r} lies where the description of {path.name!r} goes, and {what}; give "
            "the sound another name"
        )
