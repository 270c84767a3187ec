from random import Random

import pytest

from antiphon.arrange.figures import pick_by_intensity, read_figure, stream

pytestmark = pytest.mark.unit


def test_a_figure_is_read_step_by_step() -> None:
    (bar,) = read_figure("x--X ..o- .... x---", 4)
    assert bar == ((0.0, 0.75, "x"), (0.75, 0.25, "X"), (1.5, 0.5, "o"), (3.0, 1.0, "x"))


def test_two_bars_in_one_figure() -> None:
    first, second = read_figure("x--- ---- ---- --.x ---- x---", 3)
    assert first == ((0.0, 3.0, "x"),)
    # A hold at the start of a bar holds nothing.
    assert second == ((0.75, 1.25, "x"), (2.0, 1.0, "x"))


def test_figures_go_from_sparse_to_busy() -> None:
    options = ["sparse", "medium", "busy"]
    rng = Random(1)
    calm = [pick_by_intensity(options, 0.05, rng) for _ in range(50)]
    wild = [pick_by_intensity(options, 0.95, rng) for _ in range(50)]
    middle = {pick_by_intensity(options, 0.5, rng) for _ in range(50)}
    assert "busy" not in calm
    assert "sparse" not in wild
    assert "medium" in middle


def test_streams_do_not_move_each_other() -> None:
    assert stream(1, "bass").random() == stream(1, "bass").random()
    others = [stream(1, "drums"), stream(2, "bass"), stream(1, "bass", "verse")]
    assert stream(1, "bass").random() not in {other.random() for other in others}
