"""Command line: python -m include.aws {deploy,destroy,render}."""

from __future__ import annotations

import argparse
import sys

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from include.aws import deploy as d
from include.aws.document import TEMPLATE, compact
from include.aws.parameters import ParameterError
from include.settings import SettingsError


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _asked(question: str) -> bool:
    if not sys.stdin.isatty():
        raise d.DeployError("nobody can be asked here (no terminal): add --yes")
    return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}


def _parameter(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=VALUE, like KafkaLagThreshold=5000")
    return name, value


def _deploy(options: argparse.Namespace) -> int:
    def confirm(changes: list[d.Change]) -> bool:
        _say(f"Stack {options.stack} would change:")
        for change in changes:
            _say(f"  {change}")
        return options.yes or _asked("Go on?")

    done = d.deploy(dict(options.parameter), stack=options.stack, confirm=confirm, progress=_say)
    for note in done.notes:
        _say(f"Note: {note}")
    _say("" if done.changed else f"No change: stack {done.stack} is as the template has it.")
    _say("# Settings of this stack:")
    for name, value in done.settings.items():
        _say(f"{name}={value}")
    others = {name: value for name, value in done.outputs.items() if value not in done.settings.values()}
    _say("# For people:")
    for name, value in others.items():
        _say(f"# {name}: {value}")
    return 0


def _destroy(options: argparse.Namespace) -> int:
    kept = (
        f"with ALL DATA in bucket {options.delete_data} and its Glue databases"
        if options.delete_data
        else "(bucket and database stay)"
    )
    if not options.yes and not _asked(f"Delete stack {options.stack} {kept}?"):
        raise d.DeployError(f"not confirmed: stack {options.stack} is as it was")
    there = d.destroy(stack=options.stack, delete_data_of=options.delete_data, progress=_say)
    _say(f"Stack {options.stack} is deleted." if there else f"There is no stack {options.stack}.")
    return 0


def _render(options: argparse.Namespace) -> int:
    template = TEMPLATE.read_text()
    _say(compact(template) if options.compact else template)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked (nothing to do included)."""
    parser = argparse.ArgumentParser(prog="python -m include.aws", description="The AWS side of the lakehouse.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    deploy = commands.add_parser("deploy", help="create the stack or bring it up to date")
    deploy.add_argument("--stack", default=d.DEFAULT_STACK)
    deploy.add_argument("--yes", action="store_true", help="do not ask")
    deploy.add_argument(
        "--parameter", type=_parameter, action="append", default=[], metavar="NAME=VALUE", help="may be repeated"
    )
    deploy.set_defaults(run=_deploy)

    destroy = commands.add_parser("destroy", help="delete the stack; the data stays")
    destroy.add_argument("--stack", default=d.DEFAULT_STACK)
    destroy.add_argument("--yes", action="store_true", help="do not ask")
    destroy.add_argument(
        "--delete-data", metavar="BUCKET", help="delete this bucket with all data in it too; it must be the stack's"
    )
    destroy.set_defaults(run=_destroy)

    rendering = commands.add_parser("render", help="print the template")
    rendering.add_argument("--compact", action="store_true", help="as JSON without comments and spaces")
    rendering.set_defaults(run=_render)

    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except NoCredentialsError:
        sys.stderr.write("No AWS credentials: log in (aws sso login), or set AWS_PROFILE or AWS_ACCESS_KEY_ID\n")
    except (d.DeployError, ParameterError, SettingsError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"{error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
