"""What is known of a crop that a listener is trained or judged on. T moments (40 ms), C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from antiphon.controls import ENERGIES, GENRES, INSTRUMENTS
from antiphon.data.manifest import Clip

UNKNOWN = -1  # in place of a label that nobody gave
# An instrument that sounds for less of a crop is neither there nor not: it is not judged.
_SHORTEST_MOMENTS = 10


def labels_of(clip: Clip, sounding: NDArray[np.bool_]) -> dict[str, NDArray[np.generic]]:
    """What is known of a crop, as in `listener.ListenerTask.batch` for one row.

    What sounds when is known of music that has a score, and of what is no music: nothing does.
    Else the controls say which instruments are somewhere in the clip; those that they do not name
    are taken not to be there, if they name any.
    """
    controls = clip.controls or {}
    music = True if clip.score is not None else clip.music
    is_music = music is not False
    timed = clip.score is not None or not is_music
    tags = np.full(len(INSTRUMENTS), UNKNOWN, np.float32)
    if timed:
        moments = sounding.sum(0)
        tags[moments >= _SHORTEST_MOMENTS] = 1
        tags[moments == 0] = 0
    elif "instruments" in controls:
        tags = _marked(controls["instruments"], INSTRUMENTS)
    genre = np.full(len(GENRES), UNKNOWN, np.float32)
    if not is_music or controls.get("genre") in GENRES:
        genre = _marked([controls.get("genre")], GENRES)
    energy = controls.get("energy")
    return {
        "timed": np.array(timed),
        "tags": tags,
        "genre": genre,
        "energy": np.array(ENERGIES.index(str(energy)) if energy in ENERGIES else UNKNOWN),
        "music": np.array([UNKNOWN if music is None else music], np.float32),
    }


def _marked(names: object, classes: Sequence[str]) -> NDArray[np.float32]:
    """1 for each of the classes that is named, 0 for the others."""
    named = names if isinstance(names, list | tuple) else [names]
    return np.array([name in named for name in classes], np.float32)
