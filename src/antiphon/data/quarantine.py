"""The quarantine beside a manifest: files that were put aside, and a table of their rows.

Each change is written down as a plan first. Every step of a plan may be done twice, so whoever
comes after a kill finishes it. Knows no audio.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

from antiphon.data.manifest import Clip, read_manifest, write_manifest
from antiphon.data.sources import QUARANTINE_TABLE
from antiphon.errors import ConfigError, StorageError
from antiphon.files import atomic_write, replacing, storage_error

FOLDER = "quarantine"
_Action = Literal["put aside", "restore"]


@dataclass(frozen=True)
class Entry:
    """A row that was put aside: its `position` in the manifest when those before it had gone, and
    where its file is below the quarantine (None: it stayed, other rows need it)."""

    position: int
    reason: str
    moved_to: str | None
    clip: Clip


class Quarantine:
    """That of one manifest; several in one folder share the folder and the table."""

    def __init__(self, manifest_path: Path) -> None:
        self._manifest = manifest_path
        self.folder = manifest_path.parent / FOLDER
        self.table = self.folder / QUARANTINE_TABLE
        self._plan = self.folder / f"{manifest_path.name}.plan.json"

    def put_aside(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """Move files, take rows from the manifest, note both in the table; the entries as they
        stand there: a name in the quarantine that is taken gives way to another."""
        taken = {entry.moved_to for _, entry in self._rows()}
        place: dict[str, str] = {}  # of each file that goes: several clips may be of one
        named = []
        for one in entries:
            if one.moved_to is not None and one.clip.path not in place:
                place[one.clip.path] = self._free(one.moved_to, taken)
                taken.add(place[one.clip.path])
            moved_to = None if one.moved_to is None else place[one.clip.path]
            named.append(replace(one, moved_to=moved_to))
        if named:
            self._begin("put aside", named)
            self.finish()
        return tuple(named)

    def restore(self) -> tuple[Entry, ...]:
        """Put all of it back; the entries that came back, the last to go first."""
        entries = [entry for name, entry in self._rows() if name == self._manifest.name]
        moved = {entry.moved_to: entry.clip for entry in entries if entry.moved_to is not None}
        for moved_to, clip in moved.items():
            away, home = self.folder / moved_to, self._manifest.parent / clip.path
            if not away.exists():
                raise StorageError(
                    f"cannot restore {str(home)!r}: {str(away)!r} is not there any more; put it "
                    f"back, or take its line out of {self.table}"
                )
            if home.exists():
                raise StorageError(
                    f"cannot restore {str(home)!r}: another file is in its place; move that away"
                )
        if entries:
            self._begin("restore", entries)
            self.finish()
        return tuple(reversed(entries))

    def finish(self) -> int:
        """Do what a plan says that is there; how many rows it was about."""
        if not self._plan.exists():
            return 0
        action, entries = self._read_plan()
        folder = self._manifest.parent
        for entry in entries:
            if entry.moved_to is not None:
                home, away = folder / entry.clip.path, self.folder / entry.moved_to
                _move(*((home, away) if action == "put aside" else (away, home)))
        clips = list(read_manifest(self._manifest).clips)
        ids = {entry.clip.id for entry in entries}
        clips = [clip for clip in clips if clip.id not in ids]
        rows = self._rows()
        ours = {(self._manifest.name, entry.clip.id) for entry in entries}
        rows = [(name, one) for name, one in rows if (name, one.clip.id) not in ours]
        if action == "restore":
            # The last to go comes back first: then each finds the manifest that it was taken from.
            for entry in reversed(entries):
                clips.insert(entry.position, entry.clip)
        else:
            rows += [(self._manifest.name, entry) for entry in entries]
        write_manifest(self._manifest, clips)
        self._write_rows(rows)
        self._plan.with_name(f"{self._plan.name}.lock").unlink(missing_ok=True)  # of a killed run
        self._plan.unlink()
        return len(entries)

    def _free(self, wanted: str, taken: set[str | None]) -> str:
        """A place in the quarantine that holds no other file, as near to `wanted` as can be."""
        path, number = Path(wanted), 1
        while wanted in taken or (self.folder / wanted).exists():
            number += 1
            wanted = path.with_name(f"{path.stem}_{number}{path.suffix}").as_posix()
        return wanted

    def _begin(self, action: _Action, entries: Iterable[Entry]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self.table.exists():  # from here on nobody takes the folder for music
                atomic_write(self.table, b"")
        except OSError as error:
            raise storage_error("write", self.folder, error) from error
        plan = {"action": action, "entries": [asdict(entry) for entry in entries]}
        atomic_write(self._plan, json.dumps(plan).encode())

    def _read_plan(self) -> tuple[_Action, list[Entry]]:
        try:
            plan = json.loads(self._plan.read_bytes())
            action: _Action = "restore" if plan["action"] == "restore" else "put aside"
            return action, [_entry(one) for one in plan["entries"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self._plan} is damaged: {error}; see {self.table} for what was done"
            ) from error

    def _rows(self) -> list[tuple[str, Entry]]:
        """The table: each entry with the name of its manifest."""
        if not self.table.exists():
            return []
        rows = []
        for number, line in enumerate(self.table.read_bytes().splitlines(), start=1):
            try:
                values = json.loads(line)
                rows.append((str(values.pop("manifest")), _entry(values)))
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{self.table}, line {number}, is no entry: {error}; mend or delete the line"
                ) from error
        return rows

    def _write_rows(self, rows: Iterable[tuple[str, Entry]]) -> None:
        lines = [
            json.dumps({"manifest": name, "path": entry.clip.path, **asdict(entry)}) + "\n"
            for name, entry in rows
        ]
        atomic_write(self.table, "".join(lines).encode())


def _entry(values: dict[str, object]) -> Entry:
    clip = values["clip"]
    if not isinstance(clip, dict):
        raise TypeError("clip is no object")
    moved_to = values["moved_to"]
    known = {field.name for field in fields(Clip)}
    return Entry(
        int(str(values["position"])),
        str(values["reason"]),
        None if moved_to is None else str(moved_to),
        Clip(**{name: value for name, value in clip.items() if name in known}),
    )


def _move(source: Path, target: Path) -> None:
    """Move unless that is done; another file is never overwritten. Between file systems it is
    copied whole before the source goes."""
    try:
        if not source.exists():
            return  # an earlier run did it
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            if not filecmp.cmp(source, target, shallow=False):
                raise StorageError(
                    f"cannot move {str(source)!r} to {str(target)!r}: another file is there; move "
                    "that away"
                )
            source.unlink()  # an earlier run was killed when it had copied it
            return
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with replacing(target) as temporary:
                shutil.copy2(source, temporary)
            source.unlink()
    except OSError as error:
        raise storage_error("move", source, error) from error
