"""Files of prompts: what is read out of them, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.compose.batch.prompt_files import Row, read_rows
from antiphon.errors import ConfigError, StorageError

pytestmark = pytest.mark.unit


def rows_of(folder: Path, name: str, text: str | bytes) -> tuple[Row, ...]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_rows(path)


def test_text(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path, "p.txt", "\ufeff# of mine\nslow jazz\r\n\n  a\u2028b  \n#\n#1 hit\nlast, one"
    )
    assert [(row.number, row.line, row.fields["prompt"]) for row in rows] == [
        (0, 2, "slow jazz"),
        (1, 4, "a\u2028b"),
        (2, 6, "#1 hit"),
        (3, 7, "last, one"),
    ]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv(tmp_path: Path, mark: str) -> None:
    text = (
        f"{mark}prompt,Top-K,output\r\n"
        '"slow, ""blue""\nblues", 3 ,\r\n'
        "\r\n,,\r\n"
        "jazz,1,x,y\r\n"
        "jazz\r\n"
        ",7,a.wav\r\n"
    )
    first, long, short, last = rows_of(tmp_path, "p.csv", text)
    assert first == Row(0, 2, {"prompt": 'slow, "blue"\nblues', "top_k": "3"})
    assert long.line == 6
    assert long.problem is not None
    assert long.problem.startswith("it has 4 cells, and the header 3")
    assert short.problem is not None
    assert last == Row(3, 8, {"top_k": "7", "output": "a.wav"})


def test_json_lines(tmp_path: Path) -> None:
    text = (
        '{"prompt": "jazz", "tempo": 90.5, "mood": ["sad"], "intro": true, "key": null, '
        '"seed": 0}\n'
        "\n"
        "[1]\n"
        '{"prompt": "jazz"\n'
        '{"prompt": "jazz", "tempoo": 3}\n' + "[" * 100_000 + "\n"
        '{"seed": 1' + "0" * 5_000 + "}\n"
    )
    rows = rows_of(tmp_path, "p.jsonl", text)
    assert rows[0] == Row(
        0, 1, {"prompt": "jazz", "tempo": 90.5, "mood": ["sad"], "intro": True, "seed": 0}
    )
    problems = [(row.number, row.line, row.problem) for row in rows[1:]]
    assert [(number, line) for number, line, _ in problems] == [(n, n + 2) for n in range(1, 6)]
    for (_, _, problem), expected in zip(
        problems,
        (
            "no JSON object",
            "no JSON: Expecting ',' delimiter",
            "did you mean 'tempo'",
            "JSON",
            "JSON",
        ),
        strict=True,
    ):
        assert problem is not None
        assert expected in problem


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.md", "jazz", r"\.txt, \.csv, \.jsonl"),
        ("p.txt", "# nothing\n\n", "holds no prompts"),
        ("p.csv", "prompt\n", "holds no prompts"),
        ("p.csv", "prompt,tenpo\nx,3\n", r"'tenpo' is not known \(did you mean 'tempo'"),
        ("p.csv", "prompt;tempo\nx;3\n", "commas between"),
        ("p.csv", "prompt,tempo,tempo\nx,3,4\n", "'tempo' is there twice"),
        ("p.csv", "tempo,key\n3,C\n", "no column 'prompt'"),
        ("p.csv", 'prompt\n"jazz\nand no end\n', "line 2, is no CSV"),
        ("p.txt", b"fine\nM\xfcnchen\n", "not UTF-8, line 2"),
    ],
)
def test_a_file_of_no_use(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rows_of(tmp_path, name, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.txt", tmp_path):
        with pytest.raises((StorageError, ConfigError), match=path.name):
            read_rows(path)
