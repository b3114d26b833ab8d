"""The audit finds each harm to the bucket, and nothing in a bucket as the consumer writes it."""

from __future__ import annotations

from datetime import timedelta

import obstore
import pytest
from msgspec.structs import replace

from include.audit.manifest import FIRST, KafkaOffsets, manifest_key
from include.audit.run import AuditError, Result
from tests.unit.audit.harms import HARMS, Harm
from tests.unit.audit.landed_days import AFTER, BEFORE, DAY, NOW, LandedDays


@pytest.fixture
def days() -> LandedDays:
    return LandedDays()


def findings(result: Result) -> str:
    return "\n".join(finding.line() for finding in result.all_findings())


def test_a_clean_bucket_passes_and_its_days_are_chained(days: LandedDays) -> None:
    result = days.auditor().run()
    assert findings(result) == ""
    assert [(day.day, day.written) for day in result.days] == [(BEFORE, True), (DAY, True)]
    bucket = days.auditor().bucket
    first, second = bucket.manifest(BEFORE), bucket.manifest(DAY)
    assert first
    assert second
    assert (first[0].previous, second[0].previous) == (FIRST, first[1])
    assert second[0].ends() == {0: 30, 1: 50}


def test_a_manifest_has_ranges_rejects_gaps_and_holes(days: LandedDays) -> None:
    days.auditor().run()
    stored = days.auditor().bucket.manifest(DAY)
    assert stored
    manifest = stored[0]
    assert manifest.rejects == {"not_json": 7}
    assert [(gap.partition, gap.first, gap.last, gap.reason) for gap in manifest.gaps] == [
        (1, 40, 44, "given up by an operator (adopt)")
    ]
    part = manifest.partitions[1]
    assert (part.begin, part.end, part.records, part.rejected, part.gaps, part.holes) == (10, 50, 26, 6, 5, 3)
    assert part.records + part.rejected + part.gaps + part.holes == part.end - part.begin


def test_an_audited_day_is_compared_by_its_listing_alone(days: LandedDays) -> None:
    days.auditor().run()
    again = days.auditor().day(DAY)
    assert (again.read, again.written, again.findings) == (0, False, ())
    assert days.auditor().day(DAY, deep=True).read == again.objects


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.name)
def test_a_harm_after_the_audit_is_named(days: LandedDays, harm: Harm) -> None:
    days.auditor().run()
    harm.inflict(days)
    found = days.auditor().run().all_findings()
    wanted = {harm.kind, "missing", "altered"}  # the manifest names the object itself
    assert [finding for finding in found if finding.kind in wanted and harm.names in finding.line()], found


@pytest.mark.parametrize("harm", [harm for harm in HARMS if not harm.needs_manifest], ids=lambda harm: harm.name)
def test_a_harm_before_the_audit_is_named(days: LandedDays, harm: Harm) -> None:
    harm.inflict(days)
    found = days.auditor().run().all_findings()
    assert [finding for finding in found if finding.kind == harm.kind and harm.names in finding.line()], found


def test_a_finding_of_the_first_audit_is_found_again(days: LandedDays) -> None:
    harm = next(harm for harm in HARMS if harm.kind == "misfiled")
    harm.inflict(days)
    first = findings(days.auditor().run())
    assert harm.names in first
    assert harm.names in findings(days.auditor().run())


def test_an_edited_manifest_is_named(days: LandedDays) -> None:
    days.auditor().run()
    key = manifest_key("audit/", BEFORE)
    content = bytes(obstore.get(days.store, key).bytes())
    days.put(key, content.replace(b'"records":10', b'"records":11', 1), None)
    assert "audit/2026/11/22.json was edited" in findings(days.auditor().run())


def test_a_removed_manifest_breaks_the_chain(days: LandedDays) -> None:
    days.auditor().run()
    obstore.delete(days.store, manifest_key("audit/", BEFORE))
    assert "chain" in findings(days.auditor().run())


def test_a_commit_beyond_what_is_landed_is_named(days: LandedDays) -> None:
    days.auditor().run()
    obstore.delete(days.store, days.key(AFTER, 0, 30))
    assert "hole: partition 0, offset 30 to 35: the group's commit is 36" in findings(days.auditor().run())


def test_a_commit_after_a_hole_at_the_logs_end_is_no_finding(days: LandedDays) -> None:
    auditor = days.auditor()
    kafka = {**days.kafka(), 0: KafkaOffsets(0, 40, 40, records_end=36)}
    assert findings(type(auditor)(auditor.bucket, auditor.contract, kafka, None, NOW).run()) == ""


def test_a_day_that_may_still_get_objects_has_no_manifest(days: LandedDays) -> None:
    auditor = days.auditor()
    kafka = {**days.kafka(), 1: KafkaOffsets(0, 53, 45)}
    result = type(auditor)(auditor.bucket, auditor.contract, kafka, None, NOW).run()
    assert [(day.day, day.still_open) for day in result.days] == [(BEFORE, ()), (DAY, (1,))]
    assert auditor.bucket.audited_days() == [BEFORE]
    assert days.auditor().run().days[-1].written


def test_a_day_without_objects_is_a_link_of_the_chain(days: LandedDays) -> None:
    result = days.auditor(NOW + timedelta(days=2)).run()
    assert findings(result) == ""
    last = days.auditor().bucket.manifest(DAY + timedelta(days=2))
    assert last
    assert last[0].ends() == {0: 36, 1: 53}
    assert last[0].objects == ()


def test_the_present_day_is_refused(days: LandedDays) -> None:
    with pytest.raises(AuditError, match="has not ended"):
        days.auditor().day(AFTER)


def test_an_empty_bucket_has_nothing_to_audit() -> None:
    days = LandedDays()
    for entry in [item for chunk in obstore.list(days.store) for item in chunk]:
        obstore.delete(days.store, entry["path"])
    days.end = {}
    assert days.auditor().run() == Result(())


def test_a_second_audit_of_a_day_chains_the_later_days_to_it(days: LandedDays) -> None:
    days.auditor().run()
    before = days.auditor().bucket.manifest(DAY)
    content, metadata = days.get(days.key(BEFORE, 0, 0))
    days.put(days.key(BEFORE, 0, 0), content.replace(b"Bitcoin", b"bitcoin"), metadata)
    assert "altered" in findings(days.auditor().run())
    days.auditor().day(BEFORE, again=True)
    assert findings(days.auditor().run()) == ""
    after = days.auditor().bucket.manifest(DAY)
    assert before
    assert after
    assert after[0].replaces == before[1]
    assert replace(after[0], previous=before[0].previous, replaces="") == before[0]
