"""Starting, watching and stopping the programs, through supervisord.

supervisord restarts a program that crashes, and stops a program with all its children. It also stops and starts single
programs, which `make demo-break` needs. It takes requests on its own socket (XML-RPC), which only the owner can open.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Collection, Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from include.local.environment import inherited
from include.local.programs import Program
from include.reasons import reason_of

ENDED = frozenset({"STOPPED", "EXITED", "FATAL"})
"""supervisord's names for the states of a program without a process."""
FROZEN = "FROZEN"
"""Our name for the state of a program whose process was suspended; supervisord says RUNNING."""

KEPT_PATH = "socket"
"""File in the state folder with the path of the running supervisord's socket."""

WRAPPER = Path(__file__).parent / "with-environment.sh"


class ProcessError(RuntimeError):
    """A program did not start or stop; the text ends with its log."""


class NotRunningError(ProcessError):
    """supervisord does not run, or takes no more requests."""


class EndingError(NotRunningError):
    """supervisord still runs but is shutting down, because this process or another terminal requested it."""


def socket_path(state: Path) -> Path:
    """Path of supervisord's socket. It is in the temporary folder, as such a path has at most 107 characters.

    While a stack runs its path is kept in `state`: another terminal may have another temporary folder.
    """
    kept = state / KEPT_PATH
    if kept.exists():
        return Path(kept.read_text())
    digest = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]
    return _folder() / f"{digest}.sock"


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"crypto-lakehouse-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def running_elsewhere(state: Path) -> list[Path]:
    """State folders of other stacks that this user runs, as far as they have the same temporary folder."""
    others = {Path(file.read_text()) for file in _folder().glob("*.state")} - {state.resolve()}
    return sorted(other for other in others if ProcessControl(other).running())


def configuration(state: Path, programs: Iterable[Program], environment_file: Path) -> str:
    """The text of supervisord's configuration file; its parser needs doubled percent signs."""
    logs = state / "logs"
    parts = [
        f"[supervisord]\nlogfile={logs}/supervisord.log\npidfile={state}/supervisord.pid\nchildlogdir={logs}",
        f"[unix_http_server]\nfile={socket_path(state)}\nchmod=0600",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs:
        command = " ".join(f'"{word}"' for word in (str(WRAPPER), str(environment_file), *program.command))
        parts.append(
            f"[program:{program.name}]\ncommand={command}\nautostart=false\nautorestart=true\nstartsecs=1\n"
            f"startretries=20\nstopsignal=TERM\nstopwaitsecs={program.stop_seconds}\nstopasgroup=true\n"
            f"killasgroup=true\nredirect_stderr=true\nstdout_logfile={logs}/{program.name}.log\n"
            "stdout_logfile_maxbytes=20MB\nstdout_logfile_backups=1"
        )
    return "\n\n".join(parts).replace("%", "%%") + "\n"


class ProcessControl:
    """One supervisord and its programs; their files are in `state`."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def _request(self, method: str, *arguments: object) -> Any:
        """Supervisord's answer, over a new connection, since a failed one cannot be used again.

        Raises:
            NotRunningError: supervisord does not run.
            EndingError: supervisord is shutting down.
            xmlrpc.client.Fault: supervisord refuses the request.
        """
        transport = SupervisorTransport(None, None, f"unix://{socket_path(self.state)}")
        server = xmlrpc.client.ServerProxy("http://supervisor", transport=transport).supervisor
        try:
            return getattr(server, method)(*arguments)
        except (OSError, HTTPException) as error:
            raise NotRunningError(f"supervisord does not answer: {reason_of(error)}") from error
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == Faults.SHUTDOWN_STATE:
                raise EndingError("supervisord is stopping everything") from fault
            raise

    def running(self) -> bool:
        """Whether supervisord answers and takes requests."""
        try:
            return bool(self._request("getState")["statename"] == "RUNNING")
        except NotRunningError:
            return False

    def present(self) -> bool:
        """Whether supervisord runs, even if it is shutting down."""
        try:
            self._request("getState")
        except EndingError:
            return True
        except NotRunningError:
            return False
        return True

    @contextlib.contextmanager
    def lock(self) -> Iterator[bool]:
        """Take the demo's lock for the block: True if no other process has it. The end of a process frees its lock."""
        self.state.parent.mkdir(parents=True, exist_ok=True)
        # Beside the folder: a start may empty the folder, and terminals may have different temporary folders.
        with self.state.with_name(f"{self.state.name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def start_supervisor(self, programs: Iterable[Program], environment_file: Path) -> None:
        """Start supervisord in the background; `start` then starts its programs.

        Raises:
            ProcessError: supervisord did not start.
        """
        (self.state / "logs").mkdir(parents=True, exist_ok=True)
        (self.state / KEPT_PATH).unlink(missing_ok=True)  # of a stack that was killed
        socket = socket_path(self.state)
        (self.state / KEPT_PATH).write_text(str(socket))
        socket.with_suffix(".state").write_text(str(self.state.resolve()))
        config = self.state / "supervisord.conf"
        config.write_text(configuration(self.state, programs, environment_file))
        result = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", config],
            capture_output=True,
            text=True,
            check=False,
            env=inherited(),
            start_new_session=True,  # only the demo gets Ctrl-C; it then stops everything in order
        )
        if result.returncode:
            raise ProcessError(f"supervisord did not start: {result.stdout.strip()} {result.stderr.strip()}")
        deadline = time.monotonic() + 15
        while not self.running():
            if time.monotonic() > deadline:
                raise ProcessError(f"supervisord did not answer; see {self.state / 'logs' / 'supervisord.log'}")
            time.sleep(0.05)

    def start(self, name: str, *, wait: bool = True) -> None:
        """Start one program if it is not running.

        Raises:
            ProcessError: the program ended at once; the text has the end of its log.
        """
        if self.status().get(name) in {"RUNNING", "STARTING", FROZEN}:
            return
        try:
            self._request("startProcess", name, wait)
        except xmlrpc.client.Fault as error:
            raise ProcessError(
                f"{name} did not start ({error.faultString}); its log ends:\n{self.log_tail(name)}"
            ) from error

    def stop(self, name: str) -> None:
        """Stop one program and all its children."""
        self.resume(name)
        with contextlib.suppress(xmlrpc.client.Fault):  # NOT_RUNNING
            self._request("stopProcess", name)

    def suspend(self, name: str) -> None:
        """Freeze one program: it keeps its connections and does nothing.

        Raises:
            ProcessError: the program does not run.
        """
        if not (process_id := self.process_id(name)):
            raise ProcessError(f"{name} does not run, so it cannot be frozen: make demo-fix starts it")
        psutil.Process(process_id).suspend()

    def resume(self, name: str) -> None:
        """Let a frozen program go on; nothing happens to another one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if (process_id := self.process_id(name)) and _is_frozen(process_id):
                psutil.Process(process_id).resume()

    def status(self) -> dict[str, str]:
        """State of each program by supervisord's names (RUNNING, STOPPED, BACKOFF, ...), and FROZEN after `suspend`."""
        return {
            info["name"]: FROZEN if info["pid"] and _is_frozen(info["pid"]) else info["statename"]
            for info in self._request("getAllProcessInfo")
        }

    def seconds_up(self) -> float:
        """Time since supervisord started; 0 when it does not run."""
        supervisor = self._supervisor()
        return 0.0 if supervisor is None else time.time() - supervisor.create_time()

    def process_id(self, name: str) -> int:
        """Process id of one program; 0 when it is not running."""
        return int(self._request("getProcessInfo", name)["pid"])

    def log_tail(self, name: str, size: int = 2000) -> str:
        """The end of a program's log."""
        path = self.state / "logs" / f"{name}.log"
        return path.read_text(errors="replace")[-size:] if path.exists() else "(no log)"

    def shutdown(self, last: Collection[str] = (), seconds: float = 90) -> None:
        """Stop every program, then supervisord itself; returns when it has ended.

        Programs end at the same time, except the programs in `last`. The other programs need these for a clean end, so
        these stop after them. Processes that a program left in another session, as Airflow leaves its tasks, are
        killed. If another terminal is stopping everything already, this method waits for its end.

        Raises:
            ProcessError: a program or supervisord still runs after `seconds`.
        """
        deadline = time.monotonic() + seconds
        supervisor = self._supervisor()
        if supervisor is None:
            return
        children: set[psutil.Process] = set()
        with contextlib.suppress(NotRunningError):
            self._end_programs(last, deadline, lambda: children.update(_descendants(supervisor.pid)))
            self._request("shutdown")
        while alive(supervisor):
            if time.monotonic() > deadline:
                raise ProcessError(f"supervisord (process {supervisor.pid}) still runs after {seconds:.0f} s")
            time.sleep(0.1)
        _kill(children)

    def _supervisor(self) -> psutil.Process | None:
        """Supervisord's process; None when it does not run, even if its pid file exists."""
        try:
            return psutil.Process(int(self._request("getPID")))
        except EndingError:
            # After its answer supervisord may end at any time, and then removes its pid file.
            with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
                return psutil.Process(int((self.state / "supervisord.pid").read_text()))
            return None
        except (NotRunningError, psutil.NoSuchProcess):
            return None

    def _end_programs(self, last: Collection[str], deadline: float, look: Callable[[], None]) -> None:
        look()
        first = [name for name, state in self.status().items() if name not in last and state not in ENDED]
        for name in first:
            self.resume(name)
            with contextlib.suppress(xmlrpc.client.Fault):  # the program ended meanwhile
                self._request("stopProcess", name, False)
        while any(state not in ENDED for name, state in self.status().items() if name in first):
            if time.monotonic() > deadline:
                raise ProcessError(f"these programs do not end: {self.status()}")
            look()
            time.sleep(0.1)


def _is_frozen(process_id: int) -> bool:
    try:
        return bool(psutil.Process(process_id).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs. A zombie does not: in a container often no process collects its exit status."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _descendants(process_id: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(process_id).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _kill(processes: Collection[psutil.Process]) -> None:
    """Kill the processes that still run, and their children. psutil recognises a reused process id."""
    remaining = [process for process in processes if alive(process)]
    remaining += [child for process in remaining for child in _descendants(process.pid)]
    for process in remaining:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(remaining, timeout=5)
