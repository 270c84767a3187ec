"""The task of training a composer: codes, what is said of them, and their score."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from antiphon import settings
from antiphon.audio import Waveform, write
from antiphon.compose.checkpoint import read_codec_config
from antiphon.compose.codecs.magnitude import read_codebooks
from antiphon.compose.codecs.magnitude_config import MagnitudeConfig
from antiphon.compose.codecs.opening import open_codec
from antiphon.compose.composer import PACKAGED_NAME
from antiphon.compose.prompt import render
from antiphon.compose.score_frames import WIDTH
from antiphon.compose.text import MAX_TEXT_TOKENS, load_tokenizer
from antiphon.controls import Controls
from antiphon.data.loading import Corpus
from antiphon.data.manifest import Split
from antiphon.data.preprocessing import checksum_of, codec_checksum
from antiphon.data.shards import CodecIdentity, CodedClip
from antiphon.errors import ConfigError
from antiphon.models.finding import find
from antiphon.train.base import parts_of, require_same_parts, resolved, text_encoder_of
from antiphon.train.composer_model import END, CodeShape, adapter_of, musicgen_of
from antiphon.train.composer_shape import ComposerShape, Row
from antiphon.train.config import ComposerConfig
from antiphon.train.exporting import Trained, write_card, write_composer
from antiphon.train.lora import change_of
from antiphon.train.resuming import require_same_data
from antiphon.train.sampling import sampled_codes
from antiphon.train.task import Batch
from antiphon.train.tokenizer import new_tokenizer

_BEGINNINGS = 0.3  # of crops begin where the clip does
_VALIDATION = 1 << 40  # positions that no training step has
_SAMPLE_SECONDS = 10.0
_SAMPLE_FORMAT = "flac"


class ComposerTask(ComposerShape):
    """Implements `Task`."""

    def __init__(self, config: ComposerConfig, *, needs_codec: bool = True) -> None:
        """Without the codec of the codes it can show batches, and is not to be exported.

        Raises ConfigError for data that cannot be trained on, ModelMissingError or ModelError for a
        base that cannot be used, StorageError.
        """
        if not config.data.codes:
            raise ConfigError(
                "data.codes is empty; expected a folder that 'antiphon data preprocess' wrote: "
                "data.codes=DIR"
            )
        folder = Path(config.data.codes)
        self._train = _corpus(config, "train")
        codec = self._train.codec
        if codec.score_width not in (0, WIDTH):
            raise ConfigError(
                f"the scores in {folder} have {codec.score_width} numbers a frame; expected "
                f"{WIDTH}: preprocess again, with this version"
            )
        super().__init__(config, shape_of(codec))
        self._parts = parts_of(self.config.model)
        held = _corpus(config, "validation")
        self._held = held if len(held) else None
        if not len(self._train):
            raise ConfigError(f"{folder} holds no clip of the split train; expected some")
        self._codec_folder = codec_folder(self.config)
        if needs_codec:
            _require_codec(self._codec_folder, codec, folder)
        model = self.config.model
        is_magnitude = needs_codec and isinstance(
            read_codec_config(self._codec_folder), MagnitudeConfig
        )
        if model.trains_text and not model.begin and is_magnitude:
            self.model.begin_tables(read_codebooks(self._codec_folder), config.training.seed)
        if self.config.model.tune == "adapter" and not codec.score_width:
            raise ConfigError(
                f"model.tune is adapter, and no clip in {folder} has a score; expected codes of "
                "clips with scores, such as 'antiphon data synthesize' makes"
            )
        self.tokenizer: Tokenizer | None = None
        if self.model.text_encoder is None:
            self._require_states(folder)
        else:
            texts = (
                render(said.caption or "", Controls.from_options(dict(said.controls or {})))
                for said in self._train.texts()
            )
            begin = self.config.model.begin
            self.tokenizer = (
                load_tokenizer(find(begin), self.model.musicgen.text)
                if begin
                else new_tokenizer(texts, config.model.vocabulary)
            )
        self._licences = Counter(licence or "not known" for licence in self._train.licences())

    @property
    def kept(self) -> Mapping[str, str]:
        """See `Task`."""
        return {
            "tokenizer": "" if self.tokenizer is None else self.tokenizer.to_str(),
            "data": self._train.checksum,
            "codec": json.dumps(dataclasses.asdict(self._train.codec)),
            "licences": json.dumps(self._licences),
            **self._parts,
        }

    @property
    def notes(self) -> Sequence[str]:
        """See `Task`."""
        found = [f"left out, since it is damaged: {path}" for path in self._train.damaged]
        if self.config.model.score_adapter and not self._train.codec.score_width:
            found.append("no clip has a score: the score adapter learns nothing")
        return found

    def adopt(self, kept: Mapping[str, str]) -> None:
        """See `Task`."""
        require_same_data(kept, self.kept)
        require_same_parts(kept, self._parts)
        if self.tokenizer is not None:
            self.tokenizer = Tokenizer.from_str(kept["tokenizer"])

    def begin(self) -> None:
        """See `Task`."""

    def batch(self, position: int, rank: int, world: int) -> Batch:
        """See `Task`; what is in it is said in `ComposerShape.batch_of`."""
        training = self.config.training
        count = training.batch_size
        first = position * count * world + rank * count
        # The run's lengths one after the other, each for an equal part of it.
        step = position // training.accumulate
        part = min(step * len(self.lengths) // training.max_steps, len(self.lengths) - 1)
        seed, frames = training.seed, self.lengths[part]
        return self.batch_of(
            [
                self._row(self._train.clip(seed, place), place, frames, seed)
                for place in range(first, first + count)
            ]
        )

    def validation_batch(self, number: int) -> Batch | None:
        """See `Task`: crops of the last length, with everything that is known of them."""
        if self._held is None:
            return None
        count = self.config.training.batch_size
        held, frames = self._held, self.lengths[-1]
        return self.batch_of(
            [
                self._row(held.clip(0, place), place, frames, 0, held=True)
                for place in range(number * count, (number + 1) * count)
            ]
        )

    def units(self, batch: Batch) -> int:
        """See `Task`: codes."""
        return int(batch["counted"].sum())

    def figures(self) -> Mapping[str, float]:
        """See `Task`: how much LoRA changes, so that one that does nothing is seen."""
        if self.config.model.tune != "lora":
            return {}
        return {"lora_change": change_of(self.model.decoder)}

    def samples(self, folder: Path, count: int) -> Sequence[tuple[str, Path]]:
        """See `Task`: by texts and scores of clips that are not learned from, where there are
        any."""
        codec = open_codec(
            self._codec_folder,
            cache=settings.load().cache / "graphs",
            codebooks=self.codes.codebooks,
        )
        frames = round(_SAMPLE_SECONDS * self.codes.frame_rate)
        corpus = self._held or self._train
        found = []
        for number in range(count):
            clip = corpus.clip(0, number)
            row = self._row(clip, number, frames, 0, held=True, beginning=True)
            batch = self.batch_of([row])
            codes = sampled_codes(self.model, batch, row.codes.shape[1], self.pattern, number)
            path = folder / f"{number}.{_SAMPLE_FORMAT}"
            write(path, Waveform(codec.decode(codes), codec.sample_rate))
            said = render(clip.caption or "", Controls.from_options(dict(clip.controls or {})))
            found.append((f"{clip.id}: {said}", path))
        return found

    def _require_states(self, folder: Path) -> None:
        """Raise ConfigError unless the codes come with the states of the text encoder."""
        model, found = self.config.model, self._train.text_encoder
        name = model.text_encoder or model.base
        if found is None:
            raise ConfigError(
                f"{folder} holds no states of texts, and the text encoder of {name} is not "
                f"trained; expected them: 'antiphon data preprocess … --text-encoder {name}'"
            )
        encoder, config = text_encoder_of(model)
        checksum = checksum_of(encoder, settings.load().cache / "graphs")
        if found.checksum != checksum:
            raise ConfigError(
                f"{folder} holds states of the text encoder {found.name!r} with the hash "
                f"{found.checksum[:12]}, and {name} has {checksum[:12]}; expected its own: "
                f"'antiphon data preprocess … --text-encoder {name}'"
            )
        if config.width != model.text_width:
            raise ConfigError(
                f"model.text_width is {model.text_width}; expected {config.width}, which {name} has"
            )
        if self.config.data.control_dropout:
            raise ConfigError(
                f"data.control_dropout is {self.config.data.control_dropout:g}; expected 0 where "
                "the states of texts come with the codes: they are of all controls, or none"
            )

    def _row(
        self,
        clip: CodedClip,
        position: int,
        frames: int,
        seed: int,
        *,
        held: bool = False,
        beginning: bool = False,
    ) -> Row:
        """A crop of at most `frames` of a clip, and what of it is told; all, where it is `held`."""
        data = self.config.data
        draws = np.random.default_rng((seed, _VALIDATION * held + position))
        spare = max(0, clip.codes.shape[1] - frames)
        begins = draws.random() < _BEGINNINGS
        start = 0 if begins or beginning else int(draws.integers(0, spare + 1))
        chances = draws.random(4)
        merged = held or chances[0] < data.controls_share
        tokens, states = self._text(clip, draws, 0.0 if held else data.control_dropout, merged)
        said = states is not None or bool(tokens)
        if self.model.text_encoder is None and states is None:
            states = np.zeros((1, self.config.model.text_width), np.float16)
        scored = clip.score_frames is not None
        all_heard = held or chances[3] >= data.all_dropout
        score = np.zeros((clip.codes.shape[1], WIDTH), np.float32)
        if clip.score_frames is not None:
            score += clip.score_frames / np.float32(127)
        return Row(
            clip.codes[:, start : start + frames],
            tokens or [END],
            states,
            said and all_heard and (held or chances[1] >= data.text_dropout),
            score[start : start + frames],
            scored and all_heard and (held or chances[2] >= data.score_dropout),
        )

    def _text(
        self, clip: CodedClip, draws: np.random.Generator, dropout: float, merged: bool
    ) -> tuple[Sequence[int], NDArray[np.float16] | None]:
        """The tokens of what is said of a clip, or their states; nothing where nothing is said."""
        if self.tokenizer is None:
            whole = clip.prompt_states if merged else None
            return (), clip.caption_states if whole is None else whole
        text = clip.caption or ""
        if merged:
            kept = {
                name: value
                for name, value in (clip.controls or {}).items()
                if draws.random() >= dropout
            }
            text = render(text, Controls.from_options(kept))
        ids: list[int] = self.tokenizer.encode(text).ids if text else []
        # As `compose.text` cuts them: the end token stays.
        return (ids if len(ids) <= MAX_TEXT_TOKENS else [*ids[: MAX_TEXT_TOKENS - 1], END]), None


def _corpus(config: ComposerConfig, split: Split) -> Corpus:
    """The clips that a config learns from, or is judged on."""
    trainer = config.trainer
    processes = trainer.devices * trainer.nodes if split == "train" else 1
    return Corpus(
        Path(config.data.codes),
        split,
        config.training.batch_size * processes,
        longest_seconds=max(config.data.lengths),
        skip_damaged=config.data.skip_damaged,
        with_states=not config.model.trains_text,
    )


def shape_of(codec: CodecIdentity) -> CodeShape:
    """Of the codes of a codec."""
    return CodeShape(codec.codebooks, codec.codebook_size, codec.channels, codec.frame_rate)


def codec_folder(config: ComposerConfig) -> Path:
    """Where the codec of the codes lies: said, the base's own, or the one in the package."""
    if config.data.codec:
        return find(config.data.codec)
    return find(config.model.base or PACKAGED_NAME)


def export_composer(
    folder: Path,
    config: ComposerConfig,
    weights: Mapping[str, Tensor],
    kept: Mapping[str, str],
    metrics: Mapping[str, float],
) -> None:
    """Write what a run trained as a checkpoint with its card; `weights` and `kept` are as its
    checkpoints have them, the data are not needed.

    Raises ModelError for parts that cannot be read, StorageError (DiskFullError).
    """
    codec = CodecIdentity(**json.loads(kept["codec"]))
    shape, model = shape_of(codec), resolved(config.model)
    licences: dict[str, int] = json.loads(kept["licences"])
    require_same_parts(kept, parts_of(model))
    _require_codec(codec_folder(config), codec, Path(config.data.codes))
    trained = Trained(
        model,
        musicgen_of(model, shape),
        adapter_of(model, shape),
        weights,
        kept["tokenizer"],
        codec_folder(config),
        round(max(config.data.lengths) * codec.frame_rate),
        None if len(licences) != 1 or model.base else next(iter(licences)),
    )
    write_composer(folder, trained)
    said = f"{codec.name}, {codec.frame_rate} frames a second of {codec.codebooks} codes"
    write_card(folder, config, said, licences, metrics)


def _require_codec(folder: Path, codec: CodecIdentity, codes: Path) -> None:
    """Raise ConfigError unless the codes are of the codec in `folder`."""
    found = codec_checksum(folder, settings.load().cache / "graphs")
    if found != codec.checksum:
        raise ConfigError(
            f"the codes in {codes} are of the codec {codec.name!r} with the hash "
            f"{codec.checksum[:12]}, and {folder} has {found[:12]}; expected the codec that they "
            "were made with (data.codec=FOLDER), or codes made anew with 'antiphon data preprocess'"
        )
