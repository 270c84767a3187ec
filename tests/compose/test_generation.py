"""The loop that writes codes, with a decoder that is a hash of all it has seen."""

from __future__ import annotations

import numpy as np
import pytest
from decoder_fakes import FakeDecoder
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.compose.engines import Branch
from antiphon.compose.generation import Frame, Item, write_codes
from antiphon.compose.patterns import Codes, Pattern, delay, parallel, stereo_delay
from antiphon.compose.sampling import Sampling, draws_of
from antiphon.compose.windows import Window, plan

pytestmark = pytest.mark.unit

CARD = 64
MONO = delay(4)


def branches(number: int) -> tuple[Branch, ...]:
    return (Branch(None), Branch(np.full((2, 3), number, np.float32)))


def item(
    seed: int, windows: tuple[Window, ...], known: Codes | None = None, sections: int = 1
) -> Item:
    of_sections = tuple(branches(100 * seed + section) for section in range(sections))
    nothing = np.zeros((4, 0), np.int64)
    return Item(windows, of_sections, nothing if known is None else known, draws_of(seed))


def written(
    items: list[Item], pattern: Pattern = MONO, engine: FakeDecoder | None = None
) -> dict[int, Codes]:
    """The codes [K, F] of each item."""
    frames: dict[int, list[Codes]] = {number: [] for number in range(len(items))}
    engine = engine or FakeDecoder()
    for moment in write_codes(engine, items, (3.0,), Sampling(), pattern):
        for frame in moment:
            frames[frame.item].append(frame.codes)
    return {number: np.stack(codes, axis=1) for number, codes in frames.items()}


@pytest.mark.parametrize("pattern", [MONO, parallel(4), Pattern((0, 3, 1, 2))])
def test_the_decoder_sees_the_codes_in_their_pattern(pattern: Pattern) -> None:
    engine = FakeDecoder()
    codes = written([item(1, plan(20, [0], 0, 50, 30))], pattern, engine)[0]
    (session,) = engine.sessions
    steps = pattern.layout(20).interleave(codes, CARD)
    # The start token, then every step but the last, which nothing follows.
    assert (session.seen[0, :, 0] == CARD).all()
    assert np.array_equal(session.seen[0, :, 1:], steps[:, :-1])
    assert session.room == session.seen.shape[-1] == steps.shape[-1]


def test_stereo_writes_both_sides_together() -> None:
    engine = FakeDecoder.stereo()
    known = np.zeros((8, 0), np.int64)
    one = Item(plan(9, [0], 0, 50, 30), (branches(1),), known, draws_of(1))
    codes = written([one], stereo_delay(8), engine)[0]
    assert codes.shape == (8, 9)
    seen = engine.sessions[0].seen[0]
    assert (seen[:2, 1] < CARD).all()
    assert (seen[2:, 1] == CARD).all()


def test_a_frame_comes_as_soon_as_its_last_codebook_is_there() -> None:
    engine = FakeDecoder()
    moments = write_codes(engine, [item(1, plan(12, [0], 0, 50, 30))], (3.0,), Sampling(), MONO)
    for number, frames in enumerate(moments):
        assert [frame.item for frame in frames] == [0]
        # Its codebooks lie in steps `number` to `number + 3`: four steps give it, no fifth.
        assert engine.sessions[0].seen.shape[-1] == number + 4
    assert number == 11


def test_known_codes_are_kept_and_go_before() -> None:
    known = np.random.default_rng(0).integers(0, CARD, (4, 15))
    windows = plan(30, [0], 15, 50, 30)
    engine = FakeDecoder()
    codes = written([item(1, windows, known)], MONO, engine)[0]
    assert codes.shape == (4, 15)
    seen = engine.sessions[0].seen[0]
    whole = np.concatenate([known, codes], axis=1)
    assert np.array_equal(seen[:, 1:], MONO.layout(30).interleave(whole, CARD)[:, :-1])
    assert engine.sessions[0].fed == 15  # at once, not step by step: start token and 14 steps


def test_what_is_known_changes_what_follows() -> None:
    random = np.random.default_rng(0)
    windows = plan(30, [0], 15, 50, 30)
    one, other = (written([item(1, windows, random.integers(0, CARD, (4, 15)))]) for _ in "ab")
    assert not np.array_equal(one[0], other[0])


def test_only_the_end_of_a_long_known_piece_is_shown() -> None:
    known = np.random.default_rng(0).integers(0, CARD, (4, 100))
    windows = plan(120, [0], 100, 50, 30)
    engine = FakeDecoder()
    codes = written([item(1, windows, known)], MONO, engine)[0]
    seen = engine.sessions[0].seen[0]
    shown = MONO.layout(40).interleave(np.concatenate([known[:, 80:], codes], axis=1), CARD)
    assert np.array_equal(seen[:, 1:], shown[:, :-1])


def test_each_window_is_shown_the_end_of_what_there_is() -> None:
    windows = plan(120, [0], 0, 50, 30)
    engine = FakeDecoder()
    codes = written([item(1, windows)], MONO, engine)[0]
    assert codes.shape == (4, 120)
    assert len(engine.sessions) == len(windows) == 4
    for window, session in zip(windows, engine.sessions, strict=True):
        frames = codes[:, window.shown : window.end]
        steps = MONO.layout(frames.shape[1]).interleave(frames, CARD)
        assert np.array_equal(session.seen[0, :, 1:], steps[:, :-1])


def test_sections_have_their_own_prompt_and_change_nothing_before() -> None:
    plain = written([item(1, plan(60, [0], 0, 50, 30))])[0]
    engine = FakeDecoder()
    codes = written([item(1, plan(60, [0, 20], 0, 50, 30), sections=2)], MONO, engine)[0]
    # The last codebooks of the last two frames are written when the first ones are at their end.
    assert np.array_equal(codes[:, :18], plain[:, :18])
    assert np.array_equal(codes[:2, :20], plain[:2, :20])
    assert not np.array_equal(codes[:, 20:24], plain[:, 20:24])
    texts = [session.items[0] for session in engine.sessions]
    assert texts[0] != texts[1] == texts[2]


@settings(max_examples=40, deadline=None)
@given(
    ends=st.lists(st.integers(1, 90), min_size=1, max_size=4),
    section=st.integers(1, 60),
    known=st.integers(0, 8),
)
def test_an_item_is_the_same_alone_and_beside_others(
    ends: list[int], section: int, known: int
) -> None:
    def items() -> list[Item]:
        result = []
        for seed, end in enumerate(ends):
            frames = known + end
            starts = [0, section] if section < frames else [0]
            codes = np.random.default_rng(seed).integers(0, CARD, (4, known))
            result.append(item(seed, plan(frames, starts, known, 40, 25), codes, sections=2))
        return result

    together = written(items())
    for number, one in enumerate(items()):
        assert np.array_equal(written([one])[0], together[number])
        assert together[number].shape == (4, ends[number])


def test_frames_of_one_moment_come_together() -> None:
    items = [item(seed, plan(frames, [0], 0, 50, 30)) for seed, frames in enumerate((3, 5))]
    moments: list[tuple[Frame, ...]] = list(
        write_codes(FakeDecoder(), items, (3.0,), Sampling(), MONO)
    )
    found = [[frame.item for frame in frames] for frames in moments]
    assert found == [[0, 1], [0, 1], [0, 1], [1], [1]]


def test_nothing_is_computed_before_the_first_frame_is_asked_for() -> None:
    engine = FakeDecoder()
    frames = write_codes(engine, [item(1, plan(9, [0], 0, 50, 30))], (3.0,), Sampling(), MONO)
    assert engine.sessions == []
    next(frames)
    assert len(engine.sessions) == 1
