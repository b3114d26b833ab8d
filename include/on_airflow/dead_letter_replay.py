"""Dead letters from inside Airflow: the ingest side's replay, with Airflow's connections."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseHook
from obstore.store import S3Store

from include.ingest.replay import choice
from include.ingest.replay.choice import Filter
from include.ingest.replay.kafka_log import KafkaTopic
from include.ingest.replay.replay import Replay, Report
from include.on_airflow.connections import AWS, KAFKA, s3_client
from include.settings import KafkaSettings, Settings, StorageSettings, load

log = logging.getLogger(__name__)

PREVIEW = 50
"""Letters that are listed in the log one by one, and reasons that an error names."""


class UnfinishedReplayError(RuntimeError):
    """Some letters were not replayed; names them, and why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay did: letters chosen that were not on the topic yet, and those sent now."""

    chosen: int
    sent: int


def choice_of(params: Mapping[str, Any]) -> Filter:
    """The filter that the run's parameters make; an empty one means any."""

    def day(name: str) -> date | None:
        return date.fromisoformat(params[name]) if params[name] else None

    return Filter(day("since"), day("until"), params["error_class"] or None, params["partition"], params["offset"])


def run(params: Mapping[str, Any]) -> Outcome:
    """List the chosen dead letters; put them back on the topic unless `dry_run`. Each goes back once.

    Raises:
        UnfinishedReplayError: all were but those that the text names.
    """
    settings = load()
    store = _store(settings.storage)
    replayer = Replay(KafkaTopic(_kafka(settings)), settings.storage, store, "DAG dead_letter_replay")
    report, chosen = Report(), 0
    letters = choice.read_dead_letters(store, settings.storage, choice_of(params), report.unreadable)
    for letter in replayer.pending(letters):
        chosen += 1
        if chosen <= PREVIEW:
            log.info("dead letter %s", " | ".join(choice.summary(letter)))
        if not params["dry_run"]:
            replayer.send_into(letter, report)
        if params["limit"] and chosen >= params["limit"]:
            break
    result = "none sent, as this is a dry run" if params["dry_run"] else str(report)
    log.info("dead letters chosen that were not replayed before: %d; %s", chosen, result)
    if report.problems():
        raise UnfinishedReplayError(f"{report}: {'; '.join(text for _, text in report.problems()[:PREVIEW])}")
    return Outcome(chosen, report.sent)


def _kafka(settings: Settings) -> KafkaSettings:
    """The Kafka settings with the client options of the connection `kafka_default` on top."""
    extra = BaseHook.get_connection(KAFKA).extra_dejson
    return settings.kafka.model_copy(update={"options": settings.kafka.options | extra})


def _store(storage: StorageSettings) -> S3Store:
    """The bucket by the connection `aws_default`."""
    client = s3_client()
    found = S3Hook(aws_conn_id=AWS).get_session().get_credentials()
    if found is None:
        raise ValueError(f"no AWS credentials: set them in the connection {AWS}, or give the worker a role")
    credentials = found.get_frozen_credentials()
    options: dict[str, Any] = {
        "region": client.meta.region_name,
        "access_key_id": credentials.access_key,
        "secret_access_key": credentials.secret_key,
    }
    if credentials.token:
        options["token"] = credentials.token
    endpoint = client.meta.endpoint_url
    if "amazonaws.com" not in endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    return S3Store(storage.bucket, client_options={"allow_http": endpoint.startswith("http://")}, **options)
