"""A prompt that says nothing is no prompt, as composers are trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from t5_models import tiny_musicgen

from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.compose.requests import Request
from antiphon.compose.sampling import Sampling

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("melody", [False, True])
def test_an_empty_prompt_is_the_branch_of_no_prompt(tmp_path: Path, melody: bool) -> None:
    tiny_musicgen(tmp_path / "model", melody=melody)
    model = load_musicgen(tmp_path / "model", LoadOptions("fp32", 1))

    def made(prompt: str, guidance: float) -> np.ndarray:
        request = Request(prompt, 3, sampling=Sampling(guidance=guidance, top_k=20))
        branches = model.guidance(request, [prompt]).sections[0]
        session = model.engine.begin(
            [branches], (guidance,) * (len(branches) - 1), request.sampling, 9
        )
        codes = np.full((1, 4), 64)
        found = []
        for _ in range(8):
            logits = session.logits(codes)
            found.append(logits)
            codes = logits.argmax(-1)
        return np.concatenate(found)

    nothing = made("slow jazz", 0.0)
    np.testing.assert_allclose(made("", 3.0), nothing, atol=2e-5)
    np.testing.assert_allclose(made("", 1.0), nothing, atol=2e-5)
    assert np.abs(made("slow jazz", 1.0) - nothing).max() > 1e-3
