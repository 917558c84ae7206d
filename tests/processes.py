"""Several processes on one machine, for tests of what `accelerate launch` does."""

import os
import signal
import socket
import warnings
from collections.abc import Callable

import torch

from mdgen.errors import MdgenError
from tests.training.toys import PROCESSES

CRASHES = {-signal.SIGSEGV, -signal.SIGABRT}


def launch(action: Callable[..., object], *arguments: object, processes: int = 2) -> list[int]:
    """Exit codes of processes that do `action(*arguments)`, started as `accelerate launch` would start them.

    Once in some four hundred launches torch 2.14 crashes while gloo gathers shares (in `wait_tensor`, by SIGSEGV or
    SIGABRT). That is not what a test is about, so all are started once more then, in the same folder: a training goes
    on from its last checkpoint, or begins anew.
    """
    codes = _launch(action, arguments, processes)
    if CRASHES & set(codes):
        warnings.warn(f"{action.__name__}: exit codes {codes}, started once more", stacklevel=2)
        codes = _launch(action, arguments, processes)
    return codes


def _launch(action: Callable[..., object], arguments: tuple, processes: int) -> list[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        PROCESSES.Process(target=_member, args=(rank, processes, port, action, arguments)) for rank in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        process.kill()
    return [process.exitcode or 0 for process in started]


def _member(rank: int, processes: int, port: int, action: Callable[..., object], arguments: tuple) -> None:
    os.environ |= {
        **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)},
        **{"LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }
    torch.set_num_threads(1)
    try:
        action(*arguments)
    except MdgenError as error:
        os._exit(error.exit_code)
