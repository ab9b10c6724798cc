"""The commands of ``icac``, their options and exit statuses."""

from __future__ import annotations

import errno
import json
import pathlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from .._util.command_line import BAD_INPUT, EXIT_STATUSES, NO_OUTPUT, say
from .spec import Spec, field_help

_STATUSES = f"Exit status: 0 done, {EXIT_STATUSES}."
# The disk is full or nobody listens: nothing that was given is wrong.
_UNWRITABLE = (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EDQUOT)
_CHECK_STATUSES = (
    "Exit status: 0 nothing is rejected, 1 something is, 3 the log cannot tell, "
    f"{EXIT_STATUSES}."
)


class _Variadic(click.Command):
    """Options of several values take all words up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        many = {
            name
            for one in self.params
            if isinstance(one, click.Option) and one.multiple
            for name in one.opts
        }
        spread: list[str] = []
        current = ""
        for word in args:
            if word.startswith("--"):
                current = word if word in many else ""
                spread.append(word)
            elif current and spread[-1] != current:
                spread += [current, word]
            else:
                spread.append(word)
        return super().parse_args(ctx, spread)


def _spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for every field of a spec, of the same name."""
    for name, (kind, text) in reversed(field_help().items()):
        if name == "log":
            continue
        flag = f"--{name.replace('_', '-')}"
        many = kind == "tuple"
        kinds: dict[str, Any] = {"int": int, "float": float}
        option = click.option(
            flag, name, type=kinds.get(kind, str), multiple=many, default=None, help=text
        )
        command = option(command)
    source = click.argument("log", nargs=-1, required=True, metavar="TOML|LOG...")
    return source(command)


@click.group(epilog=_STATUSES, context_settings={"max_content_width": 100})
@click.version_option(package_name="bidclick-icac")
def icac() -> None:
    """From a table of decisions to a policy that can be asked.

    Every option has the name that it has in the TOML file.
    """


@icac.command()
@click.argument("log", nargs=-1, required=True)
@click.option("--out", default="icac.toml", show_default=True, help="the file")
def init(log: tuple[str, ...], out: str) -> None:
    """Writes a TOML file from a look at the log."""
    from .init import write_spec

    write_spec(log, pathlib.Path(out))
    click.echo(f"{out}: check observe, act, reward and shape, then: icac learn {out}")


@icac.command(cls=_Variadic, epilog=_CHECK_STATUSES)
@_spec_options
def check(log: tuple[str, ...], **fields: Any) -> int:
    """Tests each stated shape against the log."""
    from .learning import check as checked
    from .log import Log

    found = checked(Log.read(_spec(log, fields)), _is_watched())
    for name, one in found.items():
        click.echo(f"{name}: {one if one is not None else 'nothing to test'}\n")
    verdicts = {one.verdict for one in found.values() if one is not None}
    if "rejected" in verdicts:
        return 1
    return 3 if "cannot tell" in verdicts or not verdicts else 0


@icac.command(cls=_Variadic, epilog=_STATUSES)
@_spec_options
@click.option(
    "--out", default=None, help="the folder; by default runs/ and the log's name"
)
@click.option("--again", is_flag=True, help="learn anew what is there already")
def learn(log: tuple[str, ...], out: str | None, again: bool, **fields: Any) -> None:
    """Checks, trains, compares with rivals, reports; all in one folder.

    What was interrupted goes on when the same command is given again.
    """
    spec = _spec(log, fields)
    place = pathlib.Path(f"runs/{pathlib.Path(log[0]).stem}" if out is None else out)
    from . import folder
    from .learning import learn as learned_from
    from .report import report as page_of
    from .report import results

    folder.check_place(place, again)
    work = folder.unfinished(place)
    _quiet_logs()
    found = learned_from(spec, work, say, _is_watched())
    # Another may have written there since.
    folder.check_place(place, again)
    command = shlex.join(["icac", *click.get_current_context().obj])
    folder.write(place, found, page_of(found, command), results(found))
    click.echo(
        f"{found.verdict}\n\n{found.comparison.table()}\n\n{place / folder.REPORT}"
    )


@icac.command(cls=_Variadic, epilog=_STATUSES)
@click.option("--policy", multiple=True, required=True, help="folders of icac learn")
@_spec_options
def compare(log: tuple[str, ...], policy: tuple[str, ...], **fields: Any) -> None:
    """Judges policies, and what else could be used, by the held-out part of a log."""
    from .folder import check_split, open_policy
    from .learning import judge
    from .log import Log
    from .rivals import RIVALS, rivals

    spec = _spec(log, fields)
    asked: dict[str, Any] = {name: open_policy(name) for name in policy}
    for name, one in asked.items():
        if one.space.column != spec.act:
            raise ValueError(f"{name} decides {one.space.column}, act is {spec.act}")
        for column in one.preparation.columns:
            if column not in spec.observe:
                raise ValueError(f"observe must name {column!r}, which {name} observes")
        if name in RIVALS:
            raise ValueError(f"policy must not be called as a rival is, got {name!r}")
        check_split(name, spec)
    read = Log.read(spec)
    asked |= rivals(read.training, spec.seed)
    click.echo(judge(read, asked, _is_watched()))


@icac.command(epilog=_STATUSES)
@click.argument("policy")
@click.option("--json", "record", default=None, help="a record; else lines of them")
def decide(policy: str, record: str | None) -> None:
    """What to do for records of JSON: the action in its own units."""
    from .folder import open_policy
    from .policy import records

    if record is not None and not record.strip():
        raise ValueError(f"--json must be a record, got {record!r}")
    opened = open_policy(policy)
    for number, one in records(iter([record]) if record is not None else sys.stdin):
        try:
            found = opened.decide(one)
        except ValueError as error:
            raise ValueError(f"record {number}: {error}") from None
        click.echo(json.dumps(found))
        sys.stdout.flush()


@icac.command(epilog=_STATUSES)
@click.argument("folder")
def report(folder: str) -> None:
    """Writes report.html anew, from the policy and its log."""
    from .._util.files import write_whole
    from .folder import REPORT, open_losses, open_policy, open_spec
    from .learning import assess
    from .report import report as page_of

    _quiet_logs()
    policy, losses = open_policy(folder), open_losses(folder)
    found = assess(open_spec(folder), policy, losses, say, _is_watched())
    path = pathlib.Path(folder) / REPORT
    write_whole(path, page_of(found, shlex.join(["icac", "report", folder])).encode())
    click.echo(path)


def run(arguments: Sequence[str]) -> int:
    """Runs a command line; its exit status."""
    try:
        status = icac.main(list(arguments), "icac", standalone_mode=False, obj=arguments)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return BAD_INPUT
    except SystemExit as end:
        # Click's word for output that nobody reads.
        return NO_OUTPUT if end.code == 1 else BAD_INPUT if end.code else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        say(f"error: {' '.join(error.format_message().split())}")
        return BAD_INPUT
    except (ValueError, TypeError, OSError, ImportError) as error:
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            raise
        say(f"error: {' '.join(str(error).split())}")
        return BAD_INPUT


def _spec(log: tuple[str, ...], fields: dict[str, Any]) -> Spec:
    """Of a TOML file and options, which count before it; or of options alone."""
    given = {name: value for name, value in fields.items() if value not in (None, (), [])}
    if log[0].lower().endswith(".toml"):
        if len(log) > 1:
            raise ValueError(f"one TOML file is read, got {', '.join(log)}")
        return Spec.read(log[0], **given)
    return Spec.of({"log": list(log), **given})


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _quiet_logs() -> None:
    """d3rlpy says all that it does; here only what went wrong is said."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR)
    )
