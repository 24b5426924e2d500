"""What a shell completes, and that it asks quickly."""

import json
import os
import subprocess
import sys

from test_startup import HEAVY

SCRIPT = """
import contextlib, io, json, os, sys
from vidssl_cli.cli import main
sys.argv[1:] = []
os.environ["_VIDSSL_COMPLETE"] = "complete_bash"
found = {}
for line in json.loads(sys.stdin.read()):
    os.environ |= {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
        main()
    found[line] = told.getvalue().split()
print(json.dumps([found, sorted(sys.modules)]))
"""

WANTED = {
    "vidssl pretrain small/ins": "small/instance",
    "vidssl pretrain mi": "mine.yaml",
    "vidssl recipes show small/ins": "small/instance",
    "vidssl quickstart videos --recipe small/ins": "small/instance",
    "vidssl pretrain demo --set train.ep": "train.epochs=19",
    "vidssl pretrain papers/pace-r3d-ucf101 --set input.res": "input.resize=",
    "vidssl sweep demo small/pace --set train.batch": "train.batch_videos=16",
    "vidssl quickstart videos --recipe demo --set train.ep": "train.epochs=19",
    "vidssl sweep demo --evaluate retr": "retrieval",
    "vidssl evaluate run --evaluator lin": "linear",
    "vidssl evaluate run --evaluator retrieval --set top": "topk=",
    "vidssl import w.pth --backbone r3": "r3d",
    "vidssl pretrain nothing-like-it --set train.ep": None,
}


def test_shells_complete_names_and_keys_without_torch(tmp_path):
    (tmp_path / "mine.yaml").touch()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps([*WANTED]), capture_output=True,
        text=True, cwd=tmp_path, env=os.environ | {"COLUMNS": "80"},
    )  # fmt: skip
    found, modules = json.loads(done.stdout)
    for line, wanted in WANTED.items():
        if wanted:
            assert wanted in found[line]
        else:
            assert not found[line]
        assert all(word.startswith(line.rpartition(" ")[2]) for word in found[line])
    assert done.stderr == ""
    assert not HEAVY & set(modules)
