"""Whether the packages can be imported, fit each other, and what devices torch has."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from recbole_pixel.doctor.findings import ABSENT, BROKEN, DEGRADED, OK, Finding
from recbole_pixel.doctor.packages import installed
from recbole_pixel.doctor.trying import tried

TOPIC, DEVICES = "Imports", "Devices"

LEARNING = """
import torch
found["torch"] = torch.__version__
found["threads"] = torch.get_num_threads()
found["cpu"] = torch.backends.cpu.get_cpu_capability()
asked = {"AVX512-BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
found["bf16"] = [name for name, ask in asked.items() if getattr(torch.cpu, ask, lambda: False)()]
found["built_for_cuda"] = torch.version.cuda or torch.version.hip or ""
found["cuda"] = []
if torch.cuda.is_available():
    for place in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(place)
        free, memory = torch.cuda.mem_get_info(place)
        name, bf16 = about.name, torch.cuda.is_bf16_supported()
        found["cuda"].append({"name": name, "memory": memory, "free": free, "bf16": bf16})
found["mps"] = torch.backends.mps.is_available()
for name in ("torchvision", "timm", "transformers", "peft", "sklearn"):
    try:
        __import__(name)
    except Exception as error:
        found.setdefault("failed", {})[name] = f"{type(error).__name__}: {error}".splitlines()[0]
try:
    from threadpoolctl import threadpool_info
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "openmp"]
    found["openmp"] = sorted({pool["prefix"] for pool in pools})
except ImportError:
    pass
"""

JOINED = """
import recbole
found["recbole"] = recbole.__version__
import recbole_pixel
from recbole_pixel import _compat
why = {patch.__name__: (patch.__doc__ or "").splitlines()[0] for patch in _compat.PATCHES}
found["patches"] = {name: [needed, why[name]] for name, needed in _compat.applied.items()}
from recbole.utils import get_model
found["model"] = get_model("PixelSASRec").__module__
"""


def look() -> Iterator[Finding]:
    """Imports of torch and what stands on it, of RecBole with what was mended in it, then devices."""
    with ThreadPoolExecutor(2) as threads:
        learning, joined = threads.submit(tried, LEARNING), threads.submit(tried, JOINED)
    found, fault = learning.result()
    if "torch" in found:
        yield Finding(TOPIC, "torch", "imports")
        yield from _failed(found.get("failed", {}), fault)
        yield from _joined(*joined.result())
        yield from _devices(found)
    elif installed("torch"):
        remedy = "Install the one for your machine: https://pytorch.org/get-started/locally"
        yield Finding(TOPIC, "torch", f"cannot be imported: {fault}", BROKEN, remedy)


def _failed(failed: dict[str, str], fault: str) -> Iterator[Finding]:
    for name in ("torchvision", "timm", "transformers", "peft"):
        if name not in failed:
            continue
        value = f"cannot be imported: {failed[name]}"
        if name == "torchvision" or "torchvision" in failed[name]:
            found = f"torch {installed('torch')} and torchvision {installed('torchvision')} do not fit"
            yield Finding(TOPIC, name, value, BROKEN, f"{found}: pip install --upgrade torch torchvision")
        else:
            yield Finding(TOPIC, name, value, BROKEN, f"pip install --upgrade {name}")
    if not failed:
        yield _fits()
    if fault:
        yield Finding(TOPIC, "torch", f"stopped while it was looked at: {fault}", DEGRADED, "See its message")


def _fits() -> Finding:
    """Whether torchvision is one for this torch, as its metadata says."""
    wanted, torch, vision = _torch_wanted(), installed("torch"), installed("torchvision")
    if wanted is not None and not wanted.contains(torch, prereleases=True):
        value = f"imports, but torchvision {vision} is for torch {wanted}, and this is {torch}"
        return Finding(TOPIC, "torchvision", value, DEGRADED, "pip install --upgrade torch torchvision")
    return Finding(TOPIC, "torchvision, timm, transformers, peft", "import")


def _torch_wanted() -> Any:
    """The versions of torch that the installed torchvision asks for; None where that cannot be told."""
    try:
        from packaging.requirements import Requirement

        asked = [Requirement(line) for line in requires("torchvision") or ()]
    except (ImportError, PackageNotFoundError):
        return None
    return next((requirement.specifier for requirement in asked if requirement.name == "torch"), None)


def _devices(found: dict[str, Any]) -> Iterator[Finding]:
    for place, device in enumerate(found.get("cuda", ())):
        memory = f"{device['free'] / 2**30:.0f} of {device['memory'] / 2**30:.0f} GiB free"
        bf16 = "bf16" if device["bf16"] else "no bf16: precision: auto is float32 there"
        yield Finding(DEVICES, f"cuda:{place}", f"{device['name']}, {memory}, {bf16}")
    if found.get("mps"):
        yield Finding(DEVICES, "mps", "there, but RecBole trains on CUDA or the CPU only", ABSENT)
    if not found.get("cuda"):
        built = found.get("built_for_cuda")
        value = f"none; this torch is built for {built}" if built else "none; this torch is built for CPUs"
        yield Finding(DEVICES, "cuda", value, ABSENT)
    instructions = ", ".join(found.get("bf16") or ["no bf16: precision: auto is float32"])
    threads = f"torch uses {found.get('threads')} threads"
    yield Finding(DEVICES, "cpu", f"{found.get('cpu', '')}, {instructions}; {threads}")
    runtimes = found.get("openmp", [])
    if len(runtimes) > 1:
        remedy = "Two of them slow each other down or crash: take all packages from one source, pip or conda"
        yield Finding(DEVICES, "OpenMP", f"several runtimes in one process: {', '.join(runtimes)}", DEGRADED, remedy)


def _joined(found: dict[str, Any], fault: str) -> Iterator[Finding]:
    if not installed("recbole"):
        return  # said before
    if fault or "model" not in found:
        remedy = "Install both anew: pip install recbole-pixel, pip install --no-deps recbole==1.2.1"
        yield Finding(TOPIC, "recbole with recbole_pixel", f"cannot be imported: {fault}", BROKEN, remedy)
        return
    yield Finding(TOPIC, "recbole with recbole_pixel", f"imports; PixelSASRec is {found['model']}")
    states = {True: "needed here", False: "not needed here", None: "of any installation"}
    for name, (needed, why) in found.get("patches", {}).items():
        yield Finding("Mended in RecBole", name, f"{states[needed]}: {why}", OK)
