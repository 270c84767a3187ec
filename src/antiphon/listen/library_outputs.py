"""What a library run leaves behind: files beside each track, one JSONL, one ledger of failures.

Everything is made from the state, so a run that was interrupted and done again leaves the same
bytes. Knows no worker and no measuring.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from antiphon import exports, files
from antiphon.audio import AUDIO_SUFFIXES
from antiphon.description import Description
from antiphon.errors import ConfigError, StorageError
from antiphon.listen.library_state import Failure, LibraryState, path_identity

logger = logging.getLogger(__name__)

_ANY_PATH = "\0path\0"  # stands in a record for the path; no text holds it
_ANY_PATH_JSON = json.dumps(_ANY_PATH).encode()


@dataclass(frozen=True)
class Outputs:
    """Which files are wanted."""

    jsonl: Path | None = None
    info: bool = False
    captions: bool = False
    overwrite: bool = False  # also texts that another model wrote
    prompt_set: str = "standard"

    @property
    def beside(self) -> bool:
        """Whether anything is written beside the tracks."""
        return self.info or self.captions

    def check(self) -> None:
        """Raise before hours of work for an output that could not be written after them."""
        if self.jsonl is None:
            return
        if not self.jsonl.parent.is_dir():
            raise StorageError(
                f"cannot write {str(self.jsonl)!r}: its folder does not exist; create it first"
            )
        if not os.access(self.jsonl.parent, os.W_OK):
            raise StorageError(
                f"cannot write {str(self.jsonl)!r}: its folder is read-only for you; choose another"
            )
        if not self.jsonl.exists():
            return
        if not self.jsonl.is_file():
            raise ConfigError(f"--jsonl is {str(self.jsonl)!r}, which is no file; name a file")
        if not _holds_records(self.jsonl):  # a file named by mistake would be lost
            raise ConfigError(
                f"{str(self.jsonl)!r} exists and is no JSONL file of descriptions; "
                "choose another for --jsonl, or move it away"
            )

    def ledger(self, roots: Iterable[Path], state_folder: Path, settings_key: str) -> Path:
        """Where failures are listed: beside the JSONL, else in a file of these roots and settings.

        One file for all runs would be lost to the next run, of another folder.
        """
        if self.jsonl is not None:
            return self.jsonl.with_suffix(".failed.jsonl")
        names = sorted({os.fsencode(root.absolute()) for root in roots})
        name = hashlib.blake2b(b"\0".join([settings_key.encode(), *names]), digest_size=16)
        return state_folder / "ledgers" / f"{name.hexdigest()}.jsonl"

    def write_beside(self, track: Path, description: Description) -> None:
        """Write what lies beside `track`.

        Raises StorageError, ConfigError where another track comes first to the same file.
        """
        if self.beside:
            _check_place(track)
        if self.info:
            merged = exports.merge_info(
                track, description, prompt_set=self.prompt_set, overwrite=self.overwrite
            )
            if merged.kept:
                logger.warning(
                    "texts of another model were kept; --overwrite replaces them",
                    extra={"file": str(merged.path), "kinds": ",".join(merged.kept)},
                )
        if self.captions and not exports.write_captions(
            track, description, overwrite=self.overwrite
        ):
            raise StorageError(
                f"{track.stem}.txt beside {track.name} holds something else and was left as it "
                "is; --overwrite replaces it"
            )


@dataclass(frozen=True)
class Standing:
    """One track at the end of a run: neither of the two when it was not reached.

    Both when it was described but something could not be written beside it.
    """

    track: Path
    line: bytes | None  # the Description as a line of JSON
    failure: Failure | None


@dataclass(frozen=True)
class Tally:
    """How many tracks stand where at the end of a run."""

    done: int
    failed: int
    not_reached: int
    ledger: Path | None  # where the failures are listed, if there are any


def to_record(description: Description) -> bytes:
    """What the state keeps of a description: all but the path, which is not the content's."""
    facts = description.facts.with_path(_ANY_PATH)
    return exports.json_line(replace(description, path=_ANY_PATH, facts=facts).to_json())


def from_record(record: bytes, track: Path) -> Description:
    """The description of `track`, which has the content that the record is of."""
    return Description.from_json(_line_of(record, track))


def standings(tracks: Iterable[Path], state: LibraryState) -> Iterator[Standing]:
    """What the state knows of each of `tracks`, in their order."""
    for track in tracks:
        line = None
        trouble = state.find(path_identity(track))
        failure = None if trouble is None else trouble.failure
        identity = state.known_identity(track)
        entry = None if identity is None else state.find(identity)
        if identity is not None and entry is not None and entry.status == "done":
            line = _line_of(state.record(identity), track)
        elif entry is not None and entry.status == "failed":
            failure = entry.failure
        yield Standing(track, line, failure)


def write_results(
    tracks: Iterable[Path], state: LibraryState, jsonl: Path | None, ledger: Path
) -> Tally:
    """Write the JSONL, if wanted, and the ledger of failures in the order of `tracks`.

    Each appears whole or not at all. Without failures there is no ledger.
    """
    try:
        ledger.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise files.storage_error("create", ledger.parent, error) from error
    done = failed = not_reached = 0
    with _writer(jsonl) as write_line, _writer(ledger) as write_failure:
        for standing in standings(tracks, state):
            if standing.line is not None:
                write_line(standing.line)
            if standing.failure is not None:
                data = {"path": os.fspath(standing.track), **asdict(standing.failure)}
                write_failure(exports.json_line(json.dumps(data, ensure_ascii=False)))
                failed += 1
            elif standing.line is not None:
                done += 1
            else:
                not_reached += 1
    if not failed:
        ledger.unlink(missing_ok=True)
    return Tally(done, failed, not_reached, ledger if failed else None)


def _check_place(track: Path) -> None:
    """Raise ConfigError when another track comes first to what lies beside `track`.

    Of song.flac and song.mp3 both would write song.INFO, each over the other, in no certain order.
    """
    suffixes = AUDIO_SUFFIXES | {suffix.upper() for suffix in AUDIO_SUFFIXES} | {track.suffix}
    first = min(other for suffix in suffixes if (other := track.with_suffix(suffix)).exists())
    if not first.samefile(track):
        raise ConfigError(
            f"{track.name} and {first.name} have the same name but for the suffix, so their texts "
            "would go to the same file, which is the first one's; rename one of them"
        )


def _holds_records(path: Path) -> bool:
    """Whether the first line of `path` is a record of ours, or there is none."""
    try:
        with path.open("rb") as file:
            if file.read(1) not in (b"", b"{"):  # a recording may be one line of gigabytes
                return False
            file.seek(0)
            line = file.readline()
        record = json.loads(line) if line else {"path": "", "texts": {}}
    except OSError as error:
        raise files.storage_error("read", path, error) from error
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and {"path", "texts"} <= record.keys()


@contextmanager
def _writer(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    if path is None:
        yield lambda line: None
        return
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        yield file.write


def _line_of(record: bytes, track: Path) -> bytes:
    """The record with the path of `track`, as a line of JSON.

    By text and not through objects, which takes a hundredth of the time: a library has millions.
    """
    path = exports.json_line(json.dumps(os.fspath(track), ensure_ascii=False))
    return record.replace(_ANY_PATH_JSON, path.rstrip(b"\n"))
