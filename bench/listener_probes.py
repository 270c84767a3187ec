"""What hearing a clip takes on one core, in a process of its own; prints JSON.

python bench/listener_probes.py CLIP
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from antiphon.analysis import measure
from antiphon.audio import Limits, read
from antiphon.listen.describer import describe
from antiphon.listen.ear import built_in_ear
from antiphon.listen.mel import SAMPLE_RATE, log_mel
from antiphon.listen.prompts import load_prompt_set
from antiphon.listen.tagger import Tagger

ROUNDS = 9


def main(path: Path) -> None:
    ear = built_in_ear()
    started = time.perf_counter()
    tagger = Tagger(ear.folder)
    loading = time.perf_counter() - started
    kinds = {kind: one.max_words for kind, one in load_prompt_set("standard").kinds.items()}
    samples = read(path, sample_rate=SAMPLE_RATE, mono=True).waveform.samples[0]
    mels = log_mel(samples)

    def five_texts() -> None:
        facts = measure(path)
        describe(facts, ear.hear(path, facts, Limits()), kinds)

    found = {
        "texts_seconds": _median(five_texts),
        "measure_seconds": _median(lambda: measure(path)),
        "mel_seconds": _median(lambda: log_mel(samples)),
        "heads_seconds": _median(lambda: tagger.of_mels(mels)),
        "loading_seconds": loading,
        "rounds": ROUNDS,
    }
    print(json.dumps(found))


def _median(work: Callable[[], object]) -> float:
    """Of the processor time, after a first round that does not count."""
    work()
    spent = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return statistics.median(spent)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
