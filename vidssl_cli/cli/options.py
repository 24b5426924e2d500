"""Arguments and options that several commands share."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from vidssl_cli.base.errors import UsageError
from vidssl_cli.cli import completion

if TYPE_CHECKING:
    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.cli.ray_engine import RayEngine
    from vidssl_cli.contract.hooks import DecoderOptions
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.embedding import Every

DATA_HELP = (
    "A folder of videos, a manifest (.jsonl), a .csv, a list (.txt), a packed set, or one video."
)

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="Name (`vidssl recipes list`) or file.",
        show_default=False,
        autocompletion=completion.recipe,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one value of the recipe, such as train.epochs=5; repeatable.",
        autocompletion=completion.setting,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Data = Annotated[str, typer.Option("--data", metavar="DATA", help=DATA_HELP, show_default=False)]
DataArgument = Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run or exported model.")]
IndexFolder = Annotated[Path, typer.Argument(metavar="INDEX", help="Made by `vidssl index`.")]
Checkpoint = Annotated[str, typer.Option(help="Checkpoint of a run: last or best.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Decoding threads; one per core by default.")
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Exit with status 5 if media were skipped or are not whole."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
AllDevices = Annotated[
    str, typer.Option(help="auto (all GPUs that there are), cpu, cuda (one), cuda:1.")
]
EveryOption = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        help="Embed a clip every so many seconds (1s, 0.5); 'clip', the default, leaves no "
        "frame out; 'recipe' takes the recipe's evenly spaced clips alone.",
    ),
]
OverwritePage = Annotated[bool, typer.Option("--overwrite", help="Replace the page that is there.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="VIDSSL_DATA_ROOT",
        help="All files of DATA must be in it. By default relative paths in a list or a manifest "
        "may not lead out of its own folder.",
    ),
]
DecoderOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What decodes videos: pyav, or a plugin such as nvdec, which does if its pictures are "
        "right and it is faster.",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Do part I of N only, numbered from 1: one job of an array."),
]
EngineOption = Annotated[
    Literal["local", "ray"],
    typer.Option(
        help="Work in this process, or on the machines of a Ray cluster: that of RAY_ADDRESS, else "
        "one of this machine."
    ),
]
DataSetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Name of the data set, such as UCF101; by default identified by its classes.",
    ),
]


@dataclass(frozen=True)
class DataOptions:
    """How DATA is read."""

    split: Annotated[
        int, typer.Option(min=1, help="Official split, for data that have several.")
    ] = 1
    data_root: DataRoot = None
    damaged: Annotated[
        Literal["use", "leave-out"],
        typer.Option(help="Videos with problems: use the frames that decode, or leave them out."),
    ] = "use"

    def open(self, source: str, **more: Any) -> tuple[list[Video], list[MediaError]]:
        """Call `open_data` with these options, and more."""
        from vidssl_cli.data.scan import open_data

        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return open_data(source, root=given.pop("data_root"), **given, **more)

    def as_words(self) -> list[str]:
        """Return the options that are not the default, as words of a command line."""
        words = []
        for field in fields(self):
            if (value := getattr(self, field.name)) != field.default:
                words += [f"--{field.name.replace('_', '-')}", str(value)]
        return words


@dataclass(frozen=True)
class ListOptions(DataOptions):
    """How DATA is read, with lists of its videos in files of their own."""

    lists: Annotated[
        Path | None,
        typer.Option(
            "--lists", metavar="DIR", help="Folder of the official lists, if they are not in DATA."
        ),
    ] = None
    train_list: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Training videos, one path per line, relative to DATA."),
    ] = None
    test_list: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Test videos, likewise.")
    ] = None
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Class names, one per line, for lists with class numbers."
        ),
    ] = None
    hold_out: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=0.99,
            metavar="SHARE",
            help="Test on this share of each class, whole recordings, if DATA has no splits.",
        ),
    ] = None
    workers: Annotated[
        int | None, typer.Option(min=1, help="Files decoded at a time; one per core by default.")
    ] = None


def read_every(text: str | None) -> Every | None:
    """Read the value of ``--every``.

    Raises:
        UsageError: It is none.
    """
    match text:
        case None | "clip" | "recipe":
            return text
    number = re.fullmatch(r"(\d{1,5}(?:\.\d{1,3})?)s?", text)
    if number and 0.01 <= float(number[1]) <= 86400:
        return float(number[1])
    raise UsageError(
        f"{text!r} is no number of seconds from 0.01 to 86400, nor 'clip' or 'recipe'",
        where="--every",
        hint="write --every 1s or --every 0.5",
    )


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer see the fields of a parameter that is a dataclass as options of their own."""
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in signature.parameters.values():
        kind = parameter.annotation
        if not (isinstance(kind, type) and is_dataclass(kind)):
            parameters.append(parameter)
            continue
        groups[parameter.name] = kind
        hints = get_type_hints(kind, include_extras=True)
        parameters += [
            parameter.replace(name=field.name, annotation=hints[field.name], default=field.default)
            for field in fields(kind)
        ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def load_decoder(name: str) -> DecoderOptions | None:
    """Return the options of what ``--decoder`` names; None stands for PyAV.

    Raises:
        VidsslError: there is no such decoder.
    """
    from vidssl_cli.config.load import load_options
    from vidssl_cli.contract.hooks import DecoderOptions

    return None if name == "pyav" else load_options(DecoderOptions, name)


def open_engine(name: str) -> AbstractContextManager[RayEngine | None]:
    """Open what ``--engine`` names; None is this process."""
    from vidssl_cli.cli.ray_engine import ray_engine

    return ray_engine() if name == "ray" else nullcontext()


def refuse_page(page: Path, overwrite: bool, option: str = "--out") -> None:
    """Refuse a name that is none of a page, as of a query by mistake, or as `refuse_existing`.

    Raises:
        UsageError: The name does not end in .html, or something is there.
    """
    if page.suffix.lower() != ".html":
        raise UsageError(f"{option} {page} is not a name for a page", hint="end it in .html")
    refuse_existing(page, overwrite, option)


def refuse_existing(out: Path, overwrite: bool, option: str = "--out") -> None:
    """Refuse to replace a file without --overwrite, or a folder.

    That is for results that a command cannot go on with: what it can bring up to date, such as an
    index, it does (docs/quickstart.md).

    Raises:
        UsageError: Something is there.
    """
    if out.is_dir() or (out.exists() and not overwrite):
        raise UsageError(
            f"{option} {out} is there already", hint="choose another name, or give --overwrite"
        )
