"""The parent's end of `gguf_worker`: started when needed, restarted when it died, ended in time.

Knows no clip and no question.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import antiphon
from antiphon.errors import ConfigError, DependencyError, EngineError, ModelError
from antiphon.listen.engines.gguf_worker import Message, read_message, write_message

# llama.cpp looks at its requests between two tokens; while it reads a prompt it cannot be told.
CANCEL_SECONDS = 0.4
_CLOSE_SECONDS = 5.0
_LOG_LINES = 40
_LOG_LINE_BYTES = 400
_SHOWN_CHARACTERS = 300
_ERROR_MARK = " E "  # after the time, in llama.cpp's log


class Cancelled(Exception):
    """The process was killed because the call was cancelled."""


class WorkerProcess:
    """One process at a time that holds the model; a call at a time, but for `cancel`.

    `load` is what the worker is told first. A process that died is replaced by the next call.
    """

    def __init__(self, load: Message, name: str) -> None:
        self._load = {"do": "load", **load}
        self._name = name
        self._child: _Child | None = None
        self._number = 0  # of the call
        self._cancelled = -1  # every call up to this one
        self._closed = False
        self._busy = False
        self._writing = threading.Lock()
        self.context = int(load["context"])  # tokens; what there is, once it started

    def start(self) -> bool:
        """Start the process where none is alive; True if it is a new one.

        Raises ModelError if the model cannot be loaded, DependencyError without xllamacpp.
        """
        if self._closed:
            raise EngineError(f"{self._name} was closed; load it again")
        if self._child is not None:
            if self._child.alive:
                return False
            self._child.close()
        self._child = _Child()
        self.context = int(self._call(self._load, b"", None)["context"])
        return True

    def ask(self, request: Message, on_piece: Callable[[str], object]) -> Message:
        """What the worker found out beside the pieces of the text."""
        return self._call({"do": "ask", **request}, b"", on_piece)

    def hear(self, wav: bytes) -> None:
        self._call({"do": "hear"}, wav, None)

    def count(self, text: str) -> int:
        """How many tokens `text` is."""
        return int(self._call({"do": "count", "text": text}, b"", None)["tokens"])

    def begin(self) -> None:
        """From here on `cancel` has something to end."""
        self._number += 1
        self._busy = True

    def end(self) -> None:
        self._busy = False

    @property
    def cancelled(self) -> bool:
        return self._cancelled >= self._number

    def cancel(self) -> None:
        """End the call in progress; the process too, if it does not listen."""
        number = self._number
        if not self._busy:
            return
        self._cancelled = number
        killer = threading.Timer(CANCEL_SECONDS, self._kill_if_busy, (number,))
        killer.daemon = True
        killer.start()
        self.stop_answer()

    def stop_answer(self) -> None:
        """Ask the worker to end its answer, as `cancel` does, but without consequences."""
        child = self._child
        # The lock is taken where the worker does not read what it is sent: the killer will help.
        if child is not None and self._writing.acquire(timeout=CANCEL_SECONDS):
            with suppress(OSError, ValueError):
                write_message(child.stdin, {"do": "cancel", "number": child.asked})
            self._writing.release()

    def close(self) -> None:
        self._closed = True
        if self._child is not None:
            self._child.close()

    def _kill_if_busy(self, number: int) -> None:
        child = self._child
        if self._busy and self._number == number and child is not None:
            child.kill()

    def _call(
        self, message: Message, payload: bytes, on_piece: Callable[[str], object] | None
    ) -> Message:
        child = self._child
        assert child is not None
        if message.get("do") == "ask":
            child.asked += 1
            message = {**message, "number": child.asked}
        try:
            answer = self._exchange(child, message, payload)
            while "piece" in answer:
                if on_piece is not None:
                    on_piece(answer["piece"])
                answer = self._exchange(child)
        except BaseException:
            child.kill()  # what it would still send is the answer to no question
            child.close()
            raise
        if "error" in answer:
            raise self._error(child, answer)
        done: Message = answer["done"]
        return done

    def _exchange(
        self, child: _Child, message: Message | None = None, payload: bytes = b""
    ) -> Message:
        """Send what there is to send; the next message of the worker."""
        try:
            if message is not None:
                with self._writing:
                    write_message(child.stdin, message, payload)
            return read_message(child.stdout)[0]
        except (EOFError, OSError, ValueError) as error:
            if self.cancelled:
                raise Cancelled from error
            child.close()
            raise EngineError(
                f"the process that ran {self._name} ended {child.how_it_ended()}; the next "
                f"question starts a new one{child.last_words()}"
            ) from error

    def _error(self, child: _Child, answer: Message) -> Exception:
        kind, text = answer["kind"], " ".join(str(answer["error"]).split())[:_SHOWN_CHARACTERS]
        if kind == "import":
            return DependencyError(
                f"{self._name} needs xllamacpp ({text}); pip install 'antiphon[gguf]'"
            )
        if kind == "load":
            child.close()
            return ModelError(f"{self._name} cannot be loaded: {child.first_error() or text}")
        if kind == "context":
            return ConfigError(f"{self._name}: {text}; ask with less text, or a larger context")
        if kind == "request":
            return ConfigError(f"{self._name} does not take this question: {text}")
        return EngineError(f"{self._name} failed: {text}{child.last_words()}")


class _Child:
    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LLAMA_")}
        package_root = str(Path(antiphon.__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(
            [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        # -P and a session of its own: as in audio/isolated.py.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "antiphon.listen.engines.gguf_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self.stdin: IO[bytes] = stdin
        self.stdout: IO[bytes] = stdout
        self.asked = 0
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._logger = threading.Thread(target=self._keep_log, args=(stderr,), daemon=True)
        self._logger.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """End the process and let go of the pipes; may be called again."""
        with suppress(OSError):  # what it never read is still in the buffer
            self.stdin.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._logger.join(_CLOSE_SECONDS)
        self.stdout.close()

    def how_it_ended(self) -> str:
        code = self._process.returncode
        if code is None or code >= 0:
            return f"with exit code {code}"
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return f"by {name}" + (" (killed, or out of memory)" if name == "SIGKILL" else "")
        return f"by signal {-code}"

    def last_words(self) -> str:
        """The end of what it wrote to stderr; warnings there are usual, and no errors."""
        words = " | ".join(self._log)[-_SHOWN_CHARACTERS:]
        return f" (its last words: {words})" if words else ""

    def first_error(self) -> str:
        """What llama.cpp complained of first: the rest follows from it."""
        marked = (line.partition(_ERROR_MARK) for line in self._log)
        return next((text[:_SHOWN_CHARACTERS] for _, mark, text in marked if mark), "")

    def _keep_log(self, stderr: IO[bytes]) -> None:
        with stderr:
            while line := stderr.readline(_LOG_LINE_BYTES):
                text = " ".join(line.decode("utf-8", "replace").split())
                if text:
                    self._log.append(text)
