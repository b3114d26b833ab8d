"""Which coins are silent, by the quotes in the newest landed objects. Pure: no clock, no network.

The monitor lists the last hour's objects anyway. It reads a few of the newest ones of each partition: their rows say
when a quote of each coin arrived in Kafka, and how far apart quotes usually are. No layer has to be built for this, and
the warehouse is not queried.

A source may be slow, and the producer does not send a quote that has not changed. So silence is measured against the
usual distance of a coin's quotes, never below the producer's interval. `MONITOR_QUOTE_INTERVAL_SECONDS` replaces both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

from include.catalogue import MONITOR_SECONDS
from include.instants import Instant, span, to_second

SILENT_INTERVALS = 3
"""A coin is silent after this many of its intervals without a quote."""
USUAL_SHARE = 0.9
"""The usual distance is that which this share of the distances does not exceed: a single pause does not raise it."""
FEWEST_GAPS = 2
FEWEST_FOR_SHARE = 5
"""With fewer distances the longest one counts, so that a slow source is not taken for a fast one."""
FRESH_LOOKS = 3
"""Three looks in a row that find a quote of the last interval show its pace, too. Few objects of a fast topic are
read, and they span only seconds."""
NOT_LEARNED = timedelta(seconds=2 * MONITOR_SECONDS)
"""A coin whose interval is not known yet is silent after this time. A source that is slower needs the setting."""
RESTART = timedelta(seconds=3 * MONITOR_SECONDS)
"""After a longer pause of the monitor, the pipeline may have paused too: time counts from the first look again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a quote can be seen at best, in seconds: the producer's interval, and the wait in the consumer."""

    least: float
    landing: float


class Watched(msgspec.Struct, frozen=True):
    """The knowledge about one coin: since when it is watched, its newest quote, and the usual seconds between two."""

    since: Instant
    looked_at: Instant
    newest_at: Instant | None = None
    interval: float | None = None
    fresh_looks: int = 0

    @property
    def quiet_since(self) -> datetime:
        """Begin of the present silence: the newest quote, or the first look after a start."""
        return max(self.newest_at or self.since, self.since)


class CoinArrival(msgspec.Struct, frozen=True):
    """One coin at one look. `known` is False at the first look after a start. Times are those of Kafka.

    The coin is silent when `silent_for` is longer than `limit` (both in seconds). `silent_for` counts from the newest
    quote, or from the first look if the coin has sent none since.
    """

    known: bool
    newest_at: Instant | None
    silent_for: float
    limit: float
    interval: float | None

    @property
    def silent(self) -> bool:
        """Whether the coin has sent nothing for too long."""
        return self.known and self.silent_for > self.limit

    def report(self) -> str:
        """One line for the mail."""
        newest = f"the newest one arrived at {to_second(self.newest_at)}" if self.newest_at else "none has arrived yet"
        usual = f"usual is one in {span(self.interval)}" if self.interval else "the usual interval is not known yet"
        return f"no quote within the allowed {span(self.limit)}; {newest}; {usual}"


def usual_interval(times: Iterable[datetime], least: float) -> float | None:
    """The usual seconds between two quotes, at least `least`; None with too few quotes to say.

    Quotes of the same `least` seconds count once: a history that is sent at once, or a fast topic, has no shorter pace.
    """
    slots = sorted({int(at.timestamp() // least) for at in times})
    gaps = sorted((later - earlier) * least for earlier, later in pairwise(slots))
    if len(gaps) < FEWEST_GAPS:
        return None
    return gaps[int((len(gaps) - 1) * USUAL_SHARE)] if len(gaps) >= FEWEST_FOR_SHARE else gaps[-1]


def watch(
    before: Mapping[str, Watched],
    quotes: Mapping[str, Sequence[datetime]],
    coins: Sequence[str],
    now: datetime,
    pace: Pace,
) -> dict[str, Watched]:
    """The knowledge about each of the `coins` after a look that found `quotes` (arrival times by coin)."""
    return {coin: _looked_at(before.get(coin), quotes.get(coin, ()), now, pace) for coin in coins}


def _looked_at(before: Watched | None, times: Sequence[datetime], now: datetime, pace: Pace) -> Watched:
    known = before or Watched(now, now)
    since = now if now - known.looked_at > RESTART else known.since
    newest = max([*times, *([known.newest_at] if known.newest_at else [])], default=None)
    fresh = newest is not None and (now - newest).total_seconds() <= pace.least + pace.landing
    fresh_looks = known.fresh_looks + 1 if fresh else 0
    interval = usual_interval(times, pace.least)
    if interval is None:
        interval = pace.least if fresh_looks >= FRESH_LOOKS else known.interval
    return Watched(since, now, newest, interval, fresh_looks)


def arrivals(watched: Mapping[str, Watched], fixed: float | None, pace: Pace) -> dict[str, CoinArrival]:
    """Each coin's silence and its limit. `fixed` is the set interval in seconds, None to use the learned one.

    A coin that has sent too little is compared with the slowest other one.
    """
    learned = [coin.interval for coin in watched.values() if coin.interval is not None]
    slowest = max(learned, default=None)
    return {name: _arrival(coin, fixed or coin.interval or slowest, pace) for name, coin in watched.items()}


def _arrival(coin: Watched, interval: float | None, pace: Pace) -> CoinArrival:
    silent_for = max((coin.looked_at - coin.quiet_since).total_seconds(), 0.0)
    limit = NOT_LEARNED.total_seconds() if interval is None else SILENT_INTERVALS * interval + pace.landing
    return CoinArrival(coin.looked_at > coin.since, coin.newest_at, silent_for, limit, interval)
