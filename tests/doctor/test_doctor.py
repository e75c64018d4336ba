"""The doctor: it speaks where nothing can be imported, and what it finds comes with what to do."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from worlds import colour_cover, write_inter, write_pictures

import recbole_pixel
from recbole_pixel import _compat
from recbole_pixel.cli import main
from recbole_pixel.doctor import dataset, hub, imports, machine, packages, pictures
from recbole_pixel.doctor.findings import Finding, as_plain, as_text, is_usable
from recbole_pixel.doctor.trying import tried

ROOT = Path(recbole_pixel.__file__).parents[1]
HEALTHY = {"torch": "2.15.0", "threads": 2, "cpu": "AVX2", "bf16": [], "built_for_cuda": "", "cuda": [], "mps": False}


def by_name(findings: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def run_blocked(tmp_path: Path, *blocked: str, module: str = "recbole_pixel.doctor") -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and errors of the command in a process in which ``blocked`` cannot be imported."""
    for name in blocked:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is blocked')\n")
    line = [sys.executable, "-m", module, *(["doctor"] if module == "recbole_pixel" else []), "--json", "--offline"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_it_speaks_where_nothing_can_be_imported(tmp_path):
    code, found, errors = run_blocked(tmp_path, "torch", "recbole", "numpy", "pandas", "lmdb", "PIL", "simplejpeg")
    assert code == 1
    assert errors == ""
    assert not found["usable"]
    told = {entry["name"]: entry for entry in found["topics"]["Imports"]}
    assert told["torch"]["state"] == "broken"
    assert "torch is blocked" in told["torch"]["value"]
    assert "pytorch.org" in told["torch"]["remedy"]
    assert "Not looked at" not in found["topics"], "no part of it fell over"
    assert found["topics"]["Machine"], "what needs nothing is told"


def test_the_command_line_starts_it_without_torch_and_recbole(tmp_path):
    code, found, _ = run_blocked(tmp_path, "torch", "recbole", module="recbole_pixel")
    assert code == 1
    assert {entry["name"] for entry in found["topics"]["Imports"]} == {"torch"}


def test_a_missing_package_comes_with_the_line_that_installs_it(monkeypatch):
    def without_recbole(name: str) -> str:
        if name in ("recbole", "timm"):
            raise PackageNotFoundError(name)
        return {"numpy": "1.23.5", "pandas": "4.0.0"}.get(name, version(name))

    monkeypatch.setattr(packages, "version", without_recbole)
    found = by_name(packages.look())
    assert (found["recbole"].state, found["recbole"].remedy) == ("broken", "pip install --no-deps recbole==1.2.1")
    assert (found["timm"].state, found["timm"].remedy) == ("broken", "pip install 'timm>=1.0.31'")
    assert found["numpy"].state == "broken"
    assert "1.24 or newer" in found["numpy"].remedy
    assert found["pandas"].state == "degraded"
    assert found["torch"] == Finding("Versions", "torch", version("torch"))


def test_it_asks_for_what_the_installation_asks_for():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].split()
    wanted = dict(re.match(r"([\w-]+)>=([\d.]+)", line).groups() for line in lines)
    assert {name: wanted[name] for name in packages.NEEDED} == packages.NEEDED


def test_what_is_tried_dies_alone_and_says_of_what():
    found, fault = tried("found['before'] = 1\nraise RuntimeError('no such operator')")
    assert (found, fault) == ({"before": 1}, "RuntimeError: no such operator")
    _, fault = tried("import os; os.kill(os.getpid(), 11)")
    assert fault == "the process died of signal 11"
    assert tried("print('noise'); found['a'] = [1]") == ({"a": [1]}, "")


def test_what_is_tried_of_torch_and_recbole_tells_the_truth():
    found: dict[str, Any] = {}
    exec(imports.LEARNING, {"found": found})
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert "failed" not in found
    exec(imports.JOINED, {"found": found})
    assert list(found["patches"]) == [patch.__name__ for patch in _compat.PATCHES]
    assert found["patches"]["name_numpy_aliases"][0] is (packages.numbers(np.__version__)[0] >= 2)
    assert found["patches"]["keep_anomaly_detection_off"][0] is None
    assert found["model"] == "recbole_pixel.model.sequential_recommender.pixelsasrec"


@pytest.fixture
def probed(monkeypatch):
    """A function that gives the findings of imports, of what the processes would have found."""

    def made(**own: Any) -> dict[str, Finding]:
        joined = {"model": "recbole_pixel.model", "patches": {"mend": [True, "why"]}}
        answers = {imports.LEARNING: ({**HEALTHY, **own}, ""), imports.JOINED: (joined, "")}
        monkeypatch.setattr(imports, "tried", answers.__getitem__)
        return by_name(imports.look())

    return made


def test_a_torchvision_that_does_not_fit_is_named_with_both_versions(probed, monkeypatch):
    assert is_usable(probed().values())
    fault = "RuntimeError: operator torchvision::nms does not exist"
    found = probed(failed={"torchvision": fault, "timm": fault})
    assert not is_usable(found.values())
    for name in ("torchvision", "timm"):
        assert found[name].value == f"cannot be imported: {fault}"
        assert f"torch {version('torch')} and torchvision {version('torchvision')} do not fit" in found[name].remedy
    monkeypatch.setattr(imports, "requires", lambda name: ["numpy", "torch (==2.5.1)"])
    found = probed()
    assert found["torchvision"].state == "degraded"
    assert "is for torch ==2.5.1" in found["torchvision"].value
    assert found["torchvision"].remedy == "pip install --upgrade torch torchvision"


def test_devices_are_told_and_several_openmp_runtimes_are_a_fault(probed):
    device = {"name": "H200", "memory": 140 * 2**30, "free": 70 * 2**30, "bf16": True}
    found = probed(cuda=[device], mps=True, bf16=["AMX"], openmp=["libgomp", "libiomp"])
    assert found["cuda:0"].value == "H200, 70 of 140 GiB free, bf16"
    assert found["cpu"].value == "AVX2, AMX; torch uses 2 threads"
    assert found["OpenMP"].state == "degraded"
    assert found["mend"].value == "needed here: why"
    assert "no bf16" in probed()["cpu"].value
    assert "built for CPUs" in probed()["cuda"].value


def test_pictures_that_cannot_be_read_are_told(monkeypatch):
    monkeypatch.setattr(pictures, "tried", lambda code: ({"jpg": True, "zlib": True, "turbo": True}, ""))
    found = by_name(pictures.look())
    assert found["JPEG"].value == "read (libjpeg-turbo)"
    assert (found["WebP"].state, found["AVIF"].state) == ("degraded", "absent")
    codecs: dict[str, Any] = {}
    exec(pictures.CODECS, {"found": codecs})
    assert codecs["jpg"]


def test_a_machine_short_of_something_says_of_what(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    group = tmp_path / "group"
    group.mkdir()
    (group / "cpu.max").write_text("150000 100000\n")
    (group / "memory.max").write_text(f"{2**30}\n")
    monkeypatch.setattr(machine, "GROUP", group)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("resource.getrlimit", lambda kind: (256, 4096))
    monkeypatch.setattr("recbole_pixel.store.free_memory.free_memory", lambda: 2**29)
    monkeypatch.setattr("locale.getpreferredencoding", lambda change=True: "ANSI_X3.4-1968")
    found = by_name(machine.look({"cache_dir": tmp_path / "file" / "cache", "checkpoint_dir": tmp_path / "new"}))
    states = {name: finding.state for name, finding in found.items() if name != "/dev/shm"}
    assert states == {
        "CPU cores": "degraded", "memory": "degraded", "cache_dir": "degraded", "checkpoint_dir": "ok",
        "open files": "degraded", "text": "degraded",
    }  # fmt: skip
    assert found["CPU cores"].remedy.endswith("export OMP_NUM_THREADS=1")
    assert "1.0 GiB for this container" in found["memory"].value
    assert "Not a directory" in found["cache_dir"].value
    assert "--cache_dir" in found["cache_dir"].remedy
    assert found["open files"].remedy == "Raise it: ulimit -n 4096"
    assert "PYTHONUTF8=1" in found["text"].remedy
    assert not (tmp_path / "new").exists(), "nothing is made"


def test_a_hub_that_is_not_reached_or_not_to_be_asked_is_told(monkeypatch, tmp_path):
    for name in (*hub.OFFLINE, "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--timm--resnet18").mkdir()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    found = by_name(hub.look())
    assert found["hub"].state == "degraded"
    assert found["hub"].value.startswith("127.0.0.1 is not reached")
    assert found["cache"].value == f"{tmp_path}: 1 models kept"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert by_name(hub.look())["hub"].value == "not asked: HF_HUB_OFFLINE=1"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert "hub" not in by_name(hub.look(asks=False))


@pytest.fixture
def shop(tmp_path) -> Path:
    """A dataset of 40 items: 12 have one and the same picture, 2 have none."""
    write_inter(tmp_path, "shop", [(f"u{item % 4}", f"i{item}", float(item)) for item in range(40)])
    rng = np.random.default_rng(0)
    placeholder = colour_cover(rng, True)
    shared = {f"i{item}": placeholder for item in range(12)}
    write_pictures(tmp_path, "shop", {**shared, **{f"i{item}": colour_cover(rng, False) for item in range(12, 38)}})
    return tmp_path


def test_a_dataset_is_counted_and_a_placeholder_is_found(shop):
    found = by_name(dataset.look("shop", shop))
    assert found["shop.inter"].value == "40 interactions, 40 items"
    assert found["coverage"].value == "38 of 40 items have one"
    assert "i38, i39" in found["coverage"].remedy
    assert found["read"].value == "38 read; at most 12 of them are one picture"
    assert (found["read"].state, found["coverage"].state) == ("degraded", "degraded")
    assert "i0, i1, i2" in found["read"].remedy


def test_a_dataset_that_cannot_be_used_says_why(shop):
    data = shop / "shop" / "images.lmdb" / "data.mdb"
    data.write_bytes(data.read_bytes()[:-100])
    found = by_name(dataset.look("shop", shop))
    assert found["pictures"].state == "broken"
    assert "promises" in found["pictures"].value
    (shop / "shop" / "shop.inter").write_text("a,b\n1,2\n")
    assert "expected item_id:token" in by_name(dataset.look("shop", shop))["shop.inter"].value
    found = by_name(dataset.look("shap", shop))
    assert found["folder"].state == "broken"
    assert "There are shop" in found["folder"].remedy


def test_exit_code_and_text_follow_what_was_found(monkeypatch, capsys, shop):
    monkeypatch.setattr(imports, "tried", lambda code: ({**HEALTHY, "model": "x", "patches": {}}, ""))
    command = ["doctor", "--offline", "--data_path", str(shop)]
    assert main(command) == 0
    assert capsys.readouterr().out.rstrip().endswith("Usable.")
    assert main([*command, "--dataset", "shap"]) == 1
    told = capsys.readouterr().out
    assert "Does not run:\n  folder:" in told
    assert told.rstrip().endswith("Not usable before what does not run is mended.")


def test_a_part_that_falls_over_is_told_and_the_rest_goes_on(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(imports, "tried", lambda code: ({**HEALTHY, "model": "x", "patches": {}}, ""))
    monkeypatch.setattr(machine, "_cores", lambda: 1 / 0)
    assert main(["doctor", "--offline", "--json", "--data_path", str(tmp_path)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["topics"]["Not looked at"][0]["value"] == "ZeroDivisionError: division by zero"
    assert found["topics"]["Weights"]


def test_text_and_plain_values_say_the_same():
    findings = [Finding("A", "one", "1"), Finding("B", "two", "bad", "degraded", "Mend it")]
    assert as_text(findings) == "A\n    one  1\n\nB\n  ! two  bad\n\nRuns, but:\n  two: bad. Mend it\nUsable."
    assert as_plain(findings)["topics"]["B"] == [
        {"name": "two", "value": "bad", "state": "degraded", "remedy": "Mend it"}
    ]
