"""Who may import whom, and what an import costs: the sources, and fresh interpreters."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import antiphon

pytestmark = pytest.mark.integration

SOURCE = Path(antiphon.__file__).parent

# From the top down: a module may import from its own layer and those below.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("serve",),
    ("train", "evaluate", "teach"),
    ("data", "hearing"),
    ("listen", "compose"),
    ("analysis", "arrange", "synth"),
    (
        "models", "description", "exports", "files", "facts", "midi", "score", "controls",
        "notation", "plain", "addresses", "audio", "loudness", "settings", "log",
        "threads", "workers", "journal", "csv_rows", "memory", "graphs", "weights",
    ),
    ("errors",),
)  # fmt: skip
STRANGERS = ({"listen", "compose"},)  # of one layer, but they never import each other
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

# Of what `pip install antiphon` does not bring, everything a module could come to lean on.
OPTIONAL = (
    "av", "fluidsynth", "torch", "transformers", "xllamacpp", "ray", "pyarrow",
    "lightning", "fastapi", "starlette", "uvicorn", "anyio", "mcp", "prometheus_client",
    "multipart", "librosa", "mir_eval", "psutil", "hypothesis", "pytest",
    "tensorboard", "wandb",
)  # fmt: skip
# Classes of torch's have no form without it: imported only where torch is asked for.
OF_TORCH = {
    "antiphon.compose.lm",
    "antiphon.compose.engines.torch",
    "antiphon.compose.engines.torch_block",
    "antiphon.train.checkpoints",
    "antiphon.train.codec",
    "antiphon.train.composer",
    "antiphon.train.composer_model",
    "antiphon.train.composer_shape",
    "antiphon.train.devices",
    "antiphon.train.exporting",
    "antiphon.train.listener",
    "antiphon.train.listener_export",
    "antiphon.train.listener_model",
    "antiphon.train.lora",
    "antiphon.train.loop",
    "antiphon.train.magnitude_model",
    "antiphon.train.memory",
    "antiphon.train.optimizing",
    "antiphon.train.profiling",
    "antiphon.train.resuming",
    "antiphon.train.runs",
    "antiphon.train.sampling",
    "antiphon.train.sizing",
    "antiphon.train.task",
}
# The API is made of a web framework; the rest of the service is not.
OF_SERVE = {
    "antiphon.serve.app",
    "antiphon.serve.connections",
    "antiphon.serve.guards",
    "antiphon.serve.metrics",
    "antiphon.serve.routes.chat",
    "antiphon.serve.routes.chat_music",
    "antiphon.serve.routes.common",
    "antiphon.serve.routes.composing",
    "antiphon.serve.routes.files",
    "antiphon.serve.routes.jobs",
    "antiphon.serve.routes.listening",
    "antiphon.serve.routes.ops",
    "antiphon.serve.routes.sound",
    "antiphon.serve.tools",
}
HEAVY = ("numpy", "scipy", "torch", "onnxruntime", "soundfile", "soxr", "pydantic", "typer", "rich")


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imported(tree: ast.AST, *, when_run: bool = False) -> Iterator[tuple[str, int]]:
    """Modules of ours that are imported, with the line; `when_run` leaves out what is imported
    inside functions and for type checking only."""
    for node in ast.iter_child_nodes(tree):
        if when_run and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if when_run and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from imported(other, when_run=when_run)
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            # `from antiphon.audio import writing` may name a module or something in one.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in names]
        else:
            names = []
            yield from imported(node, when_run=when_run)
        yield from ((n, node.lineno) for n in names if n.split(".")[0] == "antiphon")


def part_of(module: str) -> str | None:
    """The layer's part a module belongs to; None for the package itself."""
    return module.split(".")[1] if "." in module else None


def violations(module: str, tree: ast.AST) -> list[str]:
    own = part_of(module)
    if own is None:
        return []  # the public names come from everywhere, when they are first used
    found = []
    for name, line in imported(tree):
        other = part_of(name)
        if other is None or other == own:
            continue
        strangers = any({own, other} <= pair for pair in STRANGERS)
        if strangers or RANK[other] < RANK[own]:
            found.append(f"{module}:{line} imports {name}")
    return found


def run(code: str) -> str:
    """What the code prints in an interpreter of its own; warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_belongs_to_a_layer() -> None:
    assert {part_of(module) for module in MODULES} - {None} <= set(RANK)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_the_layers_only(module: str) -> None:
    assert not violations(module, ast.parse(MODULES[module].read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("antiphon.facts", "from antiphon.analysis import measure"),
        ("antiphon.analysis.tempo", "import antiphon.listen.describer"),
        ("antiphon.listen.listener", "def f():\n    from antiphon.compose import composer"),
        ("antiphon.compose.composer", "from antiphon import listen"),
        ("antiphon.errors", "if TYPE_CHECKING:\n    from antiphon.notation import Key"),
    ],
)
def test_an_import_against_the_layers_is_seen(
    module: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODULES, "antiphon.listen", SOURCE)
    assert violations(module, ast.parse(line))
    assert not violations("antiphon.cli.main", ast.parse(line))


def test_no_module_waits_for_itself() -> None:
    """No cycles among the imports that run when a module is loaded."""
    graph = {}
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[module] = {name for name, _ in imported(tree, when_run=True)} - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_importing_antiphon_loads_nothing_heavy() -> None:
    code = "import sys, antiphon; print(*sys.modules, sep='\\n')"
    loaded = {name.split(".")[0] for name in run(code).split()}
    assert not loaded & set(HEAVY)


def test_every_module_loads_with_the_base_dependencies() -> None:
    code = f"""
import importlib, importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
for name in {sorted(MODULES.keys() - OF_TORCH - OF_SERVE)!r}:
    importlib.import_module(name)
print(len(sys.modules))
"""
    assert int(run(code)) > len(MODULES)


def test_public_names_resolve() -> None:
    for name in antiphon.__all__:
        assert getattr(antiphon, name) is not None
    assert {name for name in antiphon.__all__ if name[0] != "_"} <= set(dir(antiphon))
    for package in ("analysis", "audio", "arrange", "synth"):
        module = __import__(f"antiphon.{package}", fromlist=["x"])
        for name in module.__all__:
            assert getattr(module, name) is not None


@pytest.mark.parametrize("package", ["antiphon", "antiphon.analysis", "antiphon.audio"])
def test_a_name_that_is_not_there_is_an_attribute_error(package: str) -> None:
    module = __import__(package, fromlist=["x"])
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        module.nonsense  # noqa: B018
