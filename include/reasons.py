"""One sentence for an error of S3, Kafka, HTTP, mail or Airflow: code, message, what it means, what to do.

Log, health, mail and page all show this sentence. The code and the message come first and are never cut off; the
length is bounded. This module imports none of the clients: it reads an error's attributes, so every room can use it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from http import HTTPStatus

from include.meanings import AIRFLOW, BY_CODE, BY_STATUS, HTTP_STATUS

LONGEST_MESSAGE = 240
"""Characters of the other program's own message."""
LONGEST = 640
"""Characters of the whole sentence. Code and message together are shorter, so that they always fit."""
LONGEST_OTHER = 2_000
"""Characters of an error of another kind: nobody knows which part of its text matters."""

_SECRETS = (
    (re.compile(r"(?i)\b(AKIA|ASIA)[0-9A-Z]{16}\b"), "[access key]"),
    (re.compile(r"(?i)([a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s@/]+@"), r"\1:[secret]@"),
    (
        re.compile(
            r"(?i)((?:password|passwd|secret|token|api[_-]?key|access[_-]?key|authorization|x-amz-signature)"
            r"[\"']?\s*[=:]\s*[\"']?)(?:bearer\s+|basic\s+)?[^\s\"',;&]+"
        ),
        r"\1[secret]",
    ),
    (re.compile(r"https://hooks\.slack\.com/\S+"), "[webhook]"),
)


def without_secrets(text: str) -> str:
    """The text with access keys, passwords, tokens and webhook addresses replaced by a word in brackets."""
    for pattern, word in _SECRETS:
        text = pattern.sub(word, text)
    return text


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in parts. `code` is the other program's, `where` is what was asked, `status` is HTTP's or 0."""

    code: str
    message: str = ""
    where: str = ""
    status: int = 0

    def sentence(self) -> str:
        """Code, status and message, then the meaning, then what was asked."""
        status = f" (HTTP {self.status})" if self.status and str(self.status) not in self.code else ""
        message = _shortened(" ".join(self.message.split()).rstrip("."), LONGEST_MESSAGE)
        told = f": {message}" if message and message != self.code else ""
        meaning = BY_CODE.get(self.code) or BY_STATUS.get(self.status, "")
        parts = (f"{_shortened(self.code, 80)}{status}{told}.", meaning, self.where and f"Request: {self.where}")
        return " ".join(filter(None, parts))


def reason_of(error: object) -> str:
    """The sentence for an error, without secrets, of bounded length.

    Errors of this project have their own sentence already, which stays as it is.
    """
    if _is_own(error):
        return without_secrets(str(error))
    fault = fault_of(error)
    if fault is None:
        return _shortened(without_secrets(f"{type(error).__name__}: {error}"), LONGEST_OTHER)
    return _shortened(without_secrets(fault.sentence()), LONGEST)


def is_timeout(error: BaseException) -> bool:
    """Whether a request to S3 was sent and its answer did not come in time."""
    fault = fault_of(error)
    return fault is not None and fault.code == "timeout"


def fault_of(error: object) -> Fault | None:
    """The parts of an error of S3, Kafka, HTTP, mail, Airflow or the operating system; None for another error."""
    readers = (_of_obstore, _of_botocore, _of_kafka, _of_http, _of_mail, _of_airflow, _of_system)
    return next((fault for read in readers if (fault := read(error)) is not None), None)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _module(error: object) -> str:
    return type(error).__module__


def _is_own(error: object) -> bool:
    """Our own errors name the thing, its value and the remedy."""
    return isinstance(error, str) or _module(error).startswith("include.")


# --- S3 by obstore ------------------------------------------------------------

_REQUEST = re.compile(r"Error performing (\w+) (\S+) in ")
_GIVES_CREDENTIALS = re.compile(r"https?://(169\.254\.|\[fd00:ec2:)")
"""AWS's services on the machine itself, which a client without a key asks for those of its role."""
_STATUS = re.compile(r"status code: (\d{3})")
_CODE, _MESSAGE = re.compile(r"<Code>([^<]+)</Code>"), re.compile(r"<Message>([^<]*)</Message>")
_SYSTEM_ERROR = re.compile(r'code: (\d+),\s+kind: \w+,\s+message: "([^"]+)"')
_TRANSPORT = (
    (re.compile(r"Connect,[^#]*(TimedOut|deadline)"), "connect timeout"),
    (re.compile(r"kind: Timeout,"), "timeout"),
    (re.compile(r'"dns error"'), "unknown host"),
    (re.compile(r"InvalidCertificate\(\s*(\w+)"), "certificate"),
    (re.compile(r"InvalidContentType|UnexpectedMessage|received corrupt message"), "no TLS"),
    (re.compile(r"IncompleteMessage|ConnectionReset|BrokenPipe|ChannelClosed|ConnectionAborted"), "connection closed"),
    (re.compile(r"BareRedirect"), "redirect"),
)


def _of_obstore(error: object) -> Fault | None:
    """The library's text has S3's XML after 150 characters, and the reason of a failed connection at its end."""
    text = str(error)
    request = _REQUEST.search(text)
    if request is None:
        return Fault("S3", text.splitlines()[0]) if _module(error) == "obstore.exceptions" and text else None
    where, status = f"{request[1]} {_path(request[2])}", _STATUS.search(text)
    if _GIVES_CREDENTIALS.match(request[2]):
        return Fault("NoCredentialsError", "neither key nor role", where)
    if status is None:
        return _of_transport(text, where)
    number, code, message = int(status[1]), _CODE.search(text), _MESSAGE.search(text)
    return Fault(
        unescape(code[1]) if code else f"HTTP {number}",
        unescape(message[1]) if message else _phrase(number),
        where,
        number,
    )


def _of_transport(text: str, where: str) -> Fault:
    system = _SYSTEM_ERROR.search(text)
    if system is not None:
        return Fault(_errno_name(int(system[1])), system[2], where)
    for pattern, code in _TRANSPORT:
        if pattern.search(text):
            return Fault(code, "", where)
    head = text.split("\n\nDebug source")[0].rpartition(" - ")[2]
    return Fault("HTTP", head, where)


def _path(address: str) -> str:
    """An address without its query, which may be signed."""
    return address.partition("?")[0]


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTP_STATUS else ""


# --- AWS by botocore ----------------------------------------------------------


def _of_botocore(error: object) -> Fault | None:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and isinstance(response.get("Error"), Mapping):
        told, meta = response["Error"], response.get("ResponseMetadata", {})
        status = int(meta.get("HTTPStatusCode", 0) or 0)
        code = str(told.get("Code", "")) or f"HTTP {status}"
        if code.isdigit():  # an answer to HEAD has no body, so botocore makes the code of the status
            status, code = int(code), f"HTTP {code}"
        return Fault(code, str(told.get("Message", "")), str(getattr(error, "operation_name", "")), status)
    if _module(error).startswith("botocore."):
        return Fault(type(error).__name__, str(error))
    return None


# --- Kafka --------------------------------------------------------------------


def _of_kafka(error: object) -> Fault | None:
    arguments = getattr(error, "args", ())
    inner = arguments[0] if type(error).__name__ == "KafkaException" and arguments else error
    name, text = getattr(inner, "name", None), getattr(inner, "str", None)
    if callable(name) and callable(text):
        return Fault(str(name()), str(text()))
    return Fault("Kafka", str(error)) if type(error).__name__ == "KafkaException" else None


# --- HTTP ---------------------------------------------------------------------


def _of_http(error: object) -> Fault | None:
    """Errors of httpx, requests and urllib."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None and _module(error) == "urllib.error":
        status = getattr(error, "code", None)
    if isinstance(status, int):
        return Fault(f"HTTP {status}", _phrase(status), "", status)
    if _module(error).partition(".")[0] in ("httpx", "requests") or _module(error) == "urllib.error":
        inner = next(_system_errors(error), None)
        return (inner and _of_system(inner)) or Fault(type(error).__name__, str(error))
    return None


def _system_errors(error: object) -> Iterator[OSError]:
    """The operating system's errors that led to this one, the nearest first."""
    while isinstance(error, BaseException):
        if isinstance(error, OSError) and (error.errno is not None or isinstance(error, TimeoutError)):
            yield error
        error = getattr(error, "reason", None) or error.__cause__ or error.__context__


# --- mail ---------------------------------------------------------------------


def _of_mail(error: object) -> Fault | None:
    if _module(error) != "smtplib":
        return None
    recipients = getattr(error, "recipients", None)
    if isinstance(recipients, Mapping):
        refusals = (f"{address} ({code} {_text(answer)})" for address, (code, answer) in recipients.items())
        return Fault(type(error).__name__, ", ".join(refusals))
    code, answer = getattr(error, "smtp_code", None), getattr(error, "smtp_error", None)
    if code is not None:
        return Fault(type(error).__name__, f"{code} {_text(answer)}")
    return Fault(type(error).__name__, str(error))


def _text(answer: object) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)


# --- Airflow and the system ---------------------------------------------------


def _of_airflow(error: object) -> Fault | None:
    """Only the errors whose meaning is known: the others hold texts of operators, which may be long."""
    name = type(error).__name__
    return Fault(name, str(error)) if _module(error).startswith("airflow.") and name in AIRFLOW else None


def _of_system(error: object) -> Fault | None:
    if not isinstance(error, OSError):
        return None
    if hasattr(error, "verify_message"):
        return Fault("certificate", str(error.verify_message))
    if type(error).__name__.startswith("SSL"):
        return Fault("TLS", str(error.strerror or error))
    if type(error).__name__ == "gaierror":
        return Fault("unknown host", str(error.strerror or error))
    if error.errno is None:
        return Fault(type(error).__name__, str(error))
    return Fault(_errno_name(error.errno), error.strerror or os.strerror(error.errno), str(error.filename or ""))


def _errno_name(number: int) -> str:
    return errno.errorcode.get(number, f"errno {number}")
