"""The producer polls a source and sends each new quote once; every in-sync replica acknowledges it."""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from functools import cached_property, partial
from time import monotonic
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka import Producer as KafkaProducer
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from include.ingest.health import ProcessHealth
from include.ingest.logs import LIBRDKAFKA, logger
from include.ingest.metrics import ProducerMetrics
from include.ingest.quote import Quote, encode
from include.ingest.sources import Poll, Source, SourceError
from include.ingest.sources.coingecko import CoinGecko
from include.ingest.sources.coinmarketcap import CoinMarketCap
from include.ingest.sources.simulator import FaultInjection, Message, Simulator
from include.ingest.sources.web import named
from include.ingest.topic import Admin, UnreachableError, connected
from include.reasons import reason_of
from include.settings import Settings, SettingsError

FIRST_BACKOFF_SECONDS = 2.0
MAX_BACKOFF_SECONDS = 600.0
FLUSH_SECONDS = 30.0
PROGRESS_SECONDS = 60.0
POLL_SECONDS = 0.5
"""Length of one wait for delivery reports. A signal is noticed at most this much later."""
REQUEST_SECONDS = 5.0
"""Timeout of a request to Kafka before the history. A signal is noticed at most this much later."""
MAX_REQUEST_PAUSE_SECONDS = 15.0
STUCK_SECONDS = 300.0
"""A process without a turn for this long is stuck. A wait of any length consists of turns. A flush has no turns, but
ends within half a minute."""

EXIT_CLEAN = 0
EXIT_UNDELIVERED = 3

Result = TypeVar("Result")


def choose_source(settings: Settings) -> tuple[Source, Poll | None]:
    """The configured source, and its first poll if it was polled for the choice.

    Raises:
        SettingsError: the source needs a key that is not set.
    """
    log, config = logger("producer"), settings.producer
    gecko = CoinGecko(config.coingecko_url, config.poll_seconds)
    if config.source == "coinmarketcap":
        if config.coinmarketcap_api_key is None:
            raise SettingsError("PRODUCER_SOURCE=coinmarketcap needs PRODUCER_COINMARKETCAP_API_KEY")
        key = config.coinmarketcap_api_key.get_secret_value()
        return CoinMarketCap(config.coinmarketcap_url, key, config.poll_seconds), None
    if config.source == "coingecko":
        return gecko, None
    if config.source == "simulator":
        return Simulator(settings.simulator), None
    try:
        first = gecko.poll()
    except SourceError as error:
        log.warning("CoinGecko does not answer, using the simulator", error=str(error))
        return Simulator(settings.simulator), None
    return gecko, first


def kafka_config(settings: Settings) -> dict[str, Any]:
    """Settings of librdkafka: our defaults, then KAFKA_OPTIONS, then the settings that delivery depends on."""
    return (
        # 0 means no time-out: a quote that librdkafka gives up after minutes would be lost.
        {"linger.ms": 20, "compression.type": "lz4", "message.timeout.ms": 0, "queue.buffering.max.kbytes": 65_536}
        | settings.kafka.client_config()
        | {"enable.idempotence": True, "acks": "all"}
    )


class Producer:
    """One producer process. `run` returns the exit status."""

    def __init__(self, settings: Settings, metrics: ProducerMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._log = logger("producer")
        self._topic = settings.kafka.topic
        self._fault_injection = FaultInjection(settings.simulator)
        self._last: dict[str, Quote] = {}
        self._late: list[tuple[datetime, int, Message]] = []
        self._late_count = 0
        self._stop = threading.Event()
        self._source_problem: str | None = None
        self._unusable: Mapping[str, str] = {}
        self._kafka_reason = ""
        self._kafka_problem: str | None = None
        self._delivery_problem: str | None = None
        self._fatal: str | None = None
        self._last_turn = monotonic()
        self._counts = {"sent": 0, "delivered": 0, "failed": 0, "unchanged": 0}

    def stop(self) -> None:
        """End soon; a signal handler may call this."""
        self._stop.set()

    def run(self) -> int:
        """Send until stopped.

        Raises:
            SourceError: the source will refuse every poll, for example because the key is wrong.
        """
        started, status = monotonic(), EXIT_UNDELIVERED
        try:
            if self._connect():
                self._send_quotes()
        finally:  # whatever ended the loop, what is queued is delivered or counted
            status = self._finish(started)
        return status

    @cached_property
    def _kafka(self) -> KafkaProducer:
        config = kafka_config(self._settings) | {"error_cb": self._kafka_failed, "logger": LIBRDKAFKA}
        return connected(KafkaProducer, config)

    def _connect(self) -> bool:
        """Make the client; try until there is a token for its login. False when stopped before that."""
        while not self._stop.is_set():
            try:
                self._turn(0)
                return True
            except UnreachableError as error:
                self._last_turn = monotonic()
                self._log.warning("not started yet", reason=str(error))
        return False

    def _send_quotes(self) -> None:
        chosen = self._in_turns(lambda: choose_source(self._settings))
        if chosen is None:
            return
        source, first = chosen
        self._log.info("started", source=source.name, topic=self._topic, interval_seconds=source.interval_seconds)
        self._send_history(source, first)
        last_progress = monotonic()
        wait_seconds, failures = 0.0, 0
        while self._wait(wait_seconds):
            turn = monotonic()
            try:
                poll = first or self._in_turns(source.poll)
                first, failures, self._source_problem = None, 0, None
                if poll is None:
                    return
                self._name_unusable(source, poll.unusable)
                self._send(source, poll.quotes)
                wait_seconds = max(0.0, turn + source.interval_seconds - monotonic())
            except SourceError as error:
                if error.fatal:
                    raise
                failures += 1
                wait_seconds = self._backoff(error, failures, source.interval_seconds)
            self._send_late()
            if monotonic() - last_progress >= PROGRESS_SECONDS:
                last_progress = monotonic()
                self._log.info("progress", source=source.name, **self._counts)

    def _in_turns(self, call: Callable[[], Result]) -> Result | None:
        """What `call` returns or raises; None when stopped meanwhile.

        It runs in another thread: neither SIGTERM nor delivery reports wait for a source that is slow to answer.
        """
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001 - the caller's thread raises it
                future.set_exception(error)

        threading.Thread(target=run, name="source", daemon=True).start()
        while not self._stop.is_set() and self._fatal is None:
            self._turn(0)
            if wait([future], POLL_SECONDS).done:
                return future.result()
        return None

    def _wait(self, seconds: float) -> bool:
        """Receive delivery reports for `seconds`; returns whether to go on."""
        deadline = monotonic() + seconds
        while not self._stop.is_set() and self._fatal is None:
            remaining = deadline - monotonic()
            self._turn(max(0.0, min(remaining, POLL_SECONDS)))
            if remaining <= 0:
                return True
        return False

    def _turn(self, seconds: float) -> None:
        """Receive delivery reports once, for at most `seconds`. A process that waits in turns is alive."""
        self._kafka.poll(seconds)
        self._last_turn = monotonic()

    def _backoff(self, error: SourceError, failures: int, interval: float) -> float:
        """Seconds until the next poll after a failed one."""
        delay = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 16))
        delay = max(delay * random.uniform(0.5, 1.0), error.retry_after_seconds or 0.0, min(interval, 1.0))  # noqa: S311
        self._source_problem = str(error)
        self._metrics.source_errors.labels(type(error.__cause__ or error).__name__).inc()
        self._log.warning("source failed", error=str(error), retry_in_seconds=round(delay, 1))
        return delay

    def _name_unusable(self, source: Source, unusable: Mapping[str, str]) -> None:
        """Report the coins that a poll has no usable quote of. The log has a line when they change."""
        if unusable:
            self._source_problem = f"{source.name} has no usable quote of {named(unusable)}"
        for symbol in unusable:
            self._metrics.unusable.labels(symbol).inc()
        if unusable.keys() - self._unusable.keys():
            self._log.warning("quotes unusable", source=source.name, coins=dict(unusable))
        elif self._unusable.keys() - unusable.keys():
            self._log.info("quotes usable again", coins=sorted(self._unusable.keys() - unusable.keys()))
        self._unusable = unusable

    # --- sending --------------------------------------------------------------

    def _send(self, source: Source, quotes: Sequence[Quote]) -> None:
        for quote in quotes:
            if self._last.get(quote.symbol) == quote and not self._settings.producer.send_unchanged:
                self._metrics.unchanged.inc()
                self._counts["unchanged"] += 1
                continue
            self._last[quote.symbol] = quote
            self._metrics.last_quote.set(quote.last_updated.timestamp())
            simulated = isinstance(source, Simulator)
            for message in self._fault_injection.messages(quote) if simulated else [_message(quote)]:
                if message.not_before is None:
                    self._produce(message)
                else:
                    self._late_count += 1
                    heapq.heappush(self._late, (message.not_before, self._late_count, message))

    def _send_late(self, *, everything: bool = False) -> None:
        while self._late and (everything or self._late[0][0] <= datetime.now(UTC)):
            self._produce(heapq.heappop(self._late)[2])

    def _produce(self, message: Message) -> None:
        key = message.key if self._settings.producer.key == "symbol" else None
        while self._fatal is None:
            try:
                self._kafka.produce(
                    self._topic, message.value, key, on_delivery=partial(self._delivered, symbol=message.key)
                )
            except BufferError:  # the local queue is full: Kafka is slow
                self._turn(POLL_SECONDS)
                if self._stop.is_set():
                    break
            except KafkaException as error:  # the topic is missing or forbidden: no delivery report will follow
                self._not_delivered(error.args[0], message.key)
                return
            else:
                self._metrics.sent.inc()
                self._counts["sent"] += 1
                return
        self._metrics.failed.inc()
        self._counts["failed"] += 1

    def _kafka_failed(self, error: KafkaError) -> None:
        """Keep an error while librdkafka tries again. A single lost connection is not a problem yet."""
        if error.fatal():  # the client has stopped and takes no further messages
            self._fatal = reason_of(error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._kafka_problem = f"Kafka does not answer: {self._kafka_reason or reason_of(error)}"
        else:
            self._kafka_reason = reason_of(error)

    def _delivered(self, error: KafkaError | None, _message: KafkaMessage, symbol: str) -> None:
        if error is None:
            self._kafka_problem = self._delivery_problem = None
            self._metrics.delivered.inc()
            self._counts["delivered"] += 1
        else:
            self._not_delivered(error, symbol)

    def _not_delivered(self, error: KafkaError, symbol: str) -> None:
        """Count and report the failure; the next poll sends the coin's quote again."""
        self._metrics.failed.inc()
        self._counts["failed"] += 1
        self._last.pop(symbol, None)  # so that the next poll sends an unchanged quote too
        self._delivery_problem = (
            f"message not delivered: {reason_of(error)} Check that topic {self._topic!r} is there "
            "(python -m include.ingest create-topic) and that this user may write to it"
        )
        self._log.error("message not delivered", error=reason_of(error), code=error.name())
        if error.fatal():
            self._fatal = reason_of(error)

    # --- history --------------------------------------------------------------

    def _send_history(self, source: Source, first: Poll | None) -> None:
        """Send the simulated hours before now, as fast as Kafka takes them, if the topic is empty."""
        hours = self._settings.simulator.history_hours
        if hours <= 0:
            return
        empty = self._topic_is_empty()
        if empty is None:
            return
        if not empty:
            self._log.info("history not sent: the topic is not empty", hours=hours)
            return
        simulator = source if isinstance(source, Simulator) else Simulator(self._settings.simulator)
        if not isinstance(source, Simulator):
            try:
                poll = first or self._in_turns(source.poll)
                simulator = simulator.scaled_to(poll.quotes if poll else [])
            except SourceError as error:
                self._log.warning("history is not scaled to the live price", error=str(error))
        count = 0
        for quote in simulator.history(datetime.now(UTC)):
            for message in self._fault_injection.messages(quote):
                self._produce(message)
                count += 1
            if count % 1000 == 0:
                self._turn(0)
            if self._stop.is_set():
                return
        self._kafka.flush(FLUSH_SECONDS)
        self._log.info("history sent", hours=hours, messages=count, source="simulator")

    def _topic_is_empty(self) -> bool | None:
        """Whether the topic is empty. Repeats the request until Kafka answers; None when stopped meanwhile."""
        admin = Admin(self._settings.kafka.client_config())
        delay = POLL_SECONDS
        while self._wait(0):
            try:
                empty = self._ends_are_zero(admin)
            except KafkaException as error:
                self._kafka_problem = self._why_unknown(admin, error)
                self._log.warning("history waits", reason=self._kafka_problem, retry_in_seconds=delay)
                self._wait(delay)
                delay = min(delay * 2, MAX_REQUEST_PAUSE_SECONDS)
            else:
                self._kafka_problem = None
                return empty
        return None

    def _ends_are_zero(self, admin: Admin) -> bool:
        topic = admin.list_topics(self._topic, timeout=REQUEST_SECONDS).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        ends: dict[TopicPartition, Any] = admin.list_offsets(
            {TopicPartition(self._topic, number): OffsetSpec.latest() for number in topic.partitions},  # type: ignore[no-untyped-call]
            request_timeout=REQUEST_SECONDS,
        )
        return all(future.result().offset <= 0 for future in ends.values())

    def _why_unknown(self, admin: Admin, error: KafkaException) -> str:
        """Why the topic's ends are unknown. A refusal by the broker has a code above 0."""
        if error.args[0].code() <= 0:
            return str(admin.unreachable(error))
        return (
            f"topic {self._topic!r}: {error.args[0].str()}; create it (python -m include.ingest create-topic) or allow "
            "this user to describe it"
        )

    # --- end ------------------------------------------------------------------

    def _finish(self, started: float) -> int:
        self._send_late(everything=True)
        queued = self._kafka.flush(FLUSH_SECONDS) if "_kafka" in vars(self) else 0
        self._log.info(
            "stopped", undelivered=queued, seconds=round(monotonic() - started, 1), fatal=self._fatal, **self._counts
        )
        return EXIT_CLEAN if not queued and not self._counts["failed"] and self._fatal is None else EXIT_UNDELIVERED

    def health(self) -> ProcessHealth:
        """State for /healthz."""
        parts = (self._source_problem, self._kafka_problem, self._delivery_problem, self._fatal)
        token = self._settings.kafka.token
        problems = [text for text in parts if text] + (token.problems() if token else [])
        live = self._fatal is None and monotonic() - self._last_turn < STUCK_SECONDS
        return ProcessHealth(live, live and not problems, problems, dict(self._counts))


def _message(quote: Quote) -> Message:
    return Message(quote.symbol, encode(quote))
