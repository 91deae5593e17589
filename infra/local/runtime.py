"""Lambda on this machine: every execution environment is a process that serves one invocation at a time.

A parent process imports the app once and forks environments from itself, so that a new one is there in
milliseconds. It starts no thread and makes no client, which would not survive a fork.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from infra.local.functions import (
    API_FUNCTION,
    Authorizer,
    Deployment,
    Function,
    FunctionDied,
    FunctionError,
    FunctionTimeout,
    QueueSource,
    Route,
    Timer,
    described,
    read_config,
)
from infra.local.gateway import ACCOUNT_ID, REGION

logger = logging.getLogger(__name__)

# Environments of a function: up to the first number at once, up to the second when callers have had to wait.
API_ENVIRONMENTS = (6, 24)
OTHER_ENVIRONMENTS = (4, 4)
PATIENCE_SECONDS = 0.5


class Stopped(FunctionError):
    """The runtime is being stopped and invokes nothing any more."""


class BrokenApp(Exception):
    """The app could not be imported; the text is the traceback."""


@dataclass(slots=True)
class Context:
    """What Lambda hands a function beside its event."""

    function_name: str
    memory_limit_in_mb: int
    deadline: float
    aws_request_id: str
    log_stream_name: str
    function_version: str = "$LATEST"
    identity: None = None
    client_context: None = None

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.time()) * 1000))


@dataclass(slots=True)
class Environment:
    """A process that holds one function warm, and the connection to it."""

    pid: int
    connection: Connection

    def alive(self) -> bool:
        """Whether it still waits for an event: one that has ended has its end of the connection closed."""
        return not self.connection.poll(0)


@dataclass(slots=True)
class Pool:
    """A function's environments: the idle ones, how many there are, how many there may be."""

    function: Function
    limits: tuple[int, int]
    idle: list[Environment] = field(default_factory=list)
    count: int = 0
    freed: threading.Condition = field(default_factory=threading.Condition)


class Runtime:
    """The functions of an app, to be invoked by name; `close` ends every process that it started."""

    def __init__(self, logs: Path) -> None:
        """Start the parent process; it imports the app on `load`."""
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = logs
        self.deployment = Deployment((), (), (), ())
        self._pools: dict[str, Pool] = {}
        self._environments: set[int] = set()
        self._stopped = False
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs, open(logs / "runtime.log", "ab") as log:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "infra.local.runtime", str(theirs.fileno())],
                cwd=Path(__file__).resolve().parents[2],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def load(
        self,
        module: str,
        project: Path,
        environment: Mapping[str, str],
        limits: Mapping[str, int] | None = None,
    ) -> Deployment:
        """Import the app's module in the project's folder under the environment given; what it deploys.

        `limits` bounds the environments of a function by its name. BrokenApp when the import fails.
        """
        said = self._ask({"module": module, "project": str(project), "environment": dict(environment)})
        if "error" in said:
            raise BrokenApp(said["error"])
        self.deployment = _deployment(said)
        for function in self.deployment.functions:
            bound = (limits or {}).get(function.name)
            self._pools[function.name] = Pool(function, (bound, bound) if bound else self._usual(function))
        return self.deployment

    def _usual(self, function: Function) -> tuple[int, int]:
        if function.name == API_FUNCTION:
            return API_ENVIRONMENTS
        for source in self.deployment.queues:
            if source.function == function.name:
                bound = concurrency(source)
                return (bound, bound)
        return OTHER_ENVIRONMENTS

    def invoke(self, name: str, event: Any) -> Any:
        """What the function returns for the event, both being JSON; FunctionError and its kinds when it fails."""
        pool = self._pools.get(name)
        if pool is None:
            raise FunctionError(f"there is no function {name}", "ResourceNotFoundException")
        call = {"event": event, "deadline": time.time() + pool.function.timeout, "request_id": str(uuid.uuid4())}
        environment = self._sent(pool, json.dumps(call).encode())
        try:
            said = self._answered(pool.function, environment)
        except (FunctionDied, FunctionTimeout):
            self._discard(pool, environment)
            raise
        except BaseException:
            self._kill(environment.pid)
            self._discard(pool, environment)
            raise
        with pool.freed:
            pool.idle.append(environment)
            pool.freed.notify()
        if "error" in said:
            raise FunctionError(said["error"], said["kind"])
        return said["result"]

    def pids(self, name: str | None = None) -> list[int]:
        """The processes that run environments: all of them, or the idle ones of a function."""
        if name is None:
            with self._lock:
                return sorted([self._parent.pid, *self._environments])
        pool = self._pools[name]
        with pool.freed:
            return [one.pid for one in pool.idle]

    def close(self) -> None:
        """End every environment, in the middle of an invocation too, and the parent process."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            # The parent ends its children when nobody holds the other end of its connection.
            self._parent.wait(5)
        except subprocess.TimeoutExpired:
            self._parent.kill()
            self._parent.wait()
        for pool in self._pools.values():
            with pool.freed:
                for environment in pool.idle:
                    environment.connection.close()
                pool.idle.clear()
                pool.freed.notify_all()
        self._control.close()

    def _taken(self, pool: Pool) -> Environment:
        """An environment for the caller alone: a warm one, a new one where there may be more, or the next freed."""
        patient_until = time.monotonic() + PATIENCE_SECONDS
        with pool.freed:
            while True:
                if self._stopped:
                    raise Stopped("the local stack is stopping")
                while pool.idle:
                    environment = pool.idle.pop()
                    if environment.alive():
                        return environment
                    environment.connection.close()
                    pool.count -= 1
                few, many = pool.limits
                left = patient_until - time.monotonic()
                if pool.count < few or (pool.count < many and left <= 0):
                    pool.count += 1
                    break
                pool.freed.wait(max(left, 0.01) if pool.count < many else None)
        try:
            return self._spawned(pool.function)
        except BaseException:
            self._uncount(pool)
            raise

    def _spawned(self, function: Function) -> Environment:
        mine, theirs = socket.socketpair()
        with theirs:
            order = {"function": asdict(function), "log": str(self.logs / f"{function.name}.log")}
            pid = self._ask(order, [theirs.fileno()])["pid"]
        return Environment(pid, Connection(mine.detach()))

    def _sent(self, pool: Pool, call: bytes) -> Environment:
        """The environment that took the call: one that died while it was idle has not begun it."""
        while True:
            environment = self._taken(pool)
            try:
                environment.connection.send_bytes(call)
            except OSError:
                self._discard(pool, environment)
            else:
                return environment

    def _answered(self, function: Function, environment: Environment) -> Any:
        try:
            if environment.connection.poll(function.timeout):
                return json.loads(environment.connection.recv_bytes())
        except (EOFError, OSError) as error:
            if self._stopped:
                raise Stopped("the local stack is stopping") from error
            raise FunctionDied(f"{function.name} exited before it answered", "Runtime.ExitError") from error
        self._kill(environment.pid)
        raise FunctionTimeout(f"Task timed out after {function.timeout}.00 seconds")

    def _discard(self, pool: Pool, environment: Environment) -> None:
        environment.connection.close()
        self._uncount(pool)

    def _uncount(self, pool: Pool) -> None:
        with pool.freed:
            pool.count -= 1
            pool.freed.notify()

    def _kill(self, pid: int) -> None:
        # The parent does it: only it knows that the number still means that child.
        with contextlib.suppress(Stopped):
            self._ask({"kill": pid})

    def _ask(self, order: Mapping[str, Any], descriptors: Sequence[int] = ()) -> Any:
        with self._lock:
            try:
                socket.send_fds(self._control, [json.dumps(order).encode() + b"\n"], descriptors)
                said = _line(self._control)
            except OSError as error:
                raise Stopped("the local runtime is gone") from error
            if not said:
                raise Stopped("the local runtime is gone")
            answer = json.loads(said)
            self._environments = set(answer.get("environments", ()))
            return answer


def concurrency(source: QueueSource) -> int:
    """How many invocations a queue may have in flight here: what it declares, at most 12; runs 12, others 4."""
    usual = 12 if source.queue == "runs" else 4
    return min(source.concurrency or usual, 12)


def _deployment(said: Mapping[str, Any]) -> Deployment:
    return Deployment(
        functions=tuple(Function(**one) for one in said["functions"]),
        routes=tuple(
            Route(one["method"], one["template"], Authorizer(**one["authorizer"]) if one["authorizer"] else None)
            for one in said["routes"]
        ),
        queues=tuple(QueueSource(**one) for one in said["queues"]),
        timers=tuple(Timer(**one) for one in said["timers"]),
    )


def _line(control: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        part = control.recv(65536)
        if not part:
            return b""
        said += part
    return said


class _Parent:
    """The process that has imported the app and forks environments; it ends, with them, when its starter does."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: set[int] = set()

    def serve(self) -> None:
        # Most of what an app imports, while the resources are still being created.
        for name in ("boto3", "chalice", "pydantic"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        order, _ = self._order()
        if order is None:
            return
        module = self._loaded(order)
        while module is not None:
            order, descriptors = self._order()
            if order is None:
                break
            self._reap()
            if "kill" in order:
                if order["kill"] in self.children:
                    os.kill(order["kill"], signal.SIGKILL)
                self._answer({})
            else:
                self._fork(module, order, descriptors[0])
        self._end()

    def _order(self) -> tuple[Any, list[int]]:
        said, descriptors = b"", []
        while not said.endswith(b"\n"):
            part, received, _, _ = socket.recv_fds(self.control, 65536, 1)
            if not part:
                return None, []
            said += part
            descriptors += received
        return json.loads(said), descriptors

    def _answer(self, value: Mapping[str, Any]) -> None:
        self.control.sendall(json.dumps({**value, "environments": sorted(self.children)}).encode() + b"\n")

    def _loaded(self, order: Mapping[str, Any]) -> Any:
        os.environ.clear()
        os.environ.update(order["environment"])
        time.tzset()
        sys.path.insert(0, order["project"])
        os.chdir(order["project"])
        try:
            module = importlib.import_module(order["module"])
            deployment = described(module.app, read_config(Path(order["project"])))
        except Exception:  # noqa: BLE001 - the app's own code: whatever it raises is what the developer must see
            self._answer({"error": traceback.format_exc()})
            return None
        # What every environment shares is not looked at by their collectors, so its pages stay shared.
        gc.freeze()
        self._answer(asdict(deployment))
        return module

    def _fork(self, module: Any, order: Mapping[str, Any], descriptor: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self.control.close()
            _end_with(parent)
            _serve(module, Function(**order["function"]), order["log"], Connection(descriptor))
        os.close(descriptor)
        self.children.add(pid)
        self._answer({"pid": pid})

    def _reap(self) -> None:
        for pid in list(self.children):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.children.discard(pid)

    def _end(self) -> None:
        self._reap()
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        for pid in self.children:
            os.waitpid(pid, 0)


def _end_with(parent: int) -> None:
    """Have this process killed when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    # Elsewhere there is no such call; and here the parent may have died before it.
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if sys.platform != "linux" or os.getppid() != parent:
        threading.Thread(target=watch, daemon=True).start()


def _serve(module: Any, function: Function, log: str, connection: Connection) -> NoReturn:
    """Answer invocations until the other end closes."""
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(
        _HANDLER=function.handler,
        AWS_LAMBDA_FUNCTION_NAME=function.name,
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(function.memory),
        AWS_LAMBDA_FUNCTION_VERSION="$LATEST",
        AWS_LAMBDA_LOG_GROUP_NAME=f"/aws/lambda/{function.name}",
        AWS_LAMBDA_LOG_STREAM_NAME=f"local/{os.getpid()}",
    )
    # Lambda takes what comes after the dot from the module; the module is the app's, whatever it is called here.
    handler = getattr(module, function.handler.rpartition(".")[2])
    try:
        while True:
            call = json.loads(connection.recv_bytes())
            context = Context(
                function_name=function.name,
                memory_limit_in_mb=function.memory,
                deadline=call["deadline"],
                aws_request_id=call["request_id"],
                log_stream_name=f"local/{os.getpid()}",
            )
            connection.send_bytes(_outcome(handler, call["event"], context))
    except (EOFError, OSError):
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a function that exits ends its environment, as on Lambda
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _outcome(handler: Any, event: Any, context: Context) -> bytes:
    try:
        return json.dumps({"result": handler(event, context)}).encode()
    except Exception as error:  # noqa: BLE001 - what a function raises is its answer
        print(f"ERROR RequestId: {context.aws_request_id}", file=sys.stderr)
        traceback.print_exc()
        return json.dumps({"error": str(error), "kind": type(error).__name__}).encode()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _control:
        _Parent(_control).serve()
