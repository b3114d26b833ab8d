"""The fixtures are the bytes that version 0.1.0 wrote: no editor, formatter or newer program has touched them."""

from __future__ import annotations

from hashlib import sha256

from tests.compatibility.bucket import FIXTURES

DIGEST = "dc991ef52cf20cd779a8d65dc0aa991652340dec36f35b51a71918490ffa5940"


def test_no_fixture_was_changed_since_version_0_1_0_wrote_it() -> None:
    digest = sha256()
    for name in sorted(file.relative_to(FIXTURES).as_posix() for file in FIXTURES.rglob("*") if file.is_file()):
        digest.update(name.encode() + b"\0" + sha256((FIXTURES / name).read_bytes()).digest())
    assert digest.hexdigest() == DIGEST
