"""Audio to codes: the clips of a manifest through a codec, into shards, and what is said of them
through a text encoder. Knows no training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.audio import read, with_channels
from antiphon.compose.checkpoint import read_codec_config
from antiphon.compose.codecs import AudioCodec
from antiphon.compose.codecs.magnitude import magnitude_checksum
from antiphon.compose.codecs.magnitude_config import MagnitudeConfig
from antiphon.compose.codecs.opening import open_codec
from antiphon.compose.score_frames import VERSION as SCORE_FRAMES
from antiphon.compose.score_frames import WIDTH, score_frames
from antiphon.data.manifest import Clip, Manifest, read_score
from antiphon.data.running import Item, Record, Result, RunOptions, key_of, run_items
from antiphon.data.shards import (
    PATTERN,
    SCHEMA_VERSION,
    CodecIdentity,
    CodedClip,
    TextEncoderIdentity,
    made_from_of,
    read_shard,
    write_shard,
)
from antiphon.data.text_states import (
    TextStates,
    open_text_encoder,
    text_encoder_identity,
    tokenizer_checksum,
)
from antiphon.errors import AntiphonError, ConfigError, DiskFullError, EngineError
from antiphon.weights import FINGERPRINTS_NAME, fingerprint, weight_files

LEDGER_NAME = ".preprocess.jsonl"
SHARD_CLIPS = 128
SHARD_SECONDS = 7200.0  # of sound: what a kill may cost, and what a reader holds
_TRACK_SECONDS = 600.0  # of sound in a shard have the time that a run gives a track


@dataclass(frozen=True)
class Coding:
    """How clips become codes; `codebooks` are those used of a codec that offers a choice.

    A shard has up to `shard_clips` clips and `shard_seconds` of sound, one clip at least.
    `text_encoder` is the folder of a T5 or a MusicGen; None: shards hold no states of texts.
    """

    codec: Path
    cache: Path
    codebooks: int | None = None
    shard_clips: int = SHARD_CLIPS
    shard_seconds: float = SHARD_SECONDS
    text_encoder: Path | None = None


@dataclass(frozen=True)
class Failure:
    """A clip that is in no shard, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Preprocessed:
    """What came of it; `unread` are the clips that failed. Not `is_complete`: it was stopped."""

    result: Result
    clips: int
    seconds: float
    unread: tuple[Failure, ...]


def preprocess(
    manifest: Manifest, coding: Coding, folder: Path, options: RunOptions
) -> Preprocessed:
    """Encode the clips of `manifest` into shards in `folder`.

    The same call again makes what is missing; shards of clips that changed are made anew, and those
    that are no longer needed go at the end. A clip that cannot be read, or whose texts have no
    states in float16, is left out and told. The time limit of `options` is that of a track, and of
    every ten minutes of sound in a shard.
    Raises ConfigError for a manifest without clips, ModelError for a codec or text encoder that is
    none, StorageError (DiskFullError).
    """
    if not manifest.clips:
        raise ConfigError("the manifest holds no clips; expected one at least")
    codec = open_codec(coding.codec, cache=coding.cache, codebooks=coding.codebooks)
    scored = any(clip.score for clip in manifest.clips)
    identity = _identity(coding, codec, scored)
    text_identity, texts_by = _text_encoder_of(coding)
    codes_by = dataclasses.asdict(identity)
    items = []
    for number, clips in enumerate(_parts(manifest.clips, coding)):
        # Whether it is music changes no code.
        made_from = [
            {name: value for name, value in dataclasses.asdict(clip).items() if name != "music"}
            for clip in clips
        ]
        key = key_of(
            "preprocess", SCHEMA_VERSION, codes_by, SCORE_FRAMES, texts_by, number, made_from
        )
        items.append(Item(key, f"shard {number}", _Part(number, clips, key)))
    work = _Encoding(coding, identity, text_identity, manifest.folder, folder)
    longest = max(item.payload.seconds for item in items)
    timeout = options.timeout_seconds * max(1.0, longest / _TRACK_SECONDS)
    options = dataclasses.replace(options, timeout_seconds=timeout)

    def still_there(item: Item[_Part], record: Record) -> bool:
        if options.retry_failed and record["unread"]:
            return False
        path = folder / _name(item.payload.number)
        return made_from_of(path) == item.key and _is_whole(path)

    result = run_items(items, work, folder / LEDGER_NAME, options, still_there)
    if result.is_complete:
        # Those of clips that are no more, or are in another split now.
        _drop_others(folder, {str(record["shard"]) for record in result.records})
    unread = [
        Failure(str(one["id"]), str(one["reason"]))
        for record in result.records
        for one in _list(record["unread"])
    ]
    seconds = sum(float(str(record["seconds"])) for record in result.records)
    coded = sum(int(str(record["clips"])) for record in result.records)
    return Preprocessed(result, coded, seconds, tuple(unread))


@dataclass(frozen=True)
class _Part:
    """The clips of one shard."""

    number: int
    clips: tuple[Clip, ...]
    key: str

    @property
    def seconds(self) -> float:
        return sum(clip.seconds for clip in self.clips)


@dataclass(frozen=True)
class _Encoding:
    """The work of `preprocess`, as a worker is given it."""

    coding: Coding
    identity: CodecIdentity
    text_identity: TextEncoderIdentity | None
    root: Path
    folder: Path

    def open(self) -> Callable[[_Part], Record]:
        coding = self.coding
        codec = open_codec(coding.codec, cache=coding.cache, codebooks=coding.codebooks)
        texts = None
        if coding.text_encoder is not None:
            texts = TextStates(open_text_encoder(coding.text_encoder, coding.cache))
        return lambda part: self._encode(codec, texts, part)

    def _encode(self, codec: AudioCodec, texts: TextStates | None, part: _Part) -> Record:
        coded: list[CodedClip] = []
        unread: list[dict[str, str]] = []
        for clip in part.clips:
            try:
                coded.append(_with_states(self._coded(codec, clip), texts))
            except DiskFullError:
                raise
            except AntiphonError as error:
                unread.append({"id": clip.id, "reason": str(error)})
        path = self.folder / _name(part.number)
        write_shard(path, self.identity, coded, part.key, self.text_identity)
        seconds = sum(clip.codes.shape[1] for clip in coded) / self.identity.frame_rate
        return {"shard": path.name, "clips": len(coded), "seconds": seconds, "unread": unread}

    def _coded(self, codec: AudioCodec, clip: Clip) -> CodedClip:
        end = clip.end_seconds
        recording = read(
            self.root / clip.path,
            sample_rate=codec.sample_rate,
            mono=codec.channels == 1,
            start_seconds=clip.start_seconds,
            duration_seconds=None if end is None else end - clip.start_seconds,
        )
        codes = codec.encode(with_channels(recording.waveform.samples, codec.channels))
        frames = None
        if self.identity.score_width:
            frames = np.zeros((codes.shape[1], WIDTH), np.int8)
        if clip.score is not None:
            score = read_score(self.root / clip.score)
            exact = score_frames(score, codec.frame_rate, codes.shape[1])
            frames = np.rint(exact * 127).astype(np.int8)
        return CodedClip(
            clip.id,
            clip.split,
            codes.astype(np.uint16),
            clip.caption,
            clip.controls,
            clip.licence,
            frames,
        )


def _with_states(clip: CodedClip, texts: TextStates | None) -> CodedClip:
    if texts is None:
        return clip
    return dataclasses.replace(
        clip,
        caption_states=texts.of_caption(clip.caption),
        prompt_states=texts.of_prompt(clip.caption, clip.controls),
    )


def _parts(clips: Sequence[Clip], coding: Coding) -> list[tuple[Clip, ...]]:
    """The clips of each shard, in their order."""
    parts: list[list[Clip]] = []
    seconds = 0.0
    for clip in clips:
        seconds += clip.seconds
        is_full = bool(parts) and len(parts[-1]) >= coding.shard_clips
        if not parts or is_full or seconds > coding.shard_seconds:
            parts.append([])
            seconds = clip.seconds
        parts[-1].append(clip)
    return [tuple(part) for part in parts]


def _text_encoder_of(coding: Coding) -> tuple[TextEncoderIdentity | None, object]:
    """The text encoder's identity, and plain data for all that states of texts are made from."""
    folder, cache = coding.text_encoder, coding.cache
    if folder is None:
        return None, None
    open_text_encoder(folder, cache)  # what is wrong with it is told before any clip is read
    identity = text_encoder_identity(folder, cache)
    return identity, [dataclasses.asdict(identity), tokenizer_checksum(folder, cache)]


def checksum_of(folder: Path, cache: Path) -> str:
    """What tells a model from others: the hash of its files. Raises ModelError, StorageError."""
    return fingerprint(weight_files(folder), cache / FINGERPRINTS_NAME)


def codec_checksum(folder: Path, cache: Path) -> str:
    """What tells a codec from others: the hash of its files, and of a magnitude codec that of its
    values, in whatever file and precision they lie. Raises ModelError, StorageError."""
    if isinstance(read_codec_config(folder), MagnitudeConfig):
        return magnitude_checksum(folder)
    return checksum_of(folder, cache)


def _identity(coding: Coding, codec: AudioCodec, scored: bool) -> CodecIdentity:
    if codec.codebook_size > 1 << 16:
        raise EngineError(f"codes run to {codec.codebook_size}; a shard holds numbers of 16 bits")
    return CodecIdentity(
        codec_checksum(coding.codec, coding.cache),
        coding.codec.resolve().name,
        codec.sample_rate,
        codec.channels,
        codec.frame_rate,
        codec.codebooks,
        codec.codebook_size,
        WIDTH if scored else 0,
    )


def _is_whole(path: Path) -> bool:
    """Whether all of a shard can be read: a damaged one is made anew."""
    try:
        read_shard(path)
    except AntiphonError:
        return False
    return True


def _name(number: int) -> str:
    return f"codes-{number:05}.parquet"


def _drop_others(folder: Path, names: set[str]) -> None:
    for path in folder.glob(PATTERN):
        if path.name not in names:
            path.unlink()


def _list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []
