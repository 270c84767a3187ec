"""The OpenAPI says what is true: whatever fits it is answered as it says, and never with a failure.

The benchmark does the same with more than ten thousand cases.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serve.served import served

pytestmark = pytest.mark.integration
CASES_PER_OPERATION = 15


def test_everything_that_is_asked_is_answered_as_the_openapi_says(tmp_path: Path) -> None:
    with served(tmp_path, 'listener="fake"', fake={}, caps={"running_per_key": 64}) as running:
        with running.client() as client:
            openapi = client.get("/openapi.json").json()
        assert len(openapi["paths"]) > 25
        report = check_openapi(running.address, CASES_PER_OPERATION, tmp_path)
        assert running.process.poll() is None
        assert "Traceback" not in running.log.read_text()
    assert report.returncode == 0, report.stdout[-5000:]


def check_openapi(address: str, cases: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """schemathesis over all operations but the endless ones."""
    environment = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)}
    command = [
        str(Path(sys.executable).parent / "st"), "run", f"{address}/openapi.json",
        "--max-examples", str(cases), "--phases", "examples,coverage,fuzzing",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance,response_headers_conformance",
        "--seed", "1", "--workers", "1", "--no-color", "--request-timeout", "20",
        "--generation-deterministic",
    ]  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, timeout=1800
    )


def test_the_openapi_has_examples_and_describes_every_failure(tmp_path: Path) -> None:
    from antiphon.serve.app import create_app
    from antiphon.serve.options import ServeOptions

    openapi = create_app(ServeOptions(state=tmp_path), tmp_path).openapi()
    schemas = openapi["components"]["schemas"]
    for name in ("MusicBody", "SpeechBody", "ChatBody", "ElevenBody", "GenerateBody", "InferBody"):
        assert schemas[name]["examples"], name
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            assert {"400", "401", "403", "429", "503"} <= set(operation["responses"]), (
                path,
                method,
            )
    assert "/metrics" in openapi["paths"]
