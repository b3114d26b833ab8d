"""The short form of the scoreboard (`python -m tests.incidents`): a mail at the start, its cause first, one at the end.

Its length and the ticks until a mail are left to the scoreboard, because they depend on the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.incidents.__main__ import chosen, play
from tests.incidents.judge import line_of
from tests.incidents.scene import Scene, scene

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The stack with quotes in all layers and without an alert."""
    with scene(tmp_path_factory.mktemp("stack")) as found:
        yield found


@pytest.mark.parametrize("name", ["consumer killed", "a worker's process killed"])
def test_an_incident_is_one_mail_with_its_cause_and_one_end(stack: Scene, name: str, tmp_path: Path) -> None:
    (incident,) = chosen([name])
    found = play(stack, incident, tmp_path)
    line = line_of(found)
    assert (line.starts, line.ends, line.cause_first) == (1, 1, True), [mail.text for mail in found.mails]
