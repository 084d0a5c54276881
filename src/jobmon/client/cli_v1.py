"""``ClientCLI``: the command line as earlier generations offered it to scripts, made from the flat names.

The options are those of :data:`jobmon.client.cli.flat.FLAT`; nothing is listed twice.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from jobmon.client.cli.flat import FLAT, FlatName
from jobmon.client.cli.options import ManyOption


class ClientCLI:
    """Parses flat command lines into namespaces whose ``func`` carries them out. Deprecated."""

    def __init__(self) -> None:
        warnings.warn(
            "ClientCLI is kept for old scripts; call the functions of jobmon.client.status_commands instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        self.parser = argparse.ArgumentParser(prog="jobmon", description="The flat names of commands.")
        subparsers = self.parser.add_subparsers(dest="sub_command", metavar="COMMAND", required=True)
        for name, flat in {**FLAT, "version": FlatName("version")}.items():
            subparser = subparsers.add_parser(name, help=f"Today: jobmon {flat.now}")
            subparser.set_defaults(func=_carry_out(flat))
            for each in flat.parameters:
                _add(subparser, each.parameter)

    def parse_args(self, argstr: str | None = None) -> argparse.Namespace:
        """Parse a command line.

        Args:
            argstr: the words after ``jobmon`` as one string; by default those of this process.

        Returns:
            The values by their names (``workflow_id``, ``task_ids`` …) and ``func``, which takes the namespace.

        Raises:
            SystemExit: the line was not understood (exit code 2), or asked for help.
        """
        words = sys.argv[1:] if argstr is None else shlex.split(argstr)
        namespace = self.parser.parse_args(words)
        for each in FLAT[namespace.sub_command].parameters if namespace.sub_command in FLAT else ():
            name = str(each.parameter.name)
            if isinstance(each.parameter, ManyOption) and getattr(namespace, name) is None:
                setattr(namespace, name, list(_default(each.parameter) or ()))
        return namespace

    def main(self, argstr: str | None = None) -> None:
        """Parse a command line and carry it out."""
        namespace = self.parse_args(argstr)
        namespace.func(namespace)


def _carry_out(flat: FlatName) -> Callable[[argparse.Namespace], None]:
    def func(namespace: argparse.Namespace) -> None:
        from jobmon.client.cli.root import cli

        cli.main(args=flat.words(vars(namespace)), prog_name="jobmon", standalone_mode=False)

    return func


def _default(parameter: click.Parameter) -> Any:
    default = parameter.to_info_dict().get("default")
    return None if default is NotImplemented else default


def _add(parser: argparse.ArgumentParser, parameter: click.Parameter) -> None:
    """An option or argument of click, for argparse."""
    convert = _converter(parameter)
    if not isinstance(parameter, click.Option):
        parser.add_argument(str(parameter.name), type=convert)
    elif parameter.is_flag:
        parser.add_argument(*parameter.opts, dest=parameter.name, action="store_true")
    elif isinstance(parameter, ManyOption):
        parser.add_argument(
            *parameter.opts,
            dest=parameter.name,
            type=convert,
            action="extend",
            nargs="+" if parameter.required else "*",
            required=parameter.required,
        )
    else:
        parser.add_argument(
            *parameter.opts,
            dest=parameter.name,
            type=convert,
            default=_default(parameter),
            required=parameter.required,
        )


def _converter(parameter: click.Parameter) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return parameter.type.convert(text, parameter, None)
        except click.BadParameter as error:
            raise argparse.ArgumentTypeError(error.message) from error

    return convert
