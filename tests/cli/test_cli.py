"""However a command ends: an exit status, one line and a hint, or one JSON document."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
import typer

from vidssl_cli.base import console, errors
from vidssl_cli.cli import failures
from vidssl_cli.config.load import find, load

SUBCLASSES = [errors.VidsslError, *errors.VidsslError.__subclasses__(), errors.RecipeError]


def vidssl(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "vidssl_cli", *arguments], capture_output=True, text=True, **options
    )


@pytest.fixture
def run(capfd):
    """A function that runs a command whose body raises; returns status, stdout, stderr."""

    def call(error, *options):
        app = typer.Typer(rich_markup_mode=None)

        @app.command()
        def body(json: bool = False) -> None:
            raise error

        status = failures.run(app, options)
        return status, *capfd.readouterr()

    return call


@pytest.mark.parametrize("kind", SUBCLASSES, ids=lambda kind: kind.__name__)
def test_every_error_ends_with_its_status_and_one_line(run, kind):
    error = kind("the [b]thing[/b] is wrong", where="there.yaml", hint="make it right")
    status, out, said = run(error)
    assert status == kind.status != 0
    assert out == ""
    prefix = "" if kind is errors.RecipeError else "error: "
    named = "" if issubclass(kind, errors.UsageError) else "there.yaml: "
    assert said == f"{prefix}{named}the [b]thing[/b] is wrong\nhint: make it right\n"


@pytest.mark.parametrize("kind", SUBCLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_one_json_document(run, kind):
    status, out, _ = run(kind("it is wrong", where="there"), "--json")
    assert status == kind.status
    assert json.loads(out) == {
        "error": {"code": kind.code, "message": "it is wrong", "where": "there"}
    }


def test_an_error_after_the_document_adds_none(capfd):
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    def body(json: bool = False) -> None:
        console.emit_json({"done": True})
        raise errors.SkippedMediaError("2 videos were left out")

    assert failures.run(app, ["--json"]) == 5
    assert json.loads(capfd.readouterr().out) == {"done": True}


def test_codes_of_errors_differ():
    assert len({kind.code for kind in SUBCLASSES}) == len(SUBCLASSES)


def test_an_unexpected_error_is_one_line_unless_debugging(run):
    status, _, said = run(ZeroDivisionError("by zero"))
    assert status == 1
    assert said.splitlines()[0] == "error: ZeroDivisionError: by zero"
    assert "Traceback" not in said
    status, _, said = run(ZeroDivisionError("by zero"), "--debug")
    assert status == 1
    assert "Traceback" in said


def test_an_error_of_the_system_names_its_file(run):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "big.bin")
    assert run(error)[2] == "error: No space left on device: big.bin\n"
    document = json.loads(run(error, "--json")[1])["error"]
    assert document["where"] == "big.bin"


def test_a_missing_module_leads_to_the_doctor(run):
    _, out, said = run(ModuleNotFoundError("No module named 'faiss'", name="faiss"), "--json")
    assert said.endswith("No module named 'faiss'\nhint: see `vidssl doctor`\n")
    assert json.loads(out)["error"]["where"] == "faiss"


def test_an_end_of_file_elsewhere_is_unexpected(run):
    assert run(EOFError("cut off"))[2].strip().startswith("error: EOFError: cut off\n")


def test_a_broken_pipe_elsewhere_is_an_error(run):
    status, _, said = run(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert status == 1
    assert said.startswith("error: ")


def test_ctrl_c_ends_with_130(run):
    status, out, _ = run(KeyboardInterrupt(), "--json")
    assert status == 130
    assert json.loads(out)["error"]["code"] == "interrupted"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense"], "No such option: --nonsense"),
        (["pretrian"], "No such command 'pretrian'"),
        (["recipes", "show"], "Missing argument 'RECIPE'"),
        (["recipes", "show", "a", "b"], "unexpected extra argument"),
        (["recipes", "schema", "sleep"], "'sleep' is not one of"),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments, message):
    plain = vidssl(*arguments)
    assert plain.returncode == 2
    assert plain.stdout == ""
    assert message in plain.stderr
    assert "--help" in plain.stderr.splitlines()[-1]
    document = json.loads(vidssl(*arguments, "--json").stdout)["error"]
    assert document["code"] == "usage"
    assert message in document["message"]


@pytest.mark.parametrize("arguments", [[], ["recipes"]])
def test_no_arguments_show_the_help(arguments):
    done = vidssl(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: vidssl ")
    assert "error" not in done.stderr


def test_version():
    done = vidssl("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("vidssl ")


@pytest.mark.parametrize(
    ("arguments", "together"),
    [
        (["--help"], False),
        (["plugins"], False),
        (["plugins"], True),
        (["recipes", "schema"], False),
    ],
)
def test_a_closed_pipe_ends_silently_with_141(arguments, together):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "vidssl_cli", *arguments]
    stderr = writer if together else subprocess.PIPE
    process = subprocess.Popen(command, stdout=writer, stderr=stderr)
    os.close(writer)
    said = process.communicate()[1]
    assert process.returncode == 141
    assert not said


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(closed, tmp_path):
    """Rather than into the first files that are opened, which get their numbers."""
    few = "--per-class-train 1 --per-class-test 0"
    command = f'{sys.executable} -m vidssl_cli data synth --out "$0" {few} {closed}'
    assert subprocess.run(["sh", "-c", command, tmp_path / "made"]).returncode == 0
    assert vidssl("data", "scan", tmp_path / "made", "--out", tmp_path / "m.jsonl").returncode == 0


def test_a_terminal_that_knows_few_characters_is_shown_escapes(tmp_path):
    latin = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    name = tmp_path / "caf\xe9 \u65e5"
    told = vidssl("runs", name, "--json", env=latin, encoding="latin-1")
    assert str(name) in json.loads(told.stdout)["error"]["message"]
    assert "\xe9 \\u65e5" in told.stderr


def test_a_folder_that_was_deleted_is_no_place_to_work_in(tmp_path):
    command = f'cd "$0" && rmdir "$0" && {sys.executable} -m vidssl_cli recipes list'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    folder = tmp_path / "gone"
    folder.mkdir()
    ended = subprocess.run(
        ["sh", "-c", command, folder], capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: the working directory: No such file or directory\n")


@pytest.mark.parametrize("error", [MemoryError("900 GiB"), RuntimeError("CUDA out of memory.")])
def test_want_of_memory_is_no_defect(run, error):
    status, _, err = run(error)
    assert status == 1
    assert err.startswith("error: there is not enough memory: ")
    assert "report" not in err


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)]
)
def test_a_signal_ends_a_command_in_one_line_whatever_its_threads_do(number, status):
    script = f"""
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from vidssl_cli.config import load
from vidssl_cli.__main__ import main
def slow(*_):
    ThreadPoolExecutor(1).submit(threading.Event().wait)  # Python would wait for it
    os.kill(os.getpid(), {int(number)})
load.load = slow
sys.argv[1:] = ["recipes", "check", "small/pace"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status
    assert done.stderr == f"error: stopped by {number.name}\n"


def test_a_signal_is_noted_while_the_command_line_is_imported():
    script = f"""
import os, sys
from vidssl_cli import __main__
class Early:
    def find_spec(self, name, path=None, target=None):
        if name == "vidssl_cli.cli":
            os.kill(os.getpid(), {int(signal.SIGTERM)})
sys.meta_path.insert(0, Early())
sys.argv[1:] = ["recipes", "list"]
__main__.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 75
    assert done.stderr == "error: stopped by SIGTERM\n"
    assert done.stdout == ""


def test_nothing_is_coloured_when_piped():
    plain = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"}
    for arguments in (["plugins"], ["--nonsense"], ["recipes", "list"]):
        done = vidssl(*arguments, env=plain)
        assert "\x1b" not in done.stdout + done.stderr


def test_recipes_list_and_show():
    rows = json.loads(vidssl("recipes", "list", "--json").stdout)["recipes"]
    assert {"name", "path", "summary"} <= rows[0].keys()
    assert "small/pace" in {row["name"] for row in rows}
    shown = vidssl("recipes", "show", "small/pace", "--set", "train.epochs=7")
    assert "\n  epochs: 7\n" in shown.stdout
    done = vidssl("recipes", "show", "small/pace", "--set", "train.epochs=7", "--json")
    assert json.loads(done.stdout)["recipe"]["train"]["epochs"] == 7


def test_a_recipe_is_shown_with_its_opening_comment(tmp_path):
    """The comment tells what differs from the paper; what is printed is the recipe still."""
    name = "papers/pace-c3d-ucf101"
    shown = vidssl("recipes", "show", name, "--set", "train.epochs=7").stdout
    comment, _, keys = shown.partition("\n\n")
    file = find(name).read_text(encoding="utf-8")
    assert file.startswith(f"{comment}\nsummary: ")
    assert "\n# What differs, or had to be chosen:\n" in comment
    assert keys.startswith("# Every key of a recipe, resolved by vidssl ")
    again = tmp_path / "again.yaml"
    again.write_text(shown, encoding="utf-8")
    assert load(again) == load(name, ["train.epochs=7"])
    assert vidssl("recipes", "show", str(again)).stdout == shown
    again.write_text(keys, encoding="utf-8")  # the recipe.yaml of a run
    assert vidssl("recipes", "show", str(again)).stdout == keys


def test_a_comment_cannot_command_the_terminal(tmp_path):
    path = tmp_path / "mine.yaml"
    pace = find("small/pace").read_text(encoding="utf-8")
    path.write_text(f"# \u202eturned\n{pace}", encoding="utf-8")
    assert vidssl("recipes", "show", str(path)).stdout.startswith("# \\u202eturned\n# ")


def test_recipes_check_takes_several():
    done = vidssl("recipes", "check", "small/pace", "nowhere", "--set", "trian=1", "--json")
    assert done.returncode == 2
    message = json.loads(done.stdout)["error"]["message"]
    assert "trian: unknown key" in message
    assert "no recipe is named 'nowhere'" in message
    assert vidssl("recipes", "check", "small/pace").returncode == 0


def test_recipes_schema_describes_installed_plugins():
    schema = json.loads(vidssl("recipes", "schema").stdout)
    assert "r3d" in schema["properties"]["backbone"]["discriminator"]["mapping"]
    assert schema["additionalProperties"] is False
    one, several = schema["properties"]["pretext"]["anyOf"]
    assert one["discriminator"] == several["items"]["discriminator"]
