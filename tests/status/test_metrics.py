"""The metrics, as Prometheus's own parser reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.status_snapshot import BOUNDS, NOW, histogram, mount_row, snapshot_of, troubled

from mountpoint.status.metrics import render_metrics


def families(snapshot):
    return {family.name: family for family in text_string_to_metric_families(render_metrics(snapshot))}


def value(snapshot, name, **labels):
    [found] = [
        sample.value
        for family in families(snapshot).values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


def test_each_family_follows_the_conventions_of_prometheus():
    found = families(troubled())
    assert len(found) > 20
    for name, family in found.items():
        assert re.fullmatch(r"mountpoint(_[a-z]+)+", name)
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        if family.type == "counter":
            assert all(sample.name == f"{name}_total" for sample in family.samples)
        if family.type == "histogram":
            assert name.endswith("_seconds")
    text = render_metrics(troubled())
    assert len(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) == len(
        set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    )


def test_no_sample_appears_twice():
    samples = [
        (s.name, *sorted(s.labels.items())) for family in families(troubled(20)).values() for s in family.samples
    ]
    assert len(samples) == len(set(samples))


def test_requests_are_counted_by_mount_and_class_of_status():
    snapshot = snapshot_of(mount_row("/shop", requests=100, errors=7, rejected={"queue": 3, "limit": 2, "body": 1}))
    assert value(snapshot, "mountpoint_requests_total", mount="/shop", status="5xx") == 7
    assert value(snapshot, "mountpoint_requests_total", mount="/shop", status="2xx") == 93
    assert value(snapshot, "mountpoint_requests_total", mount="none", status="2xx") == 30
    assert value(snapshot, "mountpoint_rejected_requests_total", mount="/shop", reason="limit") == 2


def test_a_bucket_counts_all_requests_up_to_its_bound():
    row = mount_row("/shop", app_seconds=histogram([1, 2, 0, 4, 0, 0, 0, 0, 0, 5], 61.5))
    snapshot, name = snapshot_of(row), "mountpoint_app_duration_seconds"
    buckets = [value(snapshot, f"{name}_bucket", mount="/shop", le=str(bound)) for bound in [*BOUNDS, "+Inf"]]
    assert buckets == [1, 3, 3, 7, 7, 7, 7, 7, 7, 12]
    assert value(snapshot, f"{name}_count", mount="/shop") == 12
    assert value(snapshot, f"{name}_sum", mount="/shop") == 61.5


@pytest.mark.parametrize("state", ["loading", "starting", "serving", "broken"])
def test_a_mount_has_1_for_its_state_and_0_for_the_others(state):
    snapshot = snapshot_of(mount_row("/shop", state=state))
    states = ("loading", "starting", "serving", "broken")
    found = {one: value(snapshot, "mountpoint_mount_state", mount="/shop", state=one) for one in states}
    assert found == {one: float(one == state) for one in states}


def test_the_memory_of_workers_is_added_up_as_far_as_it_is_known():
    worker = {"pid": 1, "state": "ready", "started_at": NOW, "memory": 5, "requests": 0}
    row = mount_row("/own", process="own", workers=[worker, {**worker, "memory": None}, worker])
    assert value(snapshot_of(row), "mountpoint_workers", mount="/own") == 3
    assert value(snapshot_of(row), "mountpoint_workers_resident_memory_bytes", mount="/own") == 10
    row["workers"] = [{**worker, "memory": None}]
    assert families(snapshot_of(row))["mountpoint_workers_resident_memory_bytes"].samples == []


def test_facts_that_are_not_known_have_no_sample():
    found = families(snapshot_of(mount_row("/shop", load_seconds=None), memory=None, last_reload=None))
    assert "mountpoint_resident_memory_bytes" not in found
    assert "mountpoint_last_reload_successful" not in found
    assert found["mountpoint_mount_load_duration_seconds"].samples == []
    assert (
        value(
            snapshot_of(last_reload={"at": 5.0, "ok": False, "message": "", "seconds": 0.0}),
            "mountpoint_last_reload_successful",
        )
        == 0
    )


@settings(max_examples=40)
@given(st.text(st.sampled_from('a/\\"\n\r{},= \u00e9#\u2028'), max_size=12))
def test_any_key_of_a_mount_is_the_value_of_its_label(text):
    snapshot = snapshot_of(mount_row(f"/{text}", requests=60))
    assert value(snapshot, "mountpoint_requests_total", mount=f"/{text}", status="2xx") == 60
