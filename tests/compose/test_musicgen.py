"""MusicGen checkpoints through the public interface: lengths, windows, sections, continuations."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from t5_models import tiny_musicgen

from antiphon.audio import Waveform, resample
from antiphon.compose.composer import Composer, below_full_scale, collect, load_composer
from antiphon.compose.loading import LoadOptions
from antiphon.compose.melody import FRAME_SECONDS, melody_chroma
from antiphon.compose.musicgen import MusicGen
from antiphon.compose.requests import Renderer, Request, Section
from antiphon.compose.sampling import Sampling
from antiphon.controls import Controls
from antiphon.errors import ConfigError, ModelError

pytestmark = pytest.mark.integration

RATE, HOP = 32_000, 640
KINDS = ("mono", "stereo", "melody")
INTRO = Controls(duration_seconds=8.0, intro=True)
ENDING = Controls(duration_seconds=8.0, ending=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, folder in made.items():
        tiny_musicgen(folder, melody=kind == "melody", stereo=kind == "stereo")
    return made


@pytest.fixture(scope="module")
def composers(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Composer]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTIPHON_CACHE", str(tmp_path_factory.mktemp("cache")))
        options = LoadOptions(precision="fp32", threads=1)
        yield {kind: load_composer(folder, options) for kind, folder in folders.items()}


@pytest.fixture
def short_windows(composers: dict[str, Composer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 1 s, of which .6 s are new, instead of 30 and 18."""
    for composer in composers.values():
        renderer = composer.renderer
        assert isinstance(renderer, MusicGen)
        planner = dataclasses.replace(renderer._planner, window_seconds=1.0)
        monkeypatch.setattr(renderer, "_planner", planner)


def asked(
    prompt: str = "slow jazz piano",
    seconds: float | None = 1.0,
    seed: int = 1,
    *,
    sections: tuple[Section, ...] = (),
    continuation: Waveform | None = None,
    melody: Waveform | None = None,
    sampling: Sampling | None = None,
    negative: str | None = None,
    controls: Controls | None = None,
) -> Request:
    return Request(
        prompt,
        seed,
        controls or Controls(duration_seconds=seconds),
        sampling or Sampling(),
        negative,
        sections,
        continuation,
        melody,
    )


def sound(composer: Composer, *requests: Request) -> list[np.ndarray]:
    return collect(composer.renderer.perform(requests))


def some_music(seconds: float, rate: int = RATE, channels: int = 1) -> Waveform:
    time = np.arange(round(seconds * rate)) / rate
    tones = [np.sin(2 * np.pi * 220 * (side + 1) * time) * 0.3 for side in range(channels)]
    return Waveform(np.stack(tones).astype(np.float32), rate)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [1.0, 1.337, 3.0])
def test_a_piece_is_as_long_as_asked_to_the_sample(
    composers: dict[str, Composer], kind: str, seconds: float
) -> None:
    piece = composers[kind].generate("jazz", duration_seconds=seconds, seed=1)
    assert piece.waveform.samples.shape == (2 if kind == "stereo" else 1, round(seconds * RATE))
    assert piece.waveform.sample_rate == RATE
    assert piece.facts.duration_seconds == pytest.approx(seconds, abs=1e-4)
    assert np.isfinite(piece.waveform.samples).all()
    assert np.abs(piece.waveform.samples).max() > 1e-3


def test_what_a_piece_says_of_itself(
    composers: dict[str, Composer], folders: dict[str, Path]
) -> None:
    piece = composers["mono"].generate(
        "jazz", duration_seconds=1.0, seed=5, controls=Controls(tempo_bpm=120.0)
    )
    said = piece.provenance
    assert said["model"] == folders["mono"].name
    assert (said["prompt"], said["text"]) == ("jazz", "jazz. bpm: 120.0")
    assert (said["seed"], said["revision"], said["licence"]) == (5, None, None)
    used = said["settings"]
    assert isinstance(used, dict)
    assert used["precision"] == "fp32"
    assert (used["guidance"], used["temperature"], used["top_k"], used["top_p"]) == (3, 1, None, 1)
    assert json.loads(json.dumps(said)) == said
    assert piece.requested == {"genre": "jazz", "tempo": 120.0, "duration": 1.0}
    assert piece.adherence["duration"].ok
    assert piece.score is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(composers: dict[str, Composer], kind: str) -> None:
    one, same, other = (sound(composers[kind], asked(seed=seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_seed_that_nobody_gave_is_told(composers: dict[str, Composer]) -> None:
    composer = composers["mono"]
    piece = composer.generate("jazz", duration_seconds=1.0)
    again = composer.generate("jazz", duration_seconds=1.0, seed=piece.seed)
    assert np.array_equal(piece.waveform.samples, again.waveform.samples)


@pytest.mark.parametrize("kind", KINDS)
def test_a_piece_is_the_same_alone_and_beside_others(
    composers: dict[str, Composer], kind: str
) -> None:
    composer = composers[kind]
    requests = [
        asked("jazz", 1.4, 1),
        asked("a slow guitar in the key of a minor " * 6, 2.1, 2),
        asked("", 1.013, 3),
    ]
    together = composer.compose(requests)
    for request, piece in zip(requests, together, strict=True):
        (alone,) = composer.compose([request])
        assert np.array_equal(alone.waveform.samples, piece.waveform.samples)
        assert alone.provenance == piece.provenance
        assert alone.facts == piece.facts


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_come_early_and_together_are_the_whole(
    composers: dict[str, Composer], kind: str
) -> None:
    performance = composers[kind].renderer.perform([asked(seconds=3.3)])
    blocks = [block.samples for block in performance.blocks()]
    assert 3 <= len(blocks) <= 5
    assert blocks[0].shape[1] <= RATE // 2  # half a second is not waited for much longer
    whole = np.concatenate(blocks, axis=1)
    assert np.array_equal(whole, sound(composers[kind], asked(seconds=3.3))[0])
    assert whole.shape[1] == performance.plans[0].samples == round(3.3 * RATE)


def test_the_sound_is_that_of_its_codes(composers: dict[str, Composer]) -> None:
    renderer = composers["stereo"].renderer
    assert isinstance(renderer, MusicGen)
    codes = []
    codec = renderer.codec
    stream = codec.stream()

    class Spy:
        def feed(self, some: np.ndarray) -> np.ndarray:
            codes.append(some)
            return stream.feed(some)

        def finish(self) -> np.ndarray:
            return stream.finish()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "stream", lambda *_: Spy())
        made = sound(composers["stereo"], asked(seconds=2.3))[0]
    whole = codec.decode(np.concatenate(codes, axis=1))
    assert np.abs(made - whole[:, : made.shape[1]]).max() <= 1e-6


@pytest.mark.usefixtures("short_windows")
def test_a_long_piece_begins_like_a_short_one(composers: dict[str, Composer]) -> None:
    composer = composers["mono"]
    short, long = (sound(composer, asked(seconds=seconds))[0] for seconds in (1.0, 3.3))
    assert long.shape[1] == round(3.3 * RATE)
    until = RATE - 8 * HOP  # the codec looks ahead
    assert np.array_equal(long[:, :until], short[:, :until])
    assert np.abs(long[:, RATE:]).max() > 1e-3
    beside = sound(composer, asked(seconds=3.3), asked(seconds=4.1, seed=9), asked(seconds=3.0))
    assert np.array_equal(beside[0], long)


@pytest.mark.usefixtures("short_windows")
@pytest.mark.parametrize("kind", KINDS)
def test_a_section_changes_what_follows_and_nothing_before(
    composers: dict[str, Composer], kind: str
) -> None:
    composer = composers[kind]
    one, other = (
        sound(composer, asked(seconds=2.5, sections=(Section(text, 1.2),)))[0]
        for text in ("fast guitar", "the major piano")
    )
    until = round(1.2 * RATE)
    assert np.array_equal(one[:, : until - 8 * HOP], other[:, : until - 8 * HOP])
    assert np.abs(one[:, until:] - other[:, until:]).max() > 1e-4
    # Before the section it is the piece without it, but for the last frames, which end there.
    plain = sound(composer, asked(seconds=2.5))[0]
    first = RATE - 12 * HOP  # within the first window
    assert np.array_equal(plain[:, :first], one[:, :first])


@pytest.mark.parametrize(
    ("controls", "texts"),
    [
        ({"intro": True, "ending": True, "duration": 4}, ["jazz, intro", "jazz", "jazz, ending"]),
        ({"sections": "verse:1,chorus:1", "tempo": 120}, ["jazz, verse", "jazz, chorus"]),
        ({"bars": 2, "tempo": 120}, ["jazz"]),
    ],
)
def test_a_form_is_a_prompt_for_each_part(
    composers: dict[str, Composer], controls: dict[str, object], texts: list[str]
) -> None:
    renderer = composers["mono"].renderer
    assert isinstance(renderer, MusicGen)
    request = asked("jazz", controls=Controls.from_options(controls))
    planned = renderer._planner.plan(request)
    suffix = ". bpm: 120.0" if "tempo" in controls else ""
    assert list(planned.texts) == [text + suffix for text in texts]
    assert planned.plan.samples == 4 * RATE  # also two bars of four at 120 BPM
    assert {window.section for window in planned.windows} == set(range(len(texts)))


def test_an_intro_and_an_ending_last_eight_seconds_of_a_long_piece(
    composers: dict[str, Composer],
) -> None:
    renderer = composers["mono"].renderer
    assert isinstance(renderer, MusicGen)
    long = Controls.from_options({"intro": True, "ending": True, "duration": 60})
    planned = renderer._planner.plan(asked("jazz", controls=long))
    assert [section.start_seconds for section in planned.plan.sections] == [8.0, 52.0]
    # Windows of 30 s, each with 18 s that are new, and one at each section.
    spans = [tuple(f // 50 for f in (w.shown, w.start, w.end)) for w in planned.windows]
    assert spans == [(0, 0, 8), (0, 8, 30), (18, 30, 48), (36, 48, 52), (40, 52, 60)]


def test_what_the_user_must_know_is_noted(composers: dict[str, Composer]) -> None:
    controls = Controls(duration_seconds=1.0, tempo_bpm=90.0, metre="3/4")
    request = Request("jazz at 120 bpm", 1, controls, damage=("a.wav: ends after 1 of 2 s",))
    (plan,) = composers["mono"].renderer.perform([request]).plans
    damage, contradiction, lost = plan.notes
    assert damage == "a.wav: ends after 1 of 2 s"
    assert "120" in contradiction
    assert "90" in contradiction
    assert lost == "this model's text has no field for metre: not passed on"
    synth = load_composer("synth").renderer
    assert damage not in synth.perform([Request("jazz", 1)]).plans[0].notes


def test_sections_within_the_file_that_is_continued_are_not_played(
    composers: dict[str, Composer],
) -> None:
    sections = (Section("drums", 1.0), Section("strings", 2.0), Section("choir", 3.5))
    request = asked(seconds=5.0, sections=sections, continuation=some_music(2.5))
    (plan,) = composers["mono"].renderer.perform([request]).plans
    assert (plan.text, [s.text for s in plan.sections]) == ("strings", ["choir"])
    assert [note for note in plan.notes if "continued" in note] == [
        f"lies within the file that is continued, not played: '{text}'"
        for text in ("slow jazz piano", "drums")
    ]


def test_a_melody_is_in_the_branch_of_the_prompt_alone(composers: dict[str, Composer]) -> None:
    renderer = composers["melody"].renderer
    assert isinstance(renderer, MusicGen)
    ((without, with_prompt),) = renderer.guidance(asked(melody=some_music(1.0)), ["jazz"]).sections
    ((same, no_tune),) = renderer.guidance(asked(), ["jazz"]).sections
    assert without.chroma is not None
    assert with_prompt.chroma is not None
    assert no_tune.chroma is not None
    np.testing.assert_array_equal(without.chroma, no_tune.chroma)
    assert (with_prompt.chroma.argmax(axis=1) == 9).all()  # the A of the tune
    assert not np.array_equal(with_prompt.chroma, no_tune.chroma)
    assert without.text is None
    assert same.text is None


@pytest.mark.parametrize(
    ("prompt", "controls", "seconds"),
    [
        ("jazz", {}, 10.0),
        ("three seconds of jazz", {}, 3.0),
        ("two bars of jazz at 120 bpm", {}, 4.0),
        ("two bars of jazz", {}, 10.0),
        ("three seconds of jazz", {"duration": 2}, 2.0),
        ("jazz at 120 bpm", {"bars": 3}, 6.0),
    ],
)
def test_the_prompt_may_say_how_long(
    composers: dict[str, Composer], prompt: str, controls: dict[str, object], seconds: float
) -> None:
    performance = composers["mono"].renderer.perform(
        [asked(prompt, controls=Controls.from_options(controls))]
    )
    (plan,) = performance.plans
    assert plan.samples == round(seconds * RATE)
    assert plan.text == prompt


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("seconds", "rate", "channels"), [(0.5, RATE, 1), (1.513, 44_100, 2), (0.01, 48_000, 1)]
)
def test_a_continuation_begins_with_the_file(
    composers: dict[str, Composer], kind: str, seconds: float, rate: int, channels: int
) -> None:
    composer = composers[kind]
    given = some_music(seconds, rate, channels)
    (made,) = sound(composer, asked(seconds=2.5, continuation=given))
    assert made.shape == (composer.renderer.channels, round(2.5 * RATE))
    samples = resample(given, RATE).samples
    if channels != composer.renderer.channels:
        samples = np.repeat(samples.mean(0, keepdims=True), composer.renderer.channels, axis=0)
    join = samples.shape[1] // HOP * HOP
    kept = max(join - RATE // 20, 0)
    np.testing.assert_allclose(made[:, :kept], samples[:, :kept], atol=1e-6)
    assert np.abs(made[:, join + HOP :]).max() > 1e-3
    if join:
        steps = np.abs(np.diff(made, axis=1)).max(axis=0)
        near = slice(max(kept - HOP, 0), join + HOP)
        elsewhere = np.concatenate([steps[: near.start], steps[near.stop :]])
        assert steps[near].max() <= 1.2 * elsewhere.max()


def test_what_is_continued_changes_what_follows(
    composers: dict[str, Composer], monkeypatch: pytest.MonkeyPatch
) -> None:
    composer = composers["mono"]
    renderer = composer.renderer
    assert isinstance(renderer, MusicGen)
    made = []
    for number in (1, 2):
        # In the place of the tiny codec, which has one code for all sounds.
        codes = np.random.default_rng(number).integers(0, 64, (4, 50))
        monkeypatch.setattr(renderer.codec, "encode", lambda _, codes=codes: codes)
        made += sound(composer, asked(seconds=2.0, continuation=some_music(1.0)))
    assert np.array_equal(made[0][:, : RATE * 9 // 10], made[1][:, : RATE * 9 // 10])
    after = slice(RATE + 12 * HOP, None)  # beyond what the codec's context reaches
    assert not np.array_equal(made[0][:, after], made[1][:, after])


@pytest.mark.usefixtures("short_windows")
def test_a_long_file_is_continued_from_its_end(
    composers: dict[str, Composer], monkeypatch: pytest.MonkeyPatch
) -> None:
    composer = composers["mono"]
    given = some_music(2.7)
    renderer = composer.renderer
    assert isinstance(renderer, MusicGen)
    heard: list[np.ndarray] = []
    encode = renderer.codec.encode

    def listening(samples: np.ndarray) -> np.ndarray:
        heard.append(samples)
        return encode(samples)

    monkeypatch.setattr(renderer.codec, "encode", listening)
    (made,) = sound(composer, asked(seconds=4.0, continuation=given))
    kept = 2 * RATE
    assert np.array_equal(made[:, :kept], given.samples[:, :kept])
    (window, *_) = renderer._planner.plan(asked(seconds=4.0, continuation=given)).windows
    shown = given.samples[:, window.shown * HOP : window.start * HOP]
    assert 0 < window.shown < window.start == given.frames // HOP
    np.testing.assert_array_equal(heard[0], shown)


def test_every_length_of_a_file_can_be_continued(composers: dict[str, Composer]) -> None:
    renderer = composers["mono"].renderer
    assert isinstance(renderer, MusicGen)
    for rate in (8_000, 11_025, 22_050, 44_100, 48_000):
        for frames in (rate // 10, rate // 10 + 1, rate // 7, rate // 2 - 1):
            given = Waveform(np.full((1, frames), 0.1, np.float32), rate)
            known = renderer._planner._continued_frames(given)
            assert known * HOP <= resample(given, RATE).frames < (known + 1) * HOP + 1


def test_guidance_0_hears_no_prompt_and_a_negative_one_is_heard(
    composers: dict[str, Composer],
) -> None:
    composer = composers["mono"]
    without = Sampling(guidance=0.0)
    one, same = (sound(composer, asked(p, sampling=without))[0] for p in ("jazz", "fast guitar"))
    assert np.array_equal(one, same)
    plain = sound(composer, asked())[0]
    kept_away = sound(composer, asked(negative="fast guitar"))[0]
    assert not np.array_equal(plain, kept_away)


def test_a_melody_is_followed_and_needs_a_checkpoint_that_can(
    composers: dict[str, Composer],
) -> None:
    tune = some_music(2.0)
    with_tune = sound(composers["melody"], asked(melody=tune))[0]
    without = sound(composers["melody"], asked())[0]
    assert not np.array_equal(with_tune, without)
    with pytest.raises(ConfigError, match="--melody needs a checkpoint that was trained on melod"):
        composers["mono"].renderer.perform([asked(melody=tune)])


def test_what_is_not_used_is_said(composers: dict[str, Composer]) -> None:
    for given, note in (
        ({"sampling": Sampling(guidance=1.0), "negative": "x"}, "the negative prompt is not used"),
        ({"sampling": Sampling(guidance=0.0)}, "the prompt is not used"),
        ({"prompt": "eight bars of jazz", "controls": Controls()}, "the piece lasts 10 s"),
    ):
        (plan,) = composers["mono"].renderer.perform([asked(**given)]).plans  # type: ignore[arg-type]
        assert note in plan.notes[-1]
        assert plan.wishes.bars is None


def test_bars_last_no_longer_than_seconds(composers: dict[str, Composer]) -> None:
    long = Controls(bars=1000, tempo_bpm=40.0)
    with pytest.raises(ConfigError, match="1000 bars last 6000 s at 40 BPM; expected at most 1800"):
        composers["mono"].renderer.perform([asked(controls=long)])


def test_the_record_has_every_text_that_was_read(composers: dict[str, Composer]) -> None:
    (piece,) = composers["mono"].compose(
        [asked(controls=Controls(duration_seconds=4.0, intro=True))]
    )
    assert piece.provenance["text"] == "slow jazz piano, intro"
    assert piece.provenance["sections"] == [{"text": "slow jazz piano", "start_seconds": 1.0}]


def test_the_melody_that_is_heard() -> None:
    scale = [60, 62, 64, 65, 67, 69, 71]
    rate, seconds = 32_000, 1.0
    time = np.arange(round(rate * seconds)) / rate
    tones = [np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) for pitch in scale]
    waveform = Waveform(0.3 * np.concatenate(tones)[None].astype(np.float32), rate)
    chroma = melody_chroma(waveform, round(len(scale) * seconds / FRAME_SECONDS), 12)
    assert (chroma.sum(axis=1) == 1).all()
    heard = chroma.argmax(axis=1)
    for number, pitch in enumerate(scale):
        middle = round((number + 0.5) * seconds / FRAME_SECONDS)
        assert (heard[middle - 2 : middle + 3] == pitch % 12).all()


def test_a_short_melody_is_repeated() -> None:
    time = np.arange(32_000) / 32_000
    tones = [0.3 * np.sin(2 * np.pi * hertz * time) for hertz in (440.0, 523.25)]
    waveform = Waveform(np.concatenate(tones)[None].astype(np.float32), 32_000)
    heard = melody_chroma(waveform, 100, 12).argmax(axis=1)
    length = round(2.0 / FRAME_SECONDS)
    middle = [round((second + 0.5) / FRAME_SECONDS) for second in range(5)]
    assert heard[middle].tolist() == [9, 0, 9, 0, 9]
    assert length == 16


def test_a_melody_and_the_longest_prompt_leave_room_for_a_whole_window(
    composers: dict[str, Composer],
) -> None:
    performance = composers["melody"].renderer.perform([asked("jazz " * 1000, 30.0)])
    assert "its last 489 tokens are not heard" in performance.plans[0].notes[-1]
    assert next(performance.blocks()).samples.shape[1] > 0


def test_memory_grows_with_the_codes_only(composers: dict[str, Composer]) -> None:
    blocks = composers["stereo"].renderer.perform([asked(seconds=16.0)]).blocks()
    tracemalloc.start()
    try:
        for _ in range(4):
            next(blocks)
        early = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        heard = sum(block.samples.shape[1] for block in blocks)
        late = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert heard > 10 * RATE
    assert late - early < 2_000_000  # 12 s of stereo would be 3 MB, and more while it is joined


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"sampling": Sampling(top_k=65)}, "top-k is 65; expected 1 to 64"),
        ({"sections": (Section("x", 1.0),)}, r"'x' starts at 1 s, and the piece ends at 1 s"),
        ({"continuation": some_music(1.0)}, r"lasts 1 s and the file to continue 1\.00 s; exp"),
        ({"continuation": some_music(7.0)}, r"the file to continue 7\.00 s; expected a longer"),
        (
            {"controls": INTRO, "sections": (Section("x", 1.5),)},
            "section 'slow jazz piano' starts at 2 s, where or after the next one",
        ),
        (
            {"controls": ENDING, "sections": (Section("x", 99.0),)},
            "section 'x' starts at 99 s, and the piece ends at 8 s",
        ),
        (
            {"controls": ENDING, "sections": (Section("x", 7.0),)},
            "section 'x' starts at 7 s, where or after the next one",
        ),
        ({"sections": (Section("x", 0.001),)}, "'slow jazz piano' starts at 0 s, where or after"),
        ({"prompt": "jazz", "controls": Controls(bars=4)}, "last by the tempo; give --tempo too"),
        (
            {
                "controls": Controls.from_options({"sections": "verse:2,solo:2", "tempo": 120}),
                "sections": (Section("x", 1.5),),
            },
            "sections are given by --section and by --sections; expected one",
        ),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_played_are_refused_before_anything_is_computed(
    composers: dict[str, Composer], values: dict[str, object], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        composers["mono"].renderer.perform([asked(**values)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sections", "match"),
    [
        ((Section("x", 0.0),), "section 'x' starts at 0 s; expected more than 0 s"),
        ((Section("x", 2.0), Section("y", 2.0)), "section 'y' starts at 2 s; expected more than 2"),
        ((Section("x", float("nan")),), "section 'x' starts at nan s"),
        ((Section("x", float("inf")),), "section 'x' starts at inf s"),
    ],
)
def test_sections_out_of_order_are_no_request(sections: tuple[Section, ...], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        asked(sections=sections)


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_a_seed_out_of_range_is_no_request(seed: int) -> None:
    with pytest.raises(ConfigError, match=f"seed is {seed}; expected 0 to"):
        asked(seed=seed)


def group_of(renderer: Renderer, request: Request) -> object:
    return renderer.perform([request]).plans[0].group


def test_what_cannot_be_written_in_one_batch_is_said(composers: dict[str, Composer]) -> None:
    renderer = composers["mono"].renderer
    others = (
        (asked(sampling=Sampling(temperature=0.5)), "their sampling settings differ"),
        (asked(seconds=2.0, continuation=some_music(0.5)), "their sections or beginnings differ"),
    )
    for other, match in others:
        with pytest.raises(ConfigError, match=match):
            renderer.perform([asked(), other])
        assert group_of(renderer, asked()) != group_of(renderer, other)
    assert group_of(renderer, asked()) == group_of(renderer, asked("other", 2.0, 5))


def test_a_codec_may_have_more_codebooks_than_the_decoder_writes(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    model = tiny_musicgen(tmp_path / "wide", codec_kbps=2.2)
    assert model.audio_encoder.config.num_quantizers == 7
    options = LoadOptions(precision="fp32", threads=1)
    composer = load_composer(tmp_path / "wide", options)
    assert isinstance(composer.renderer, MusicGen)
    codes = np.random.default_rng(0).integers(0, 64, (4, 30))
    with torch.no_grad():
        expected = model.audio_encoder.decode(torch.from_numpy(codes)[None, None], [None])
    ours = composer.renderer.codec.decode(codes)
    assert np.abs(ours - expected.audio_values[0].numpy()).max() <= 1e-5
    assert sound(composer, asked(continuation=some_music(0.5)))[0].shape == (1, RATE)


def test_a_codec_that_does_not_belong_to_the_decoder(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    for path in folders["mono"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = json.loads((tmp_path / "config.json").read_text())
    content["audio_encoder"]["target_bandwidths"] = [0.3, 0.6]
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(
        ModelError, match="writes 4 codebooks of 64 .* the codec has 2 of 64; expected"
    ):
        load_composer(tmp_path, LoadOptions(precision="fp32", threads=1))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (LoadOptions(precision="int3"), "precision is 'int3'; expected"),
        (LoadOptions(compile=True), "--compile"),
    ],
)
def test_options_that_no_processor_has(
    folders: dict[str, Path], options: LoadOptions, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        load_composer(folders["mono"], options)


def test_a_piece_is_kept_below_full_scale() -> None:
    assert below_full_scale(1.0) == (1.0, ())
    gain, (note,) = below_full_scale(2.0)
    assert 2.0 * gain == pytest.approx(10 ** (-1 / 20))
    assert note == "turned down by 7.0 dB, which keeps it from clipping"
