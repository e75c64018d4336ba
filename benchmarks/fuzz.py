"""Claim: the readers of other people's bytes raise what they document, whatever they are fed.

Each target of `fuzz_targets.py` is fed for its share of the time, in a process of its own: by atheris, which looks for
inputs that reach new lines, where it is installed (`pip install atheris`), else by mutations of known inputs. A line of
JSON for each target: how many inputs, by which engine, what was found. Findings are kept as files with their traceback
beside; the script exits with 1 if there are any.

    python benchmarks/fuzz.py [--seconds 600] [--target pictures ...] [--engine mutation] [--seed N] [--findings FOLDER]
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LONGEST_SECONDS = 10
MEMORY = 2 << 30
LARGEST = 1 << 16
EXTREMES = (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80")


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """The same with a few bytes flipped, replaced, left out, doubled, or taken from another input."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, length = rng.randrange(len(made) + 1), rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(7)
        if kind == 0 and made:
            made[min(at, len(made) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            made[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del made[at : at + length]
        elif kind == 3:
            made[at:at] = made[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 4:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            made[at : at + length] = other[start : start + length]
        elif kind == 5:
            made[at : at + 4] = rng.choice(
                (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80")
            )
        else:
            del made[at:]
    return bytes(made[:LARGEST])


class _Slow(BaseException):
    """One input took too long."""


def _too_slow(*_: Any) -> None:
    raise _Slow(f"more than {LONGEST_SECONDS} s of CPU")


class Feeder:
    """Feeds one target and counts."""

    def __init__(self, name: str, folder: Path, findings: Path) -> None:
        from fuzz_targets import TARGETS

        self.name, self.findings, self.target = name, findings, TARGETS[name](folder)
        self.n_inputs = 0

    def feed(self, data: bytes) -> BaseException | None:
        """What the reader raised that it should not; the input is kept then."""
        self.n_inputs += 1
        signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)
        try:
            self.target.read(data)
        except self.target.documented:
            return None
        except Exception as error:
            return self._kept(data, error)
        except _Slow as error:
            return self._kept(data, error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return None

    def _kept(self, data: bytes, error: BaseException) -> BaseException:
        folder = self.findings / self.name
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(data).hexdigest()[:12]
        (folder / name).write_bytes(data)
        (folder / f"{name}.txt").write_text("".join(traceback.format_exception(error)))
        return error


def feed_mutations(feeder: Feeder, seconds: float, seed: int) -> dict[str, str]:
    """What was found by kind of error and place, each with its message."""
    rng, end, seeds = random.Random(seed), time.monotonic() + seconds, feeder.target.seeds
    found: dict[str, str] = {}
    queue = list(seeds)
    while time.monotonic() < end:
        data = queue.pop() if queue else mutated(rng.choice(seeds), seeds, rng)
        error = feeder.feed(data)
        if error is not None:
            last = traceback.extract_tb(error.__traceback__)[-1]
            found.setdefault(f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}", str(error)[:200])
    return found


def feed_atheris(feeder: Feeder, seconds: float, seed: int, folder: Path) -> None:
    """Ends the process: atheris does."""
    import atheris

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(feeder.target.seeds):
        (corpus / str(number)).write_bytes(data)

    def one_input(data: bytes) -> None:
        error = feeder.feed(data)
        if error is not None:
            raise error

    options = [
        f"-max_total_time={round(seconds)}", f"-seed={seed or 1}", "-print_final_stats=1", f"-max_len={LARGEST}",
        f"-artifact_prefix={folder}/", f"-timeout={6 * LONGEST_SECONDS}", f"-rss_limit_mb={MEMORY >> 20}",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], one_input)
    atheris.Fuzz()


def child(options: argparse.Namespace) -> None:
    """Feeds one target, in a process of its own."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _too_slow)
    memory = Path("/dev/shm")  # most targets read a file, written anew for each input
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        if options.engine == "atheris":
            import atheris

            with atheris.instrument_imports(include=["recbole_pixel"], enable_loader_override=False):
                feeder = Feeder(options.child, folder, options.findings)
            feed_atheris(feeder, options.seconds, options.seed, folder)
        else:
            feeder = Feeder(options.child, folder, options.findings)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY + (4 << 30), resource.RLIM_INFINITY))
            found = feed_mutations(feeder, options.seconds, options.seed)
            print(json.dumps({"inputs": feeder.n_inputs, "found": found}))


def fed(name: str, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """The line of one target."""
    command = [sys.executable, __file__, f"--child={name}", f"--seconds={seconds}", f"--engine={options.engine}"]
    command += [f"--seed={options.seed}", f"--findings={options.findings}"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    line: dict[str, Any] = {"name": name, "engine": options.engine, "seconds": seconds}
    if options.engine == "atheris":
        counted = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        line["inputs"] = int(counted[1]) if counted else 0
        raised = re.search(r"Uncaught Python exception: ===\s+(.*)", done.stderr)
        line["found"] = {} if done.returncode == 0 else {f"exit {done.returncode}": raised[1] if raised else ""}
    elif done.returncode == 0:
        line |= json.loads(done.stdout.splitlines()[-1])
    else:
        line |= {"inputs": 0, "found": {f"the process ended by {done.returncode}": done.stderr[-500:]}}
    if line["found"]:
        line["stderr"] = done.stderr[-1500:]
    return line


def main() -> int:
    """Feeds each target; 1 if one of them raised what it does not document."""
    sys.path.insert(0, str(Path(__file__).parent))
    from fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together (default: %(default)s)")
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    engine = "atheris" if find_spec("atheris") else "mutation"
    parser.add_argument("--engine", choices=("atheris", "mutation"), default=engine)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("fuzz_findings"))
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return 0
    n_found = 0
    for name in options.target:
        line = fed(name, options.seconds / len(options.target), options)
        n_found += len(line["found"])
        print(json.dumps(line), flush=True)
    return 1 if n_found else 0


if __name__ == "__main__":
    sys.exit(main())
