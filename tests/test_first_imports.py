"""Whatever is imported first, the project registers: each case in a process that has imported nothing of RecBole.

One process imports what both need of others, which takes seconds, and is forked for each case.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

OF_OTHERS = ("numpy", "pandas", "scipy.stats", "sklearn.linear_model", "torch", "torchvision", "timm")

CASES = {
    "the trainer": """
        # RecBole comes while our trainer is half imported, and with it the registration of models that it trains
        from recbole_pixel.trainer import PixelTrainer
        from recbole.utils import ModelType, get_trainer
        assert get_trainer(ModelType.SEQUENTIAL, "PixelSASRec") is PixelTrainer
        assert get_trainer(ModelType.SEQUENTIAL, "SASRec").__name__ == "Trainer"
    """,
    "the mixin of pairs": """
        # it needs RecBole, whose import registers models that need it
        import recbole_pixel.model.pair_mixin
    """,
    "RecBole": """
        import recbole.data
        import recbole_pixel, sys
        from recbole.quick_start import run_recbole
        from recbole.trainer import trainer
        from recbole.utils import get_model
        from recbole_pixel._replacing import Overlay
        assert isinstance(trainer.torch, Overlay)
        assert get_model("PixelSASRec").__module__.startswith("recbole_pixel.")
        assert not any(type(finder).__name__ == "_AfterImport" for finder in sys.meta_path)
    """,
    "the list of encoders": """
        # it knows of no model, and of the network that one of them trains
        import contextlib, io, json
        from recbole_pixel.cli import main
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main(["encoders", "cnn_f", "--json"]) == 0
        assert json.loads(printed.getvalue())[0]["n_features"] == 4096
    """,
    "nothing that is there": "import recbole_pixel.no_such_module",
}

FORKING = """
import importlib, inspect, json, os, sys, traceback
modules, cases, folder = json.loads(sys.argv[1])
for name in modules:
    importlib.import_module(name)
assert not [name for name in sys.modules if name.startswith("recbole")]
for number, code in enumerate(cases):
    child = os.fork()
    if child == 0:
        output = os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        try:
            exec(inspect.cleandoc("\\n" + code), {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and output of each case."""
    folder = tmp_path_factory.mktemp("output")
    given = json.dumps([OF_OTHERS, list(CASES.values()), str(folder)])
    done = subprocess.run([sys.executable, "-c", FORKING, given], stdout=subprocess.PIPE, text=True, check=True)
    codes = [int(line) for line in done.stdout.split()]
    outputs = [Path(folder, str(number)).read_text() for number in range(len(codes))]
    return dict(zip(CASES, zip(codes, outputs, strict=True), strict=True))


@pytest.mark.parametrize("first", [case for case in CASES if not case.startswith("nothing")])
def test_it_may_be_the_first_thing_that_is_imported(ended, first):
    code, output = ended[first]
    assert code == 0, output


def test_a_case_can_fail(ended):
    code, output = ended["nothing that is there"]
    assert code == 1
    assert "No module named 'recbole_pixel.no_such_module'" in output
