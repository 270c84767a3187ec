"""Composed sound in files: their form, their level, what they say of themselves, what is left when
something goes wrong."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile

from antiphon import audio
from antiphon.audio import Waveform
from antiphon.compose.composer import Composer
from antiphon.compose.delivery import Delivered, deliver, deliver_growing, stream_pcm
from antiphon.compose.forms import SAMPLE_RATES, Form, sidecar
from antiphon.compose.requests import Block, Performance, Plan, Request
from antiphon.controls import Controls
from antiphon.errors import ConfigError, StorageError

pytestmark = pytest.mark.integration

RATE = 32_000
FORMS = [
    (format, depth, rate, channels)
    for format, depths in {
        "wav": (None, 16, 24, 32), "flac": (None, 16, 24), "mp3": (None,), "ogg": (None,),
        "opus": (None,),
    }.items()
    for depth in depths
    for rate in (None, *SAMPLE_RATES)
    for channels in (None, 1, 2)
    if format != "opus" or rate in (None, 16_000, 24_000, 48_000)
    if depth in (None, 32) or (rate, channels) in ((None, None), (44_100, 2), (16_000, 1))
]  # fmt: skip


@dataclass
class Player:
    """A renderer that plays given sounds [C, T] in blocks; after `breaks_after` it raises."""

    sounds: list[np.ndarray]
    wishes: Controls = field(default_factory=Controls)
    sample_rate: int = RATE
    breaks_after: int | None = None
    played: int = 0
    long_text: str | None = None

    @property
    def channels(self) -> int:
        return len(self.sounds[0])

    def perform(self, requests: Sequence[Request]) -> Performed:
        assert len(requests) == len(self.sounds)
        return Performed(self, requests)

    def provenance(self, request: Request) -> Mapping[str, object]:
        settings = {"guidance": 3.0, "negative": request.negative}
        return {"model": "player", "revision": None, "licence": "CC0-1.0", "settings": settings}


@dataclass
class Performed:
    player: Player
    requests: Sequence[Request]

    @property
    def plans(self) -> tuple[Plan, ...]:
        player = self.player
        return tuple(
            Plan(
                request,
                sound.shape[1],
                player.wishes,
                player.long_text,
                None,
                ("a note of the model's",),
            )
            for request, sound in zip(self.requests, player.sounds, strict=True)
        )

    def blocks(self) -> Iterator[Block]:
        self.player.played += 1
        count = 0
        for at in range(0, max(sound.shape[1] for sound in self.player.sounds), 5000):
            for item, sound in enumerate(self.player.sounds):
                if at < sound.shape[1]:
                    if count == self.player.breaks_after:
                        raise KeyboardInterrupt
                    count += 1
                    yield Block(item, sound[:, at : at + 5000])


def tones(seconds: float = 0.5, channels: int = 1, level: float = 0.4) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    sides = [np.sin(2 * np.pi * 330 * (side + 1) * time) for side in range(channels)]
    return (level * np.stack(sides)).astype(np.float32)


def noise(seconds: float = 6.0, channels: int = 2, level: float = 0.02) -> np.ndarray:
    shape = (channels, round(seconds * RATE))
    return np.random.default_rng(0).normal(0, level, shape).astype(np.float32)


def delivered(sound: np.ndarray, form: Form, **player: object) -> Delivered:
    composer = Composer(Player([sound], **player))  # type: ignore[arg-type]
    return deliver(composer, asked(composer, Request("a prompt", 7)), [form])[0]


def asked(composer: Composer, *requests: Request) -> Performance:
    return composer.renderer.perform(requests or [Request("x", 1)])


def lufs(path: Path) -> float:
    waveform = audio.read(path).waveform
    meter = pyloudnorm.Meter(waveform.sample_rate)
    return float(meter.integrated_loudness(waveform.samples.T.astype(np.float64)))


@pytest.mark.parametrize(("format", "depth", "rate", "channels"), FORMS)
def test_every_form_is_written_and_read_back(
    tmp_path: Path, format: str, depth: int | None, rate: int | None, channels: int | None
) -> None:
    sound = tones(channels=2)
    path = tmp_path / f"a.{format}"
    told = delivered(sound, Form(path, None, rate, depth, channels))
    expected_rate = rate or (48_000 if format == "opus" else RATE)
    read = audio.read(path).waveform
    assert (read.sample_rate, read.channels) == (expected_rate, channels or 2)
    assert told.seconds == pytest.approx(0.5, abs=0.001 if format in ("wav", "flac") else 0.06)
    mixed = sound.mean(axis=0, keepdims=True) if channels == 1 else sound
    expected = audio.resample(Waveform(mixed, RATE), expected_rate).samples
    length = min(expected.shape[1], read.samples.shape[1])
    inner = slice(expected_rate // 20, length - expected_rate // 20)
    if format in ("wav", "flac"):
        step = {16: 2**-15, 24: 2**-23, 32: 0.0}[depth or 16]
        assert np.abs(read.samples[:, inner] - expected[:, inner]).max() <= 1.01 * step + 1e-7
        assert read.samples.shape == expected.shape
        with soundfile.SoundFile(path) as file:
            assert file.subtype == {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}[depth or 16]
    else:
        for one, other in zip(read.samples, expected, strict=True):
            assert np.corrcoef(one[inner], other[inner])[0, 1] > 0.95


def test_mono_goes_to_both_sides(tmp_path: Path) -> None:
    delivered(tones(), Form(tmp_path / "a.wav", channels=2, bit_depth=32))
    read = audio.read(tmp_path / "a.wav").waveform.samples
    assert np.array_equal(read, np.repeat(tones(), 2, axis=0))


def test_a_format_is_taken_over_the_suffix(tmp_path: Path) -> None:
    delivered(tones(), Form(tmp_path / "a.bin", format="flac"))
    with soundfile.SoundFile(tmp_path / "a.bin") as file:
        assert file.format == "FLAC"


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg", "opus"])
def test_what_was_asked_and_measured_lies_beside_and_inside(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"some piece.{format}"
    wishes = Controls(genre="jazz", tempo_bpm=100.0, duration_seconds=6.0)
    told = delivered(noise(), Form(path), wishes=wishes, long_text="a text. bpm: 100.0")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, "some piece.json"])
    beside = json.loads((tmp_path / "some piece.json").read_text())
    plain = json.loads(json.dumps(told.to_dict()))
    assert beside == plain | {"path": path.name}
    assert plain["path"] == str(path)
    assert beside["seed"] == 7
    assert beside["requested"] == {"genre": "jazz", "tempo": 100.0, "duration": 6.0}
    assert set(beside["measured"]) == {"tempo", "key", "metre", "duration", "loudness"}
    assert beside["measured"]["duration"] == pytest.approx(6.0, abs=0.06)
    assert beside["adherence"]["duration"]["ok"] is True
    assert set(beside["adherence"]["tempo"]) >= {"requested", "measured", "ok"}
    assert beside["notes"] == ["a note of the model's", "not kept: tempo"]
    assert beside["candidates"] == []
    assert beside["provenance"] == {
        "model": "player", "revision": None, "licence": "CC0-1.0", "prompt": "a prompt",
        "settings": {"guidance": 3.0, "negative": None}, "text": "a text. bpm: 100.0", "seed": 7,
        "sections": [], "continued": None, "melody": None,
        "version": beside["provenance"]["version"],
    }  # fmt: skip
    if format != "mp3":  # whose tag libsndfile does not read
        with soundfile.SoundFile(path) as file:
            assert json.loads(file.comment) == beside["provenance"]
            assert file.genre == "jazz"
    else:
        assert b"TCON" in path.read_bytes()[:5000]
        assert b'"prompt": "a prompt"' in path.read_bytes()[:5000]


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "opus"])
def test_of_a_long_prompt_the_file_has_the_beginning(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    prompt = "spätes Licht, «langsam» 🎵 " * 2000
    composer = Composer(Player([tones()], long_text=prompt))
    deliver(composer, asked(composer, Request(prompt, 1, negative="x" * 9000)), [Form(path)])
    with soundfile.SoundFile(path) as file:
        inside = json.loads(file.comment)
        assert file.frames == RATE // 2 * (1.5 if format == "opus" else 1)
    assert inside["prompt"].startswith("spätes Licht, «langsam» 🎵")
    assert inside["prompt"].endswith("…")
    assert inside["seed"] == 1
    beside = json.loads(sidecar(path).read_text())["provenance"]
    assert beside["prompt"] == beside["text"] == prompt


@pytest.mark.parametrize("prompt", ["a\0b", "half \ud83c a pair", "bytes \udcff", "\n\r\t\x1b[31m"])
def test_odd_characters_in_a_prompt_come_back(tmp_path: Path, prompt: str) -> None:
    composer = Composer(Player([tones()]))
    path = tmp_path / "a.flac"
    deliver(composer, asked(composer, Request(prompt, 1)), [Form(path)])
    with soundfile.SoundFile(path) as file:
        assert json.loads(file.comment)["prompt"] == prompt
    assert json.loads(sidecar(path).read_text())["provenance"]["prompt"] == prompt


@pytest.mark.parametrize(
    ("model_channels", "channels", "rate", "fade", "format"),
    [
        (1, None, None, 0.0, "wav"),
        (2, None, None, 0.0, "flac"),
        (2, 1, None, 0.0, "wav"),
        (1, 2, None, 0.0, "wav"),
        (2, None, 48_000, 0.0, "wav"),
        (2, 1, 16_000, 0.0, "wav"),
        (2, None, None, 4.0, "wav"),
        (1, None, None, 0.0, "mp3"),
        (1, None, None, 0.0, "opus"),
    ],
)
def test_the_loudness_is_what_was_asked(
    tmp_path: Path, model_channels: int, channels: int | None, rate: int | None, fade: float,
    format: str,
) -> None:  # fmt: skip
    path = tmp_path / f"a.{format}"
    form = Form(path, None, rate, None, channels, loudness_lufs=-20.0, fade_seconds=fade)
    sound = noise(channels=model_channels, level=0.02 if rate != 16_000 else 0.005)
    if rate == 16_000:  # what the rate cannot hold is no part of the loudness
        sound = audio.resample(audio.resample(Waveform(sound, RATE), 8_000), RATE).samples
    told = delivered(sound, form)
    assert lufs(path) == pytest.approx(-20.0, abs=0.3)
    assert told.measured["loudness"] == pytest.approx(-20.0, abs=0.3)
    assert told.notes == ("a note of the model's",)


def test_minus_14_of_loud_and_of_quiet_music(tmp_path: Path) -> None:
    for level in (1e-3, 0.4):
        delivered(tones(5.0, 2, level), Form(tmp_path / "a.wav", loudness_lufs=-14.0))
        assert lufs(tmp_path / "a.wav") == pytest.approx(-14.0, abs=0.3)


def test_a_loudness_that_would_clip_is_not_reached_and_it_is_said(tmp_path: Path) -> None:
    clicks = noise(level=1e-3)
    clicks[:, ::16_000] = 0.5
    path = tmp_path / "a.wav"
    told = delivered(clicks, Form(path, loudness_lufs=-14.0, bit_depth=32))
    reached = lufs(path)
    assert reached < -20
    assert told.notes[-2].startswith(f"-14 LUFS would clip: it is {reached:.1f} LUFS, with peaks")
    assert told.notes[-1] == "not kept: loudness"
    peak = audio.resample(audio.read(path).waveform, 48_000 * 4).samples
    assert 20 * np.log10(np.abs(peak).max()) == pytest.approx(-1.0, abs=0.2)


def test_silence_has_no_loudness_to_change(tmp_path: Path) -> None:
    told = delivered(noise(level=0.0), Form(tmp_path / "a.wav", loudness_lufs=-14.0))
    assert told.notes[-2] == "the loudness cannot be measured: it is left as it is"
    assert not audio.read(tmp_path / "a.wav").waveform.samples.any()


@pytest.mark.parametrize("format", ["wav", "mp3"])
def test_what_is_above_full_scale_is_turned_down_and_it_is_said(
    tmp_path: Path, format: str
) -> None:
    sound = tones(level=2.0)
    told = delivered(sound, Form(tmp_path / f"a.{format}"))
    assert told.notes[-1] == "turned down by 7.0 dB, which keeps it from clipping"
    read = audio.read(tmp_path / f"a.{format}").waveform.samples
    assert np.abs(read).max() == pytest.approx(10 ** (-1 / 20), abs=0.02)
    inner = slice(2000, 12_000)
    if format == "wav":
        assert np.abs(read[:, inner] - sound[:, inner] * 10 ** (-1 / 20) / 2).max() < 1e-4


def test_what_is_just_full_scale_is_left_alone(tmp_path: Path) -> None:
    told = delivered(tones(level=1.0), Form(tmp_path / "a.wav"))
    assert told.notes == ("a note of the model's",)
    assert np.abs(audio.read(tmp_path / "a.wav").waveform.samples).max() > 0.999


def test_float_files_take_what_is_above_full_scale(tmp_path: Path) -> None:
    told = delivered(tones(level=2.0), Form(tmp_path / "a.wav", bit_depth=32))
    assert told.notes == ("a note of the model's",)
    assert np.array_equal(audio.read(tmp_path / "a.wav").waveform.samples, tones(level=2.0))


def test_peaks_that_appear_at_another_rate_do_not_clip(tmp_path: Path) -> None:
    # A square of full scale overshoots by 9 % at each edge when it is resampled.
    square = np.sign(tones(level=1.0) + 1e-9).astype(np.float32)
    told = delivered(square, Form(tmp_path / "a.wav", sample_rate=48_000))
    assert "which keeps it from clipping" in told.notes[-1]
    read = audio.read(tmp_path / "a.wav").waveform.samples
    assert 0.8 < np.abs(read).max() < 0.9


def test_a_fade_falls_to_nothing_and_changes_only_the_end(tmp_path: Path) -> None:
    sound = np.full((2, 3 * RATE), 0.5, np.float32)
    delivered(sound, Form(tmp_path / "a.wav", bit_depth=32, fade_seconds=1.0))
    read = audio.read(tmp_path / "a.wav").waveform.samples
    assert np.array_equal(read[:, : 2 * RATE], sound[:, : 2 * RATE])
    expected = 0.5 * np.arange(RATE, 0, -1) / RATE
    assert np.abs(read[0, 2 * RATE :] - expected).max() < 1e-6
    # Longer than the piece: it falls from the beginning.
    delivered(sound, Form(tmp_path / "a.wav", bit_depth=32, fade_seconds=6.0))
    read = audio.read(tmp_path / "a.wav").waveform.samples
    assert read[0, 0] == pytest.approx(0.25, abs=1e-4)
    assert read[0, -1] == pytest.approx(0.0, abs=1e-5)


def test_pieces_side_by_side_have_forms_of_their_own(tmp_path: Path) -> None:
    composer = Composer(Player([tones(0.5), tones(1.25, level=0.1), noise(0.7, 1)]))
    forms = [
        Form(tmp_path / "a.wav"),
        Form(tmp_path / "b.flac", sample_rate=48_000, channels=2),
        Form(tmp_path / "c.wav", bit_depth=32),
    ]
    heard: list[int] = []
    requests = [Request(prompt, seed) for seed, prompt in enumerate("abc")]
    told = deliver(composer, asked(composer, *requests), forms, heard.append)
    assert [one.path.name for one in told] == ["a.wav", "b.flac", "c.wav"]
    assert [one.seconds for one in told] == [0.5, 1.25, 0.7]
    assert [one.provenance["prompt"] for one in told] == ["a", "b", "c"]
    assert sum(heard) == round(2.45 * RATE)
    alone = audio.read(tmp_path / "c.wav").waveform.samples
    assert np.array_equal(alone, noise(0.7, 1))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"sample_rate": 12_345}, "sample rate is 12345; expected one of 16000, 24000, 32000"),
        ({"channels": 3}, "channels is 3; expected 1 or 2"),
        ({"loudness_lufs": 0.0}, "loudness is 0 LUFS; expected -40 to -5"),
        ({"loudness_lufs": float("nan")}, "loudness is nan LUFS"),
        ({"fade_seconds": -1.0}, "fade is -1 s; expected 0 to 60"),
        ({"fade_seconds": float("nan")}, "fade is nan s"),
    ],
)
def test_forms_that_no_file_has(values: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Form(Path("a.wav"), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "values", "error", "match"),
    [
        ("a.xyz", {}, ConfigError, "the format is 'xyz'"),
        ("a.wav", {"bit_depth": 12}, ConfigError, "bit_depth is 12; expected for wav: 16, 24, 32"),
        ("a.flac", {"bit_depth": 32}, ConfigError, "expected for flac: 16, 24"),
        ("a.opus", {"sample_rate": 44_100}, ConfigError, "cannot hold 44,100 Hz"),
        ("none/a.wav", {}, StorageError, "there is no folder .*none'; create it first"),
        ("a.json", {"format": "wav"}, ConfigError, "where the description of the sound goes"),
        ("other.wav", {}, ConfigError, r"other.json' lies where the description of 'other.wav' go"),
        ("broken.wav", {}, ConfigError, "and is another file; give the sound another name"),
        ("piece.flac", {}, ConfigError, "of 'piece.flac' goes, and describes 'piece.wav'; give"),
    ],
)
@pytest.mark.parametrize("growing", [False, True])
def test_what_cannot_be_written_is_refused_before_anything_is_played(
    tmp_path: Path, name: str, values: dict[str, object], error: type[Exception], match: str,
    growing: bool,
) -> None:  # fmt: skip
    (tmp_path / "other.json").write_text('{"scripts": {}}')
    (tmp_path / "broken.json").write_text("no json")
    (tmp_path / "piece.json").write_text('{"provenance": {}, "path": "piece.wav"}')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    player = Player([tones()])
    composer = Composer(player)
    form = Form(tmp_path / name, **values)  # type: ignore[arg-type]

    def play() -> None:
        if growing:
            deliver_growing(composer, asked(composer), form)
        else:
            deliver(composer, asked(composer), [form])

    with pytest.raises(error, match=match):
        play()
    assert player.played == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_piece_takes_the_place_of_one_before(tmp_path: Path) -> None:
    for level in (0.1, 0.3):
        delivered(tones(level=level), Form(tmp_path / "a.wav"))
    assert np.abs(audio.read(tmp_path / "a.wav").waveform.samples).max() == pytest.approx(0.3, 1e-3)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interruption_leaves_nothing_and_what_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "b.wav").write_bytes(b"old")
    for name in ("a.wav", "b.wav"):
        with pytest.raises(KeyboardInterrupt):
            delivered(tones(), Form(tmp_path / name), breaks_after=2)
    assert [path.name for path in tmp_path.iterdir()] == ["b.wav"]
    assert (tmp_path / "b.wav").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("limit", "form"),
    [
        (100_000, ""),  # the sound as it comes is larger
        (300_000, "sample_rate=48_000, bit_depth=24, channels=2"),  # only the file itself is
    ],
)
def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, limit: int, form: str) -> None:
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_delivery import *
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    delivered(noise(2.0, 1), Form(Path(sys.argv[1]), {form}))
except StorageError as error:
    print(type(error).__name__, error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.wav")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "a.wav': File too large" in result.stdout
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("antiphon.compose.delivery.tempfile.TemporaryFile", refuse)
    with pytest.raises(StorageError, match="cannot write .*a.wav': Permission denied; choose"):
        delivered(tones(), Form(tmp_path / "a.wav"))


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg", "opus"])
def test_a_growing_file_can_be_played_after_an_interruption(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    composer = Composer(Player([tones(3.0)], breaks_after=10))
    heard: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        deliver_growing(composer, asked(composer), Form(path), heard.append)
    assert heard == [5000] * 10
    recording = audio.read(path)
    assert recording.waveform.duration_seconds == pytest.approx(50_000 / RATE, abs=0.15)
    assert recording.damage.problems == ()
    inner = recording.waveform.samples[:, 5000:40_000]
    assert np.abs(inner).max() == pytest.approx(0.4, abs=0.05)


def test_a_growing_file_grows_and_is_at_the_end_what_a_whole_one_is(tmp_path: Path) -> None:
    sizes: list[int] = []
    path = tmp_path / "a.wav"
    composer = Composer(Player([tones(2.0)]))
    request = Request("x", 1)
    told = deliver_growing(
        composer,
        asked(composer, request),
        Form(path),
        lambda _: sizes.append(path.stat().st_size if sizes else 0),
    )
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 10
    assert told.seconds == 2.0
    deliver(composer, asked(composer, request), [Form(tmp_path / "b.wav")])
    assert path.read_bytes() == (tmp_path / "b.wav").read_bytes()
    a, b = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert a | {"path": ""} == b | {"path": ""}


def test_a_growing_file_is_clipped_above_full_scale_and_says_so(tmp_path: Path) -> None:
    loud = tones(level=0.5)
    loud[:, 100:103] = 1.5
    composer = Composer(Player([loud]))
    told = deliver_growing(composer, asked(composer), Form(tmp_path / "a.wav"))
    assert told.notes[-1] == "3 samples were beyond full scale and are clipped"


@pytest.mark.parametrize("values", [{"loudness_lufs": -14.0}, {"fade_seconds": 1.0}])
def test_a_growing_file_has_no_end_to_prepare_for(tmp_path: Path, values: dict[str, float]) -> None:
    form = Form(tmp_path / "a.wav", **values)  # type: ignore[arg-type]
    composer = Composer(Player([tones()]))
    with pytest.raises(ConfigError, match="loudness and fade need the whole piece"):
        deliver_growing(composer, asked(composer), form)


def test_a_model_that_fails_at_once_leaves_the_piece_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    composer = Composer(Player([tones()]))
    deliver_growing(composer, asked(composer), Form(path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    failing = Composer(Player([tones()], breaks_after=0))
    with pytest.raises(KeyboardInterrupt):
        deliver_growing(failing, asked(failing), Form(path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_stream_that_is_cut_short_has_no_description_of_another_piece(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    composer = Composer(Player([tones()]))
    deliver_growing(composer, asked(composer), Form(path))
    failing = Composer(Player([tones()], breaks_after=1))
    with pytest.raises(KeyboardInterrupt):
        deliver_growing(failing, asked(failing), Form(path))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"loudness_lufs": -14.0}, "loudness and fade need the whole piece"),
        ({"fade_seconds": 1.0}, "loudness and fade need the whole piece"),
        ({"format": "mp3"}, "--format is 'mp3'; expected none: raw PCM has no format"),
    ],
)
def test_bare_pcm_has_neither_end_nor_format(values: dict[str, object], match: str) -> None:
    form = Form(Path("x.wav"), **values)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=match):
        stream_pcm(asked(Composer(Player([tones()]))), io.BytesIO(), form, RATE)


@pytest.mark.parametrize(("depth", "kind"), [(None, "<i2"), (16, "<i2"), (32, "<f4")])
def test_bare_pcm(depth: int | None, kind: str) -> None:
    file = io.BytesIO()
    sound = tones(1.0, 2, level=1.3)
    performance = asked(Composer(Player([sound])))
    stream_pcm(performance, file, Form(Path("x.wav"), bit_depth=depth), RATE)
    samples = np.frombuffer(file.getvalue(), kind).reshape(-1, 2).T
    assert samples.shape[1] == RATE
    if depth == 32:
        assert np.array_equal(samples, sound)
    else:
        expected = np.clip(sound, -1, 1) * 32_767  # clipped, not wrapped around
        assert np.abs(samples - expected).max() <= 0.5


def test_bare_pcm_at_another_rate_and_with_other_channels() -> None:
    file = io.BytesIO()
    form = Form(Path("x.wav"), sample_rate=48_000, channels=2)
    stream_pcm(asked(Composer(Player([tones(1.0)]))), file, form, RATE)
    samples = np.frombuffer(file.getvalue(), "<i2").reshape(-1, 2)
    assert len(samples) == 48_000
    assert np.array_equal(samples[:, 0], samples[:, 1])


def test_bare_pcm_of_a_depth_that_players_do_not_know() -> None:
    form = Form(Path("x.wav"), bit_depth=24)
    with pytest.raises(ConfigError, match="bit depth is 24; expected for raw PCM: 16 or 32"):
        stream_pcm(asked(Composer(Player([tones()]))), io.BytesIO(), form, RATE)
