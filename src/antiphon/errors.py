"""Every error a user can meet, each with the exit code the command line gives it.

    AntiphonError                 1   anything below; catch this one
    ├── ConfigError               2   an option, control, setting or data file not accepted
    ├── AudioError                1   sound that cannot be used
    │   ├── AudioDecodeError      1   not audio, or damaged beyond what can be saved
    │   ├── AudioLimitError       1   longer or larger than the cap allows
    │   └── AudioTooShortError    1   nothing to work on
    ├── DependencyError           1   an optional package or program is not installed
    ├── ModelError                1   a model that cannot be loaded or is of the wrong kind
    │   └── ModelMissingError     4   a model that is not on this machine
    ├── EngineError               1   a model that failed while it ran
    └── StorageError             74   a path that cannot be read or written
        └── DiskFullError        75   no space: try again later

    try:
        facts = antiphon.measure(path)
    except antiphon.AudioError as error:
        skip(path, reason=str(error))

A message names the thing, its value, what was expected and a way out.
"""

from __future__ import annotations


class AntiphonError(Exception):
    """Base of all errors raised on purpose by antiphon."""

    exit_code = 1


class ConfigError(AntiphonError):
    """An option, control, setting or data file that cannot be accepted."""

    exit_code = 2


class AudioError(AntiphonError):
    """Sound that cannot be used."""


class AudioDecodeError(AudioError):
    """Not audio, or damaged beyond what can be saved."""


class AudioLimitError(AudioError):
    """Longer or larger than the cap allows."""


class AudioTooShortError(AudioError):
    """Nothing to work on."""


class DependencyError(AntiphonError):
    """An optional package or program is not installed."""


class ModelError(AntiphonError):
    """A model that cannot be loaded or is of the wrong kind."""


class ModelMissingError(ModelError):
    """A model that is not on this machine."""

    exit_code = 4


class EngineError(AntiphonError):
    """A model that failed while it ran."""


class StorageError(AntiphonError):
    """A path that cannot be read or written."""

    exit_code = 74


class DiskFullError(StorageError):
    """No space left: try again later."""

    exit_code = 75
