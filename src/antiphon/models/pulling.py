"""Bring a model into the models folder, from the hub, a mirror of it or a folder.

The only part of antiphon that goes to the network for a model, and only when it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from antiphon.addresses import check_address
from antiphon.errors import ModelError, ModelMissingError, StorageError
from antiphon.files import storage_error
from antiphon.models import hub, transfer
from antiphon.models.finding import file_names, models_folder, resolve
from antiphon.models.hub import Listing, Mirror, UnreachableError
from antiphon.models.manifest import WEIGHT_SUFFIXES, Model, ModelFile
from antiphon.models.places import Folder, Place, Web
from antiphon.models.record import Record, sha256_of, write_record
from antiphon.models.store import CONFIG_NAME, PART_SUFFIX, Stored, locate, locked

DEFAULT_REVISION = "main"


@dataclass(frozen=True)
class PullProgress:
    """How far a pull is; `total_bytes` is None while sizes are not known."""

    file: str
    done_bytes: int
    total_bytes: int | None


@dataclass(frozen=True)
class Pulled:
    """What a pull did: names of the files that came, were here already, and were refused."""

    stored: Stored
    fetched: tuple[str, ...]
    kept: tuple[str, ...]
    pickles: tuple[str, ...]


def pull(
    spec: str,
    models: Path | None = None,
    *,
    source: str | None = None,
    on_progress: Callable[[PullProgress], None] | None = None,
) -> Pulled:
    """Fetch the model `spec` into `models` (None: the setting); what is here and whole is kept.

    `source` is a folder, or the address of a mirror laid out like the hub (None: the hub). Only
    plain data files are fetched. An interrupted pull goes on where it was; two of one model take
    turns.

    Raises ModelMissingError for a name nobody knows or a place that does not have the model,
    ModelError for files that are not what was announced, DiskFullError before the first byte where
    sizes are known, StorageError for everything else on the way.
    """
    models = models_folder(models)
    if source is None and (whole := _put_there_by_hand(spec, models)):
        return Pulled(whole, (), tuple(file.name for file in whole.files), ())
    model, place = _choose(spec, models, source)
    stored = locate(model, models)
    try:
        models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error("write", models, error) from error
    with locked(stored.folder, models):
        return _Pull(model, place, models, on_progress).run()


def _put_there_by_hand(spec: str, models: Path) -> Stored | None:
    """A model that is here whole and that nobody knows where to fetch."""
    stored = (locate(model, models) for model in resolve(spec, models) if model.repo is None)
    return next((one for one in stored if one.state == "complete"), None)


def _choose(spec: str, models: Path, source: str | None) -> tuple[Model, Place]:
    """Which of the models that `spec` may mean, and from where."""
    candidates = resolve(spec, models)
    if source is not None and "://" not in source:
        return _in_folder(candidates, Path(os.path.expanduser(source)))
    # What has begun goes on; then what the hub has.
    begun = [m for m in candidates if locate(m, models).state != "absent"]
    model = next(iter(begun), None) or next((m for m in candidates if m.repo), candidates[0])
    if source is not None:
        check_address(source)
        return model, Web(Mirror(source.rstrip("/"), model.repo))
    if model.repo is None:
        raise ModelMissingError(
            f"it is not known where {model.name!r} can be fetched; give --from FOLDER|URL, or put "
            f"{file_names(model)} into {models / model.folder_name} (ANTIPHON_MODELS is {models})"
        )
    return model, Web(Mirror(hub.HUB, model.repo))


def _in_folder(candidates: Sequence[Model], folder: Path) -> tuple[Model, Place]:
    if not folder.is_dir():
        raise StorageError(f"--from {str(folder)!r} is not a folder; name the one with the files")
    wanted = [[f.name for f in model.files or ()] or [CONFIG_NAME] for model in candidates]
    for model, names in zip(candidates, wanted, strict=True):
        # The folder itself, or a models folder as ours is.
        for path in (folder / model.folder_name, folder):
            if all((path / name).is_file() for name in names):
                return model, Folder(path)
    raise ModelMissingError(
        f"{folder} does not hold {candidates[0].name!r}; expected in it "
        + ", or ".join(" and ".join(names) for names in wanted)
    )


class _Pull:
    """One pull, under the lock of its folder."""

    def __init__(
        self,
        model: Model,
        place: Place,
        models: Path,
        on_progress: Callable[[PullProgress], None] | None,
    ) -> None:
        self._model = model
        self._place = place
        self._models = models
        self._show = on_progress or (lambda progress: None)
        self._stored = locate(model, models)  # again: the one before us may have changed it
        self._folder = self._stored.folder
        self._done = 0

    def run(self) -> Pulled:
        revision = self._model.revision or DEFAULT_REVISION
        try:
            commit = self._place.commit(revision)
            listing = self._place.listing(commit or revision)
        except UnreachableError as error:
            raise StorageError(
                f"{error}; without a network, put {file_names(self._model)} into "
                f"{self._folder} (ANTIPHON_MODELS is {self._models}), or pull --from a folder"
            ) from error
        files = self._plan(listing)
        pickles = listing.pickles if listing and self._model.files is None else ()
        kept = [one for file in files if (one := self._kept(file, commit)) is not None]
        names = {file.name for file in kept}
        to_fetch = [file for file in files if file.name not in names]
        self._check_space(to_fetch)
        record = Record(self._model.repo, commit, str(self._place), (*kept, *to_fetch))
        self._write(record)
        self._fetch(to_fetch, commit or revision, record)
        return Pulled(
            locate(self._model, self._models),
            tuple(file.name for file in to_fetch),
            tuple(file.name for file in kept),
            pickles,
        )

    def _plan(self, listing: Listing | None) -> tuple[ModelFile, ...]:
        """The files to have, with what manifest and place say of them."""
        listed = {file.name: file for file in listing.files} if listing else {}
        if self._model.files is not None:
            return tuple(self._described(file, listed) for file in self._model.files)
        if listing is None:
            raise ModelMissingError(
                f"{self._place} has no list of the files of {self._model.name!r}; check the name, "
                "or use --from with another place"
            )
        if not any(Path(name).suffix.lower() in WEIGHT_SUFFIXES for name in listed):
            pickles = ", ".join(listing.pickles[:3])
            held = f"its weights only as pickles ({pickles}), which can run code" * bool(pickles)
            raise ModelError(
                f"{self._model.name!r} at {self._place} has {held or 'no weights'}; "
                "expected safetensors or GGUF"
            )
        return listing.files

    def _described(self, file: ModelFile, listed: dict[str, ModelFile]) -> ModelFile:
        told = listed.get(file.name)
        if told is None:
            return file
        size = told.size_bytes if file.size_bytes is None else file.size_bytes
        return replace(file, size_bytes=size, sha256=file.sha256 or told.sha256)

    def _kept(self, file: ModelFile, commit: str | None) -> ModelFile | None:
        """What is known of a file that is here and the one that is wanted; else None."""
        path = self._folder / file.name
        if not path.is_file() or file.size_bytes not in (None, path.stat().st_size):
            return None
        record = self._stored.record
        recorded = record.file(file.name) if record else None
        wanted = file.sha256 or self._place.sha256(file.name)
        if recorded and recorded.sha256 and recorded.size_bytes == path.stat().st_size:
            same_version = record is not None and record.revision == commit
            if recorded.sha256 == wanted or (wanted is None and same_version):
                return recorded
        if wanted is None and (recorded or file.size_bytes is None):
            return None  # of another version, or nobody can say
        found = sha256_of(path)
        return ModelFile(file.name, path.stat().st_size, found) if wanted in (None, found) else None

    def _check_space(self, files: list[ModelFile]) -> None:
        needed = 0
        for file in files:
            part = self._folder / (file.name + PART_SUFFIX)
            here = part.stat().st_size if part.is_file() else 0
            needed += max(0, (file.size_bytes or 0) - here)
        transfer.check_space(self._folder, needed)

    def _fetch(self, files: list[ModelFile], revision: str, record: Record) -> None:
        sizes = [file.size_bytes for file in files]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        for file in files:
            part = self._folder / (file.name + PART_SUFFIX)
            self._done += part.stat().st_size if part.is_file() else 0
        for file in files:
            self._make_folder((self._folder / file.name).parent)

            def on_bytes(count: int, name: str = file.name) -> None:
                self._done += count
                self._show(PullProgress(name, self._done, total))

            on_bytes(0)
            found = self._place.fetch(file, revision, self._folder, on_bytes)
            record = replace(
                record, files=tuple(found if f.name == found.name else f for f in record.files)
            )
            self._write(record)

    def _write(self, record: Record) -> None:
        self._make_folder(self._folder)
        write_record(self._folder, record, keep_others=self._model.files is not None)

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("write", folder, error) from error
