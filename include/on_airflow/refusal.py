"""Refuses a run whose parameters cannot be used: at its first task, before anything is done, and without a mail.

Airflow checks each declared parameter against its JSON schema when the run is triggered. Two things a schema of single
parameters cannot say: that a name is unknown, and that values exclude each other. A run with such parameters fails at
its first task with the reason. Only its author waits for it, so no mail is sent.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

REFUSED = "refused"
"""XCom key of the reason. The monitor, which sees the failed run from outside, reads it."""


class RunParameterError(ValueError):
    """A parameter of the run cannot be used; the text names the parameter and the remedy."""


def is_refusal(error: object) -> bool:
    """Whether the error of a failed task is a refusal of the run's parameters."""
    return isinstance(error, BaseException) and isinstance(error.__cause__, RunParameterError)


@contextmanager
def refusing(context: Context | Mapping[str, Any]) -> Iterator[None]:
    """Turn a `RunParameterError` of the block into the end of the task, without a second attempt.

    Raises:
        AirflowFailException: the block refused a parameter.
    """
    from airflow.sdk.exceptions import AirflowFailException

    try:
        yield
    except RunParameterError as error:
        context["ti"].xcom_push(key=REFUSED, value=str(error))
        raise AirflowFailException(str(error)) from error


def refuse_unknown_names(context: Context) -> None:
    """Hook before each task (`pre_execute`): refuse a run with a parameter that its DAG does not declare.

    Raises:
        AirflowFailException: the run has such a parameter.
    """
    with refusing(context):
        check_names(context["dag_run"].conf or {}, context["dag"].params)


def check_names(given: Iterable[str], declared: Iterable[str]) -> None:
    """Compare the names of a run's parameters with the declared names.

    Raises:
        RunParameterError: a name is not declared.
    """
    names = sorted(declared)
    for name in sorted(set(given) - set(names)):
        close = difflib.get_close_matches(name, names, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        known = f"The parameters are {', '.join(names)}." if names else "This DAG has no parameters."
        raise RunParameterError(f"{name} is not a parameter of this DAG: {meant}{known}")
