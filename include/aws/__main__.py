"""Command line: python -m include.aws {deploy,destroy,render}."""

from __future__ import annotations

import argparse
import sys

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from include.aws import deploy
from include.aws.document import TEMPLATE, compact
from include.aws.parameters import StackParameterError
from include.reasons import reason_of
from include.settings import SettingsError


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise deploy.DeployError("nobody can be asked here (no terminal): add --yes")
    return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}


def _parameter(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=VALUE, like KafkaLagThreshold=5000")
    return name, value


def _deploy(options: argparse.Namespace) -> int:
    def confirm(changes: list[deploy.Change]) -> bool:
        _say(f"Stack {options.stack} would change:")
        for change in changes:
            _say(f"  {change}")
        return options.yes or _confirmed("Go on?")

    deployment = deploy.deploy(dict(options.parameter), stack=options.stack, confirm=confirm, progress=_say)
    for note in deployment.notes:
        _say(f"Note: {note}")
    _say("" if deployment.changed else f"No change: stack {deployment.stack} matches the template.")
    _say("# Settings of this stack:")
    for name, value in deployment.settings.items():
        _say(f"{name}={value}")
    others = {name: value for name, value in deployment.outputs.items() if value not in deployment.settings.values()}
    _say("# For people:")
    for name, value in others.items():
        _say(f"# {name}: {value}")
    return 0


def _destroy(options: argparse.Namespace) -> int:
    scope = (
        f"with ALL DATA in bucket {options.delete_data} and its Glue databases"
        if options.delete_data
        else "(bucket and database stay)"
    )
    if not options.yes and not _confirmed(f"Delete stack {options.stack} {scope}?"):
        raise deploy.DeployError(f"not confirmed: stack {options.stack} is unchanged")
    existed = deploy.destroy(stack=options.stack, delete_data_of=options.delete_data, progress=_say)
    _say(f"Stack {options.stack} is deleted." if existed else f"There is no stack {options.stack}.")
    return 0


def _render(options: argparse.Namespace) -> int:
    template = TEMPLATE.read_text()
    _say(compact(template) if options.compact else template)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns 0 when it succeeded, also when there was nothing to do."""
    parser = argparse.ArgumentParser(prog="python -m include.aws", description="The AWS side of the lakehouse.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    deploying = commands.add_parser("deploy", help="create the stack or bring it up to date")
    deploying.add_argument("--stack", default=deploy.DEFAULT_STACK)
    deploying.add_argument("--yes", action="store_true", help="do not ask")
    deploying.add_argument(
        "--parameter", type=_parameter, action="append", default=[], metavar="NAME=VALUE", help="may be repeated"
    )
    deploying.set_defaults(run=_deploy)

    destroying = commands.add_parser("destroy", help="delete the stack; the data stays")
    destroying.add_argument("--stack", default=deploy.DEFAULT_STACK)
    destroying.add_argument("--yes", action="store_true", help="do not ask")
    destroying.add_argument(
        "--delete-data", metavar="BUCKET", help="also delete this bucket with all its data; it must be the stack's"
    )
    destroying.set_defaults(run=_destroy)

    rendering = commands.add_parser("render", help="print the template")
    rendering.add_argument("--compact", action="store_true", help="as JSON without comments and spaces")
    rendering.set_defaults(run=_render)

    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except NoCredentialsError:
        sys.stderr.write("No AWS credentials: log in (aws sso login), or set AWS_PROFILE or AWS_ACCESS_KEY_ID\n")
    except (deploy.DeployError, StackParameterError, SettingsError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"{reason_of(error)}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
