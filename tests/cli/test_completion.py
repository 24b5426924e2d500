"""What a shell completes, and that it asks quickly."""

import json
import os
import subprocess
import sys

import pytest

from test_startup import HEAVY

SCRIPT = """
import json, sys
from vidssl_cli.cli import main
sys.argv[1:] = []
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)))
"""


def complete(line, folder):
    """Return what bash gets for the last word of a line, stderr, and the modules it took."""
    words = line.split(" ")
    environment = os.environ | {
        "_VIDSSL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, cwd=folder
    )
    *found, modules = done.stdout.splitlines()
    return [word for word in found if word], done.stderr, set(json.loads(modules))


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("vidssl pretrain small/ins", {"small/instance"}),
        ("vidssl pretrain mi", {"mine.yaml"}),
        ("vidssl recipes show small/ins", {"small/instance"}),
        ("vidssl pretrain papers/pace-r3d-ucf101 --set input.res", {"input.resize="}),
        ("vidssl pretrain demo --set input.res", {"input.resize=64"}),
        ("vidssl sweep demo small/pace --set train.batch", {"train.batch_videos=16"}),
        ("vidssl sweep demo --evaluate retr", {"retrieval"}),
        ("vidssl evaluate run --evaluator lin", {"linear"}),
        ("vidssl evaluate run --evaluator retrieval --set top", {"topk="}),
        ("vidssl import w.pth --backbone r3", {"r3d"}),
        ("vidssl quickstart videos --recipe small/ins", {"small/instance"}),
        ("vidssl quickstart videos --recipe demo --set train.ep", {"train.epochs=19"}),
        ("vidssl pretrain nothing-like-it --set train.ep", set()),
    ],
)
def test_shells_complete_names_and_keys(line, wanted, tmp_path):
    (tmp_path / "mine.yaml").touch()
    found, said, modules = complete(line, tmp_path)
    assert set(found) >= wanted
    assert all(word.startswith(line.rpartition(" ")[2]) for word in found)
    assert bool(found) == bool(wanted)
    assert said == ""
    assert not modules & (HEAVY | {"numpy"})
