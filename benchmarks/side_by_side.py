"""What benchmarks share: programs that alternate in one process, memory of fresh processes, claims as JSON lines."""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MIB = 2**20
PAGE = resource.getpagesize() / MIB


def alternate(programs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median wall seconds of each program, run in turn, so that a busy machine slows all of them alike.

    Args:
        programs: what to run, by name. One that returns a float times itself: that many seconds count for it, so that
            it may leave out its own preparation, or scale a part of its work to the whole.
        rounds: how often each runs, and counts.
        warm_up: rounds before these, that do not count.
    """
    seconds = seconds_of_rounds(programs, rounds, warm_up)
    return {name: statistics.median(values) for name, values in seconds.items()}


def seconds_of_rounds(
    programs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """As :func:`alternate`, but the seconds of every round, for those who want a ratio per round."""
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; expected at least 1")
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for round_ in range(-warm_up, rounds):
        for name, program in programs.items():
            began = time.perf_counter()
            own = program()
            taken = own if isinstance(own, float) else time.perf_counter() - began
            if round_ >= 0:
                seconds[name].append(taken)
    return seconds


def common_options(about: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser of ``--quick``, ``--rounds`` and ``--folder``.

    Args:
        about: the script's docstring.
        rounds: the default.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small world, two rounds")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--folder", type=Path, help="where to keep the world; a temporary folder by default")
    return parser


def claim(name: str, ratio: float | None, want: float | None, **more: Any) -> None:
    """Prints one JSON line: what is claimed, what was measured and what was wanted of it.

    Args:
        name: of the claim.
        ratio: bigger is better; None where it could not be measured, and ``more`` says why.
        want: the least it should be; None where nothing is promised.
        more: seconds, MiB, counts: whatever the ratio was made of.
    """
    line: dict[str, Any] = {"name": name, "ratio": ratio and float(f"{ratio:.4g}"), "want": want}
    if ratio is not None and want is not None:
        line["met"] = ratio >= want
    print(json.dumps(line | {key: _short(value) for key, value in more.items()}), flush=True)


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def machine(device: str | None = None) -> dict[str, Any]:
    """Processor, cores, versions: what a table of numbers must name; and the device, where one was chosen."""
    import torch

    about = Path("/proc/cpuinfo")
    models = [line for line in about.read_text().splitlines() if "model name" in line] if about.exists() else []
    about_device = {} if device is None else {"device": device}
    return about_device | {
        "processor": models[0].partition(": ")[2] if models else platform.processor(),
        "cores": multiprocessing.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def peak_memory() -> float:
    """The most memory that this process had resident so far, MiB; files mapped into it included."""
    if not Path("/proc/self/status").exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # ru_maxrss begins at the peak of the process that started this one: Linux keeps it over fork and exec
    return _status("VmHWM")


def on(device: str) -> str:
    """What the name of a claim ends with: nothing for a CPU."""
    return "" if device == "cpu" else f" on {device}"


def settings_for(device: str) -> dict[str, str]:
    """RecBole's settings of a run on ``device``: it takes an accelerator by itself, if there is one."""
    return {"gpu_id": ""} if device == "cpu" else {}


def wait_for(device: str) -> None:
    """Returns when an accelerator has done what it was given; on a CPU at once."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize(device)


def beyond(work: Callable[[], Any], device: str = "cpu") -> float:
    """The most memory of ``device`` that ``work`` needs on top of what there is, MiB; a page at least.

    What a process has lying free it takes first: work that fits in there needs nothing more.
    """
    gc.collect()
    if device != "cpu":
        return _beyond_on_device(work, device)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    work()
    return max(PAGE, _status("VmHWM") - before)


def _beyond_on_device(work: Callable[[], Any], device: str) -> float:
    import torch

    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    return max(PAGE, (torch.cuda.max_memory_allocated(device) - before) / MIB)


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":"))


def apart(device: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns: on a CPU from a process of its own; else from here, as a device's peaks do not mix."""
    return in_fresh_process(function, *arguments)[0] if device == "cpu" else function(*arguments)


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What ``function`` returns in a process of its own, and that process's peak memory, MiB: peaks do not mix.

    Args:
        function: at the top level of its module, as it is found by name; returns something that can be pickled.
        arguments: of it.

    Raises:
        RuntimeError: the process died, or the function raised: its traceback is printed.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        answer: tuple[Any, float] = ours.recv()
    except EOFError as error:
        process.join()
        raise RuntimeError(f"{function.__name__} ended with code {process.exitcode} before it answered") from error
    process.join()
    return answer


def _answer(pipe: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    pipe.send((function(*arguments), peak_memory()))
