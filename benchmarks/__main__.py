"""``python -m benchmarks NAME``."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from .auction import gallery, robustness  # noqa: F401
from .auction.settings import Settings
from .auction.table1 import run_table1
from .auction.tuning import RESULTS, tune
from .campaigns import command as budget
from .engine import EXPERIMENTS, fraction, positive_int
from .engine.command_line import add_command, check_folders, dispatch
from .paper import command as paper
from .timing.speed import PARTS, run_speed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    table1 = commands.add_parser("table1", help="the paper's Table I, with verdicts")
    table1.add_argument("--env", default="BidClick-v0", help="Gymnasium id")
    table1.add_argument("--algorithms", help="comma-separated; all by default")
    table1.add_argument("--seeds", type=positive_int)
    table1.add_argument("--steps", type=positive_int)
    table1.add_argument("--fraction", type=fraction, default=1.0)
    table1.add_argument("--workers", type=positive_int, default=2)
    table1.add_argument("--out", type=pathlib.Path)
    table1.add_argument(
        "--quick",
        action="store_true",
        help="2 seeds, 1,000 steps: a look at the whole path in minutes",
    )
    table1.add_argument(
        "--online",
        action=argparse.BooleanOptionalAction,
        help="also SB3's DQN and PPO, trained online; by default where all algorithms "
        "are run, unless --quick",
    )
    speed = commands.add_parser(
        "speed", help="training, loading and stepping, timed against d3rlpy"
    )
    speed.add_argument("--only", help="comma-separated; all of fit, load, env by default")
    speed.add_argument("--quick", action="store_true", help="everything at toy size")
    speed.add_argument(
        "--huge", action="store_true", help="also 100 million impressions (3 GB of disk)"
    )
    speed.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/speed"))
    regret = commands.add_parser(
        "regret", help="what each prior saves, at three shares of the log"
    )
    regret.add_argument("--seeds", type=positive_int, default=20)
    regret.add_argument("--steps", type=positive_int, default=5000)
    regret.add_argument("--workers", type=positive_int, default=2)
    regret.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/regret"))
    regret.add_argument(
        "--quick", action="store_true", help="1 seed, 200 steps: the whole path once"
    )
    regret.add_argument(
        "--tune",
        action="store_true",
        help="first choose the baselines' hyperparameters again",
    )
    priors = commands.add_parser(
        "priors", help="power and false rejections of the prior check"
    )
    _add_kit_options(priors, "runs/priors")
    ope = commands.add_parser(
        "ope", help="off-policy estimates: coverage, and what choosing by them costs"
    )
    _add_kit_options(ope, "runs/ope")
    for experiment in EXPERIMENTS.values():
        add_command(commands, experiment)
    shapes = commands.add_parser(
        "shapes", help="the projection layer: time and error, against other solvers"
    )
    shapes.add_argument("--quick", action="store_true", help="toy rounds")
    shapes.add_argument(
        "--rivals-python",
        metavar="PATH",
        help="interpreter of an environment with qpth, cvxpylayers and torchisotonic; "
        "without it they are not run",
    )
    shapes.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/shapes"))
    paper.add_command(commands)
    budget.add_command(commands)
    tuning = commands.add_parser("tune", help="choose the baselines' hyperparameters")
    tuning.add_argument("--steps", type=positive_int, default=5000)
    tuning.add_argument("--workers", type=positive_int, default=2)
    tuning.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/tuning"))
    return parser


def _add_kit_options(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("--seeds", type=positive_int, default=200, help="logs")
    parser.add_argument("--workers", type=positive_int, default=2)
    parser.add_argument("--quick", action="store_true", help="3 logs: every path once")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(out))


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and runs one experiment."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    given = parser.parse_args(words)
    check_folders(parser, vars(given))
    if given.command in EXPERIMENTS:
        dispatch(parser, vars(given), words)
        return
    if given.command == "tune":
        from .auction.online import TUNED, tune_online

        tune(given.out / "cells", given.steps, given.workers)
        tune_online(given.out / "cells", given.steps, given.workers)
        print(f"wrote {RESULTS} and {TUNED}")
        return
    if given.command == "speed":
        run_speed(given.out, _known_parts(parser, given.only), given.quick, given.huge)
        print((given.out / "speed.md").read_text())
        return
    if given.command == "shapes":
        _shapes(parser, given, words)
        return
    if given.command == "regret":
        _regret(given, words)
        return
    if given.command == "paper":
        paper.run_command(parser, given, words)
        return
    if given.command == "priors":
        from .auction.priors import run_priors

        seeds = 3 if given.quick else given.seeds
        run_priors(given.out, seeds, given.workers, typed(words))
        print((given.out / "report.md").read_text())
        return
    if given.command == "ope":
        from .auction.ope import run_ope

        seeds = 2 if given.quick else given.seeds
        run_ope(given.out, seeds, given.workers, typed(words), given.quick)
        print((given.out / "report.md").read_text())
        return
    if given.command == "budget":
        budget.run_command(parser, given, words)
        return
    defaults = Settings()
    seeds, steps = (2, 1000) if given.quick else (defaults.seeds, defaults.steps)
    quick_out = pathlib.Path("runs/table1-quick")
    settings = Settings(
        env=_known_env(parser, given.env),
        algorithms=_known_algorithms(parser, given.algorithms),
        seeds=given.seeds or seeds,
        steps=given.steps or steps,
        fraction=given.fraction,
        online=given.online
        if given.online is not None
        else not given.quick and given.algorithms is None,
        workers=given.workers,
        out=given.out or (quick_out if given.quick else defaults.out),
        command=typed(words),
    )
    run_table1(settings)
    report = settings.out / "report.md"
    text = report.read_text()
    print(text[text.index("## Verdict") : text.index("## Measured")])
    print(f"table, picture and raw rows: {report.parent}")


def typed(words: Sequence[str]) -> str:
    """The command as it was typed, for reports."""
    return " ".join(["python -m benchmarks", *words])


def _shapes(
    parser: argparse.ArgumentParser, given: argparse.Namespace, words: Sequence[str]
) -> None:
    # Imported here: no other benchmark needs quadprog.
    from .timing.projections import run_shapes
    from .timing.rivals_client import RivalsPythonError

    command = typed(words)
    try:
        run_shapes(given.out, given.quick, given.rivals_python, command)
    except RivalsPythonError as error:
        parser.error(str(error))
    print((given.out / "shapes.md").read_text())


def _regret(given: argparse.Namespace, words: Sequence[str]) -> None:
    from .auction.regret import RegretSettings, run_regret
    from .auction.regret_tuning import tune_regret

    out: pathlib.Path = given.out
    if given.tune:
        tune_regret(out / "tuning", steps=given.steps, workers=given.workers)
    settings = RegretSettings(
        seeds=1 if given.quick else given.seeds,
        side_seeds=1 if given.quick else min(given.seeds, 5),
        steps=200 if given.quick else given.steps,
        workers=given.workers,
        out=out,
        command=typed(words),
    )
    run_regret(settings)
    text = (out / "regret.md").read_text()
    print(text[text.index("## Verdict") : text.index("## How to read it")])


def _known_env(parser: argparse.ArgumentParser, name: str) -> str:
    from bidclick_gym import DATASETS

    known = sorted(spec.env_id for spec in DATASETS.values())
    if name not in known:
        parser.error(f"--env must be one of {', '.join(known)}, got {name!r}")
    return name


def _known_algorithms(
    parser: argparse.ArgumentParser, names: str | None
) -> tuple[str, ...]:
    from .learners import AUCTION_LEARNERS

    if names is None:
        return tuple(AUCTION_LEARNERS)
    chosen = tuple(name.strip() for name in names.split(","))
    if len(set(chosen)) < len(chosen):
        parser.error(f"--algorithms must name each once, got {names!r}")
    unknown = [name for name in chosen if name not in AUCTION_LEARNERS]
    if unknown:
        parser.error(
            f"--algorithms must be among {', '.join(AUCTION_LEARNERS)}; got {unknown}"
        )
    return chosen


def _known_parts(parser: argparse.ArgumentParser, names: str | None) -> tuple[str, ...]:
    chosen = PARTS if names is None else tuple(n.strip() for n in names.split(","))
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        parser.error(f"--only must be among {', '.join(PARTS)}; got {unknown}")
    return chosen


if __name__ == "__main__":
    main()
