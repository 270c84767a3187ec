"""A long piece in windows: every frame is written once, none sees further back than allowed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.compose.generation import side_by_side
from antiphon.compose.windows import Window, plan

pytestmark = pytest.mark.unit


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, list[int], int, int, int]:
    """What `plan` takes: frames, section starts, known, window, stride."""
    frames = draw(st.integers(1, 400))
    inner = st.lists(st.integers(1, max(frames - 1, 1)), max_size=5, unique=True)
    starts = [0, *sorted(start for start in draw(inner) if start < frames)]
    known = draw(st.integers(0, frames - 1))
    window = draw(st.integers(1, 120))
    return frames, starts, known, window, draw(st.integers(1, window))


@settings(deadline=None)
@given(plans())
def test_every_new_frame_is_written_once_and_in_order(
    given_plan: tuple[int, list[int], int, int, int],
) -> None:
    frames, _, known, _, _ = given_plan
    written = [f for window in plan(*given_plan) for f in range(window.start, window.end)]
    assert written == list(range(known, frames))


@settings(deadline=None)
@given(plans())
def test_no_window_is_too_long_or_sees_what_is_not_there(
    given_plan: tuple[int, list[int], int, int, int],
) -> None:
    _, _, _, longest, stride = given_plan
    for window in plan(*given_plan):
        assert 0 <= window.shown <= window.start < window.end
        assert window.end - window.shown <= longest
        # As much context as there is and is allowed: a decoder without it begins anew.
        assert window.start - window.shown == min(window.start, longest - stride)


@settings(deadline=None)
@given(plans())
def test_a_section_begins_a_window_and_holds_until_the_next(
    given_plan: tuple[int, list[int], int, int, int],
) -> None:
    _, starts, known, _, _ = given_plan
    windows = plan(*given_plan)
    of_frame = {f: w.section for w in windows for f in range(w.start, w.end)}
    for frame, section in of_frame.items():
        assert section == sum(start <= frame for start in starts) - 1
    begun = {window.start for window in windows}
    assert {start for start in starts if start >= known} <= begun


@settings(deadline=None)
@given(plans(), st.integers(1, 400))
def test_a_longer_piece_has_the_same_windows_but_the_last(
    given_plan: tuple[int, list[int], int, int, int], more: int
) -> None:
    frames, starts, known, window, stride = given_plan
    short = plan(*given_plan)
    long = plan(frames + more, starts, known, window, stride)
    assert long[: len(short) - 1] == short[:-1]
    last, same = short[-1], long[len(short) - 1]
    assert (last.shown, last.start, last.section) == (same.shown, same.start, same.section)
    assert side_by_side([short, long])
    assert side_by_side([long, short])


def test_a_minute_by_hand() -> None:
    assert plan(3000, [0], 0, 1500, 900) == (
        Window(0, 0, 1500, 0),
        Window(900, 1500, 2400, 0),
        Window(1800, 2400, 3000, 0),
    )
    assert plan(1000, [0, 400], 0, 1500, 900) == (Window(0, 0, 400, 0), Window(0, 400, 1000, 1))
    assert plan(1000, [0, 400], 700, 1500, 900) == (Window(100, 700, 1000, 1),)


def test_what_cannot_be_written_side_by_side() -> None:
    one = plan(1000, [0], 0, 1500, 900)
    assert side_by_side([one, one])
    assert not side_by_side([one, plan(1000, [0], 100, 1500, 900)])  # begins later
    assert not side_by_side(
        [plan(1000, [0, 400], 0, 1500, 900), plan(1000, [0, 401], 0, 1500, 900)]
    )
    # A piece that ends is no hindrance for one that goes on with another section.
    assert side_by_side([one, plan(1000, [0, 400], 0, 1500, 900)])


def test_mistakes_of_ours() -> None:
    with pytest.raises(AssertionError, match="the first section starts at 3"):
        plan(10, [3], 0, 10, 5)
    with pytest.raises(AssertionError, match="a stride of 11 in a window of 10"):
        plan(10, [0], 0, 10, 11)
