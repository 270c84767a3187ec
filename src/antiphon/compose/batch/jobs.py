"""From rows to jobs: which options hold for a row, where its piece goes, and what it is made from.

Knows no model: nothing is computed here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from antiphon.compose.batch import ledger
from antiphon.compose.batch.prompt_files import Row
from antiphon.compose.config_values import CONFIG_NAME
from antiphon.compose.forms import Form, sidecar
from antiphon.compose.options import (
    FILES,
    form_of,
    merged,
    requests_of,
    seed_of,
    slug,
)
from antiphon.compose.requests import Request
from antiphon.errors import ConfigError

FAILURES = "failed.jsonl"
_CHANGES_NO_PIECE = ("threads",)  # of a model's settings


@dataclass(frozen=True)
class Job:
    """A row with everything that its piece is made from; `key` stands for all of it."""

    row: Row
    key: str
    prompt: str
    seed: int
    output: str
    options: Mapping[str, object]

    def requests(self, max_seconds: float) -> tuple[Request, ...]:
        """The piece, or several candidates for it. Raises ConfigError, AudioError or StorageError;
        reads the recordings it names."""
        return requests_of(self.prompt, self.seed, self.options, max_seconds)

    def form(self, folder: Path) -> Form:
        """Raises ConfigError."""
        return form_of(folder / self.output, self.options)


class JobMaker:
    """Makes jobs in the order of the rows: of two with one place the later is refused.

    `defaults` are options for all rows, `seed` is that of row 0, and one more for each row after
    it; `model` is all that is known of the model. The file `prompts` is not written over.
    """

    def __init__(
        self,
        folder: Path,
        defaults: Mapping[str, object],
        seed: int,
        model: Mapping[str, object],
        prompts: Path,
    ) -> None:
        self._folder = folder
        self._defaults = defaults
        self._seed = seed
        used = model.get("settings")
        if isinstance(used, Mapping):
            kept = {name: value for name, value in used.items() if name not in _CHANGES_NO_PIECE}
            model = {**model, "settings": kept}
        self._model = model
        self._checksums: dict[str, str | None] = {}
        own = (folder / FAILURES, folder / ledger.NAME, prompts)
        self._places = _Places()
        self._places.claim(own, (), "which is this run's own")

    def job(self, row: Row) -> Job:
        """Raises ConfigError for a row of which there can be no piece here."""
        if row.problem is not None:
            raise ConfigError(row.problem)
        prompt = row.fields.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError(f"prompt is {prompt!r}; expected what the piece should sound like")
        given = {k: v for k, v in row.fields.items() if k not in ("prompt", "output", "seed")}
        options = merged(self._defaults, given)
        output = self._output(row, prompt, options)
        seed = self._seed + row.number
        if "seed" in row.fields:
            seed = seed_of(row.fields["seed"])
        self._require_recordings_apart(output, options)
        key = self._key(prompt, seed, output, options)
        return Job(row, key, prompt, seed, output, options)

    def _output(self, row: Row, prompt: str, options: Mapping[str, object]) -> str:
        """Where the piece goes, relative to the folder; nothing else may go there any more."""
        usual = f"{row.number:04}-{slug(prompt)}.{options.get('format', 'wav')}"
        output = row.fields.get("output", usual)
        if not isinstance(output, str) or not output.isprintable():
            raise ConfigError(f"output is {output!r}; expected the name of a file such as 'a.wav'")
        parts = PurePath(output)
        path = self._folder / parts
        root = Path(os.path.realpath(self._folder))
        if (
            not parts.name
            or parts.is_absolute()
            or parts.drive
            or ".." in parts.parts
            or not Path(os.path.realpath(path)).is_relative_to(root)
        ):
            raise ConfigError(
                f"output {output!r} leads out of the output folder; expected a name in it, such as "
                "'a.wav' or 'jazz/a.wav'"
            )
        places = {_place(path): path, _place(sidecar(path)): sidecar(path)}
        if len(places) < 2:
            raise ConfigError(
                f"output {output!r} would lie where its own description goes; expected a name that "
                "ends in .wav, .flac, .mp3, .ogg or .opus"
            )
        above = [self._folder / folder for folder in parts.parents][:-1]  # the last is the folder
        owner = f"and so does the row of line {row.line}"
        if (conflict := self._places.claim(places.values(), above, owner)) is not None:
            raise ConfigError(f"output {output!r} needs {conflict}; give it another name")
        return parts.as_posix()

    def _require_recordings_apart(self, output: str, options: Mapping[str, object]) -> None:
        """A piece in the place of what it is made from could not be made again."""
        path = self._folder / output
        for name in FILES:
            given = options.get(name)
            if isinstance(given, str) and _place(Path(given)) in (
                _place(path),
                _place(sidecar(path)),
            ):
                raise ConfigError(
                    f"output {output!r} would take the place of the row's own {name} file; give it "
                    "another name"
                )

    def _key(self, prompt: str, seed: int, output: str, options: Mapping[str, object]) -> str:
        recordings = [self._checksum(options.get(name)) for name in FILES]
        # As text: what a Path or a number of a table is in JSON is no matter of ours.
        made_from = [self._model, prompt, seed, output, dict(options), recordings]
        text = json.dumps(made_from, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def _checksum(self, path: object) -> str | None:
        """Of a recording; None where there is none, of which reading it will tell."""
        if not isinstance(path, str):
            return None
        if path not in self._checksums:
            self._checksums[path] = None
            if os.path.isfile(path):
                try:
                    with open(path, "rb") as file:
                        self._checksums[path] = hashlib.file_digest(file, "sha256").hexdigest()
                except OSError:
                    pass  # reading it will tell
        return self._checksums[path]


class _Places:
    """Which paths are taken and by whom: as files, or as the folders these lie in."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def claim(self, files: Collection[Path], folders: Collection[Path], owner: str) -> str | None:
        """Take them; what is in the way of that, if anything is."""
        for path in (*files, *folders):
            taken = self._files.get(_place(path))
            if taken is None and path in files:
                taken = self._folders.get(_place(path))
            if taken is not None:
                return f"{str(path)!r}, {taken}"
        self._files |= {_place(path): owner for path in files}
        self._folders |= {_place(path): owner for path in folders}
        return None


def checksum_of_model(folder: Path, adapters: Sequence[Path], memory: Path) -> str:
    """Of what a model, with its own score adapter or other adapters, is loaded from; see
    `weights.fingerprint`. Raises ModelError."""
    # Not with the module: the synth needs none of what these load.
    from antiphon.compose.conversion.exported import read_exported
    from antiphon.compose.loading import ADAPTER_NAME
    from antiphon.compose.lora import LORA_CONFIG_NAME, LORA_WEIGHTS_NAME
    from antiphon.compose.text import TOKENIZER_NAME
    from antiphon.weights import WEIGHTS_NAME, fingerprint, weight_files

    exported = read_exported(folder)
    parts = weight_files(folder) if exported is None else [folder / n for n in exported.files]
    described = [folder / CONFIG_NAME, folder / TOKENIZER_NAME]
    found = dict.fromkeys([*parts, *(path for path in described if path.is_file())])
    names = (CONFIG_NAME, WEIGHTS_NAME, LORA_CONFIG_NAME, LORA_WEIGHTS_NAME)
    # One that is named twice is added twice.
    more = [place / name for place in (folder / ADAPTER_NAME, *adapters) for name in names]
    return fingerprint((*found, *(path for path in more if path.is_file())), memory)


def _place(path: Path) -> str:
    """The same for all names of one file, also where capitals make no difference."""
    return os.path.realpath(path).casefold()
