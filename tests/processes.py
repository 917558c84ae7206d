"""Several processes on one machine, for tests of what `accelerate launch` does."""

import os
import socket
from collections.abc import Callable

import torch

from mdgen.errors import MdgenError
from tests.training.toys import PROCESSES


def launch(action: Callable[..., object], *arguments: object, processes: int = 2) -> list[int]:
    """Exit codes of processes that do `action(*arguments)`, started as `accelerate launch` would start them."""
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
