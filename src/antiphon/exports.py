"""Descriptions into files that other tools read: `.INFO` sidecars, caption files, JSON lines.

Knows no model and makes no text.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from antiphon.description import Description, Provenance
from antiphon.errors import StorageError
from antiphon.files import atomic_write, replacing, storage_error

INFO_PREFIX = "music_flamingo_"
INFO_MODEL_KEY = INFO_PREFIX + "model"
_MODEL_SUFFIX = "_model"
_FULL_MIX = "full_mix"  # the captioning tool's name for the track in a track's own folder

_TYPOGRAPHIC_TO_ASCII = str.maketrans(
    {
        "\u2010": "-",  # hyphen
        "\u2011": "-",  # non-breaking hyphen
        "\u2013": "-",  # en dash
        "\u2014": "--",  # em dash
        "\u202f": " ",  # narrow no-break space
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
    }
)
# Readers that split lines the Unicode way would break a JSON line at these.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
# Stand for the bytes of a file name that is not UTF-8; UTF-8 has no form for them.
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class InfoMerge:
    """What became of the texts, by kind; `kept` are those of another model, left as they were."""

    path: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]


def normalise_for_t5(text: str) -> str:
    """Typographic dashes, quotes and spaces to ASCII, then NFKC; letters such as ä are kept.

    A T5 tokenizer knows none of these signs and would make each an unknown token. In a text that
    is JSON they are replaced within its strings, so that it stays JSON.
    """
    if text[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return json.dumps(_normalised(json.loads(text)), ensure_ascii=False)
    return _normalised_text(text)


def _normalised(value: object) -> object:
    if isinstance(value, str):
        return _normalised_text(value)
    if isinstance(value, list):
        return [_normalised(item) for item in value]
    if isinstance(value, dict):
        return {_normalised_text(name): _normalised(item) for name, item in value.items()}
    return value


def _normalised_text(text: str) -> str:
    ascii_signs = text.translate(_TYPOGRAPHIC_TO_ASCII)
    # Again at the end: NFKC makes dashes of vertical and small ones.
    return unicodedata.normalize("NFKC", ascii_signs).translate(_TYPOGRAPHIC_TO_ASCII)


def info_path(track: Path) -> Path:
    """`<stem>.INFO` beside the track; `<folder>/<folder name>.INFO` for a track `full_mix.*`."""
    folder_name = os.path.basename(os.path.dirname(os.path.abspath(track)))
    stem = folder_name if track.stem == _FULL_MIX and folder_name else track.stem
    return track.with_name(f"{stem}.INFO")


def info_key(prompt_set: str, kind: str) -> str:
    """The `.INFO` key of a text: `music_flamingo_<kind>`, with the set's name unless standard."""
    return INFO_PREFIX + (kind if prompt_set == "standard" else f"{prompt_set}_{kind}")


def info_model(provenance: Provenance) -> str:
    """The model as `.INFO` files name it: `gguf_Q6_K` for a GGUF file, as other tools write it."""
    quantisation = provenance.settings.get("quantisation")
    return f"gguf_{quantisation}" if quantisation else provenance.model


def merge_info(
    track: Path, description: Description, *, prompt_set: str, overwrite: bool = False
) -> InfoMerge:
    """Put the texts into the track's `.INFO`, keeping all keys of other tools and their order.

    Texts of the same model are refreshed, those of another only with `overwrite`.
    `music_flamingo_model` names the model of every text in the file; where two models share a
    file it stays with the first, and the others' texts carry `<key>_model`.

    Raises StorageError for a damaged or unwritable `.INFO`, which is then left as it was.
    """
    path = info_path(track)
    if path.is_symlink():
        raise StorageError(
            f"{str(path)!r} is a symbolic link; expected a file of the track's own folder: "
            "put the file itself there, or remove the link"
        )
    kinds = {info_key(prompt_set, kind): kind for kind in description.texts}
    texts = {key: normalise_for_t5(description.texts[kind]) for key, kind in kinds.items()}
    with replacing(path) as temporary:
        content = _read_info(path)
        written = _merge_texts(content, texts, info_model(description.provenance), overwrite)
        text = json.dumps(content, indent=2, ensure_ascii=False)
        temporary.write_bytes(_LONE_SURROGATES.sub(_json_escape, text).encode())
    return InfoMerge(
        path,
        written=tuple(kind for key, kind in kinds.items() if key in written),
        kept=tuple(kind for key, kind in kinds.items() if key not in written),
    )


def write_captions(track: Path, description: Description, *, overwrite: bool = False) -> bool:
    """Write `<stem>.txt` beside the track, one text per line; True if it now holds the texts.

    A file that holds something else, lyrics for example, is left alone unless `overwrite`.
    Raises StorageError.
    """
    path = track.with_name(f"{track.stem}.txt")
    lines = [" ".join(normalise_for_t5(text).split()) for text in description.texts.values()]
    data = "".join(f"{line}\n" for line in lines).encode()
    if os.path.lexists(path) and not overwrite and _read(path) != data:
        return False
    # Also where it holds them already: a killed writer's lock is cleared by the next write.
    atomic_write(path, data)
    return True


def json_line(json_text: str) -> bytes:
    """What `to_json` of a description or of facts gave, as one line of a JSON lines file.

    A byte 0xff of a file name that is not UTF-8 is written as the four characters `\\xff`: strict
    readers refuse the whole file otherwise.
    """
    text = _LINE_ENDS.sub(_json_escape, json_text)
    text = _LONE_SURROGATES.sub(lambda sign: rf"\\x{ord(sign[0]) & 0xFF:02x}", text)
    return f"{text}\n".encode()


def _merge_texts(
    content: dict[str, object], texts: Mapping[str, str], model: str, overwrite: bool
) -> frozenset[str]:
    """Put `texts` by key into `content`; the keys that were written."""
    shared = content.get(INFO_MODEL_KEY)
    makers = {
        key: content.get(key + _MODEL_SUFFIX, shared)
        for key, text in content.items()
        if key.startswith(INFO_PREFIX) and not key.endswith(_MODEL_SUFFIX) and text
    }
    written = frozenset(key for key in texts if overwrite or makers.get(key, model) == model)
    for key in written:
        makers[key] = model
    if all(maker == model for maker in makers.values()):
        shared = model
    content.update((key, text) for key, text in texts.items() if key in written)
    if shared is not None:
        content[INFO_MODEL_KEY] = shared
    for key, maker in makers.items():
        if maker == shared:
            content.pop(key + _MODEL_SUFFIX, None)
        else:
            content[key + _MODEL_SUFFIX] = maker
    return written


def _read_info(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        content = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(path, f"it holds a {type(content).__name__}")
    return content


def _damaged(path: Path, problem: str) -> StorageError:
    return StorageError(
        f"{str(path)!r} is not a JSON object ({problem}); it was left as it is: "
        "repair it or move it away"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise storage_error("read", path, error) from error


def _json_escape(sign: re.Match[str]) -> str:
    return f"\\u{ord(sign[0]):04x}"
