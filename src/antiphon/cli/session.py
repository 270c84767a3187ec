"""A composing session: the settings as they are now, what was composed, and what may be typed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.cli import composing, console
from antiphon.cli.generate import delivered_lines, understood_lines
from antiphon.cli.player import Player
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.compose.composer import Composer
    from antiphon.compose.delivery import Delivered
    from antiphon.compose.requests import Performance

HELP = (
    "a prompt       is composed with the settings as they are\n"
    "/tempo 92      one thing is changed, and it is composed again; also\n"
    "               {options}\n"
    "/clear tempo   leave it to the music again; /clear alone: all of them\n"
    "/seed 7        that seed; /seed alone: a new one\n"
    "/again         the same with the next seed\n"
    "/history       what was composed, with numbers\n"
    "/back N        the settings of number N\n"
    "/save FILE     a copy of the last piece and its description; of its score as .mid\n"
    "/play          the last piece\n"
    "/settings      what holds now\n"
    "/quit          the end (also Ctrl-D)"
)
HISTORY = "history.jsonl"


@dataclass(frozen=True)
class Asked:
    """What a piece is made from; `prompt` is empty until there is one."""

    prompt: str
    seed: int
    options: Mapping[str, object]

    def lines(self) -> list[str]:
        values = {"prompt": self.prompt or "none yet", "seed": self.seed, **self.options}
        return [f"{name}: {_shown(value)}" for name, value in values.items()]


@dataclass(frozen=True)
class Take:
    """A piece of the session; `changed` says what was changed in number `before`."""

    number: int
    asked: Asked
    changed: str
    before: int | None
    delivered: Delivered

    def to_dict(self) -> dict[str, object]:
        return {
            "number": self.number,
            "prompt": self.asked.prompt,
            "seed": self.asked.seed,
            "settings": dict(self.asked.options),
            "changed": self.changed,
            "before": self.before,
            "path": self.delivered.path.name,
            "seconds": self.delivered.seconds,
            "adherence": self.delivered.adherence,
        }


@dataclass
class Session:
    """The settings as they are now, and what was composed; `last` is what /save and /play mean."""

    composer: Composer
    folder: Path
    max_seconds: float
    asked: Asked
    takes: list[Take] = field(default_factory=list)
    last: Take | None = None
    player: Player = field(default_factory=Player)
    _saved: set[Path] = field(default_factory=set)  # notes that /save has written

    def do(self, line: str) -> bool:
        """One line of the user; True at the end."""
        from antiphon.compose.options import NAMES, suggestion

        if not line.startswith("/"):
            self._play_with(Asked(line, self.asked.seed, self.asked.options), "prompt")
            return False
        word, _, argument = line[1:].partition(" ")
        word, argument = word.lower().replace("-", "_"), argument.strip()
        if word in ("quit", "exit"):
            return True
        if word in NAMES:
            self._set(word, argument)
        elif word in _COMMANDS:
            _COMMANDS[word](self, argument)
        else:
            known = [f"/{name}" for name in (*_COMMANDS, "quit", *NAMES)]
            raise ConfigError(
                f"command {f'/{word}'!r} is not known{suggestion(f'/{word}', known)}; /help lists "
                "them all"
            )
        return False

    def accepted(self, asked: Asked) -> Performance:
        """The piece, ready to be played. Raises ConfigError for settings that the model cannot play
        or no file takes."""
        from antiphon.compose.options import form_of, requests_of

        renderer = self.composer.renderer
        form = form_of(Path(f"a.{asked.options.get('format', 'wav')}"), asked.options)
        form.fitted(renderer.sample_rate, renderer.channels)
        return renderer.perform(
            requests_of(asked.prompt, asked.seed, asked.options, self.max_seconds)
        )

    def _set(self, name: str, argument: str) -> None:
        from antiphon.compose.options import FLAGS, merged

        value: object = argument
        if not argument and name in FLAGS:
            value = argument = "true"
        if not argument:
            now = self.asked.options.get(name)
            console.note(f"{name}: {'left to the music' if now is None else _shown(now)}")
            return
        if name == "section":  # one after the other
            before = self.asked.options.get(name, [])
            value = [*before, argument] if isinstance(before, list) else [argument]
        options = merged(self.asked.options, {name: value})
        asked = Asked(self.asked.prompt, self.asked.seed, options)
        self._play_with(asked, f"{name} {argument}")

    def _clear(self, argument: str) -> None:
        name = argument.lower().removeprefix("/").replace("-", "_")
        given = self.asked.options
        if not given or (name and name not in given):
            raise ConfigError(
                f"/clear {argument}: it is not set; what is set: {', '.join(given) or 'nothing'}"
            )
        options = {k: v for k, v in given.items() if name and k != name}
        asked = Asked(self.asked.prompt, self.asked.seed, options)
        self._play_with(asked, f"{name or 'all'} cleared")

    def _seed(self, argument: str) -> None:
        from antiphon.compose.options import seed_of
        from antiphon.score import drawn_seed

        seed = seed_of(argument) if argument else drawn_seed()
        self._play_with(Asked(self.asked.prompt, seed, self.asked.options), f"seed {seed}")

    def _again(self, argument: str) -> None:
        if not self.asked.prompt:
            raise ConfigError("nothing was composed yet; type a prompt")
        self._seed(str(self.asked.seed + 1))

    def _play_with(self, asked: Asked, changed: str) -> None:
        """Take the settings over if the model accepts them; compose, if there is a prompt."""
        performance = self.accepted(asked)
        self.asked = asked
        if asked.prompt:
            self._compose(performance, changed)
        else:
            console.note(f"{changed}; now type a prompt")

    def _compose(self, performance: Performance, changed: str) -> None:
        from antiphon.compose.delivery import deliver
        from antiphon.compose.options import form_of, slug
        from antiphon.files import storage_error

        asked = self.asked
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("write", self.folder, error) from error
        number = self._next_number()
        suffix = asked.options.get("format", "wav")
        path = self.folder / f"{number:03}-{slug(asked.prompt)}-{asked.seed}.{suffix}"
        for line in understood_lines(asked.prompt):
            console.note(line)
        samples = sum(plan.samples for plan in performance.plans)
        pace = composing.Pace(samples, self.composer.sample_rate)
        with composing.shown_pace(pace) as tell:
            form = form_of(path, asked.options)
            (delivered,) = deliver(self.composer, performance, [form], tell)
        before = None if self.last is None else self.last.number
        self.last = Take(number, asked, changed, before, delivered)
        self.takes.append(self.last)
        console.print_text("\n".join([f"{number}: {changed}", *delivered_lines(delivered)]))
        self._remember(self.last)

    def _next_number(self) -> int:
        """One more than the highest in the folder, which may hold an earlier session."""
        found = (re.match(r"(\d+)-", path.name) for path in self.folder.iterdir())
        return 1 + max((int(match[1]) for match in found if match), default=0)

    def _remember(self, take: Take) -> None:
        from antiphon.files import storage_error

        path = self.folder / HISTORY
        try:
            with path.open("ab") as file:
                file.write(f"{json.dumps(take.to_dict())}\n".encode())
        except OSError as error:
            raise storage_error("write", path, error) from error

    def _history(self, argument: str) -> None:
        if not self.takes:
            console.note("nothing was composed yet; type a prompt")
        for take in self.takes:
            mark = "*" if take is self.last else " "
            console.print_text(
                f"{mark} {take.number}  {take.asked.prompt}  ({take.changed}; seed "
                f"{take.asked.seed})  {take.delivered.path.name}"
            )

    def _back(self, argument: str) -> None:
        take = next((take for take in self.takes if str(take.number) == argument), None)
        if take is None:
            numbers = ", ".join(str(take.number) for take in self.takes) or "none yet"
            raise ConfigError(f"/back {argument or 'alone'}: expected a number of: {numbers}")
        self.asked, self.last = take.asked, take
        self._settings("")

    def _settings(self, argument: str) -> None:
        from antiphon.compose.requests import Request

        model = self.composer.renderer.provenance(Request("", 0))["model"]
        console.print_text("\n".join([f"model: {model}", *self.asked.lines()]))

    def _save(self, argument: str) -> None:
        from antiphon.compose.delivery import write_sidecar
        from antiphon.compose.forms import require_place_for_sidecar, sidecar
        from antiphon.files import replacing
        from antiphon.midi import write_midi

        piece = self._last_piece()
        if not argument:
            raise ConfigError("/save needs the name of a file")
        target = Path(os.path.expanduser(argument))
        if not target.suffix:
            target = target.with_name(target.name + piece.path.suffix)
        if target.suffix.lower() != piece.path.suffix.lower():
            raise ConfigError(
                f"{str(target)!r} would be a copy of a {piece.path.suffix} file; expected a name "
                f"that ends so, or /format {target.suffix[1:].lower()} first"
            )
        require_place_for_sidecar(target)
        notes = target.with_suffix(".mid")
        if piece.score is not None and notes.exists() and notes not in self._saved:
            raise ConfigError(f"{str(notes)!r} is there, and the notes go there; give another name")
        self._saved.add(notes)
        with replacing(target) as temporary:
            shutil.copyfile(piece.path, temporary)
        write_sidecar(replace(piece, path=target))
        saved = [target, sidecar(target)]
        if piece.score is not None:
            saved.append(notes)
            write_midi(piece.score, notes)
        console.note(f"saved to {', '.join(map(str, saved))}")

    def _play(self, argument: str) -> None:
        path = self._last_piece().path
        console.note(f"{self.player.play(path)} plays {path}")

    def _last_piece(self) -> Delivered:
        if self.last is None:
            raise ConfigError("nothing was composed yet; type a prompt")
        return self.last.delivered

    def _help(self, argument: str) -> None:
        console.note(help_text())


_COMMANDS: Mapping[str, Callable[[Session, str], None]] = {
    "clear": Session._clear,
    "seed": Session._seed,
    "again": Session._again,
    "history": Session._history,
    "back": Session._back,
    "save": Session._save,
    "play": Session._play,
    "settings": Session._settings,
    "help": Session._help,
}


def help_text() -> str:
    """What can be typed."""
    from antiphon.compose.options import NAMES

    return HELP.format(options=", ".join(f"/{name}" for name in NAMES if name != "tempo"))


def _shown(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
