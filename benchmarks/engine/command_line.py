"""``python -m benchmarks``: one parser for every experiment."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from icac_algo._util.command_line import EXIT_STATUSES

from .experiment import EXPERIMENTS, Experiment, Settings, UsageError, rebuild, run


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def fraction(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"must be in (0, 1], got {text}")
    return value


def list_of(what: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Several of them, separated by commas, each once, for argparse."""

    def parse(text: str) -> tuple[Any, ...]:
        values = tuple(what(word.strip()) for word in text.split(","))
        if len(set(values)) < len(values):
            raise argparse.ArgumentTypeError(f"must name each once, got {text!r}")
        return values

    return parse


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(
                f"must be among {', '.join(known)}, got {text!r}"
            )
        return text

    return parse


_HELP = {
    "seeds": "number of seeds, from 0",
    "steps": "gradient steps",
    "workers": "processes",
}


def add_command(commands: Any, experiment: Experiment) -> None:
    text, defaults = experiment.help, experiment.defaults
    add = commands.add_parser(experiment.name, help=text, description=text).add_argument
    for name, what in _HELP.items():
        if name in defaults:
            shown = f"{what}; {defaults[name]} by default"
            add(f"--{name}", type=positive_int, help=shown)
    if "ray" in defaults:
        shown = "run on a Ray cluster; without an address, on one started here"
        add("--ray", nargs="?", const="local", metavar="ADDRESS", help=shown)
    names = [part.name for part in experiment.parts]
    if len(names) > 1:
        shown = f"comma-separated parts of {', '.join(names)}; all by default"
        add("--only", type=list_of(one_of(names)), help=shown)
    if experiment.quick is not None:
        shown = "the smallest run that has every path: a look at it in minutes"
        add("--quick", action="store_true", help=shown)
    if experiment.parts:
        shown = "run nothing: pictures and report from the rows in --out"
        add("--rebuild", action="store_true", help=shown)
    for option in experiment.options:
        add(option.name, **option.arguments)
    out = defaults.get("out", f"runs/{experiment.name}")
    add("--out", type=pathlib.Path, help=f"folder of results; {out} by default")


def settings_of(
    experiment: Experiment, given: Mapping[str, Any], words: Sequence[str]
) -> Settings:
    """What a parsed command line asks for: what is not given has its default."""
    quick = bool(given.get("quick"))
    changed = dict(experiment.quick or {}) if quick else {}
    folder = f"runs/{experiment.name}{'-quick' if quick else ''}"
    defaults = {"out": folder, **experiment.defaults, **changed}

    def value(name: str) -> Any:
        found = given.get(name)
        return defaults.get(name) if found is None else found

    own = [option.name.lstrip("-").replace("-", "_") for option in experiment.options]
    return Settings(
        out=pathlib.Path(value("out")),
        seeds=value("seeds") or 0,
        steps=value("steps") or 0,
        workers=value("workers") or 1,
        ray=value("ray"),
        quick=quick,
        parts=given.get("only") or (),
        command=" ".join(["python -m benchmarks", *words]),
        options={name: value(name) for name in own},
    )


def check_folders(parser: argparse.ArgumentParser, given: Mapping[str, Any]) -> None:
    """Refuses results that could not be written, before anything is computed."""
    out: pathlib.Path | None = given.get("out")
    ledger: pathlib.Path | None = given.get("ledger")
    if ledger is not None and ledger.is_dir():
        parser.error(f"--ledger must be a file, got the folder {ledger}")
    for option, folder in (("--out", out), ("--ledger", ledger and ledger.parent)):
        if folder is None:
            continue
        if "\0" in str(folder):
            parser.error(f"{option} must be a path, got {str(folder)!r}")
        there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            parser.error(
                f"{option} must be a folder that can be written, got {folder}: {there} "
                "cannot"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        epilog=f"Exit status: 0 finished, 1 some cells failed; {EXIT_STATUSES}.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for experiment in EXPERIMENTS.values():
        add_command(commands, experiment)
    given = vars(parser.parse_args(words))
    check_folders(parser, given)
    dispatch(parser, given, words)


def dispatch(
    parser: argparse.ArgumentParser, given: Mapping[str, Any], words: Sequence[str]
) -> None:
    experiment = EXPERIMENTS[given["command"]]
    settings = settings_of(experiment, given, words)
    work = rebuild if given.get("rebuild") else run
    try:
        print(work(experiment, settings))
    except UsageError as error:
        parser.error(str(error))
