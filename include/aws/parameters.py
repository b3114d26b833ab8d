"""Template parameters from the settings, and settings from the stack's outputs.

The parameters come from the settings, so that the programs find what is deployed. A value given with `--parameter` has
priority. A threshold without a given value keeps the stack's value. If that value is the default of the deployed
template, the threshold gets the new default.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import ValidationError

from include.settings import Settings, StorageSettings

_FROM_SETTINGS: dict[str, tuple[str, str]] = {
    "BucketName": ("storage", "bucket"),
    "DataPrefix": ("storage", "data_prefix"),
    "DeadLetterPrefix": ("storage", "dead_letter_prefix"),
    "StatePrefix": ("storage", "state_prefix"),
    "TestHistoryPrefix": ("storage", "test_history_prefix"),
    "WarehousePrefix": ("storage", "warehouse_prefix"),
    "AuditPrefix": ("storage", "audit_prefix"),
    "QueryResultsPrefix": ("storage", "query_results_prefix"),
    "DatabaseName": ("warehouse", "database"),
    "WorkgroupName": ("warehouse", "workgroup"),
    "MetricNamespace": ("monitor", "namespace"),
    "EnvironmentName": ("monitor", "environment"),
    "RunbookUrl": ("alert", "runbook_url"),
}
"""Parameter -> (group, field) of include/settings.py."""

_EMAIL_PARAMETERS = ("AlertEmail", "AlertEmail2", "AlertEmail3")


class StackParameterError(ValueError):
    """A template parameter cannot be used; the text names it, its value and the remedy."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter that a template declares; `default` is None if the template has no default."""

    name: str
    default: str | None


def is_emulator(endpoint_url: str | None) -> bool:
    """Whether the endpoint is on this machine, so that it is an emulator and not AWS."""
    if not endpoint_url:
        return False
    host = urlsplit(endpoint_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def from_settings(settings: Settings) -> dict[str, str]:
    """The parameters that follow from the settings.

    Raises:
        StackParameterError: there is no alert address, or there are more addresses than the template takes.
    """
    values = {
        parameter: str(getattr(getattr(settings, group), field)) for parameter, (group, field) in _FROM_SETTINGS.items()
    }
    emails = settings.alert.emails
    if not 1 <= len(emails) <= len(_EMAIL_PARAMETERS):
        raise StackParameterError(
            f"ALERT_EMAILS has {len(emails)} addresses; the alarm topic takes 1 to {len(_EMAIL_PARAMETERS)}: "
            "use the address of a mailing list"
        )
    padded = [*emails, *[""] * len(_EMAIL_PARAMETERS)]
    values |= dict(zip(_EMAIL_PARAMETERS, padded, strict=False))
    return values


def parameter_values(
    declared: Sequence[Declared],
    *,
    given: Mapping[str, str],
    computed: Mapping[str, str],
    deployed: Mapping[str, str],
    deployed_defaults: Mapping[str, str | None],
) -> dict[str, str]:
    """The value of each parameter that differs from its default in the new template.

    Args:
        declared: the new template's parameters.
        given: the caller's values; they have priority over all others.
        computed: values from the settings, and whether bucket and database exist already.
        deployed: the stack's present values; empty for a new stack.
        deployed_defaults: defaults of the deployed template.

    Raises:
        StackParameterError: a given name is not in the template, a value is missing, or prefixes cannot be used.
    """
    names = {parameter.name for parameter in declared}
    if unknown := sorted(set(given) - names):
        raise StackParameterError(
            f"no such parameter: {', '.join(unknown)}; the template has {', '.join(sorted(names))}"
        )
    values: dict[str, str] = {}
    for parameter in declared:
        name = parameter.name
        if name in given:
            values[name] = given[name]
        elif name in computed:
            values[name] = computed[name]
        elif name in deployed and deployed[name] != deployed_defaults.get(name):
            values[name] = deployed[name]
        elif parameter.default is None:
            raise StackParameterError(f"{name} has no default: give it with --parameter {name}=VALUE")
    _check_prefixes(values)
    return values


def _check_prefixes(values: Mapping[str, str]) -> None:
    """Refuse prefixes that the programs would refuse. CloudFormation cannot compare a part of a text."""
    prefixes = {
        field: values[parameter]
        for parameter, (_, field) in _FROM_SETTINGS.items()
        if field.endswith("_prefix") and parameter in values
    }
    try:
        StorageSettings.model_validate(prefixes)
    except ValidationError as error:
        raise StackParameterError("; ".join(problem["msg"] for problem in error.errors())) from error


def as_settings(outputs: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Outputs whose description is the name of a variable, as variable -> value.

    Args:
        outputs: output key -> (value, description).
    """
    return {
        description: value
        for value, description in outputs.values()
        if description and description == description.upper() and " " not in description
    }
