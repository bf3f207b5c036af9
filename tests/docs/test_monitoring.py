"""The dashboard and the alert rules in ``examples`` use metrics, labels and values that ``/metrics`` really has."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.status_snapshot import troubled

from mountpoint.status.metrics import render_metrics

FOLDER = Path(__file__).parent.parent.parent / "examples" / "monitoring"
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

#: Prometheus adds these to every series, and has a metric of its own about each target.
TARGET_LABELS = {"job", "instance"}


def samples() -> dict[str, dict[str, set[str]]]:
    """Return the labels of each metric, with their values."""
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    for family in text_string_to_metric_families(render_metrics(troubled())):
        for sample in family.samples:
            labels = found.setdefault(sample.name, defaultdict(set))
            for name, value in sample.labels.items():
                labels[name].add(value)
    return found


def expressions() -> dict[str, str]:
    """Return every expression by its place."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in RULES}
    for panel in PANELS:
        found |= {f"panel {panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    for annotation in DASHBOARD["annotations"]["list"]:
        found[f"annotation {annotation['name']}"] = annotation["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            query = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])
            found[f"variable {variable['name']}"] = query[1]
    return found


METRICS = samples()
EXPRESSIONS = expressions()


def nodes(expression):
    """Return every node of an expression that Prometheus can read."""
    found = []
    tree = promql_parser.parse(expression.replace("$__rate_interval", "5m"))
    promql_parser.walk(tree, lambda node: found.append(node) or True)
    return found


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_each_expression_is_valid_and_uses_real_metrics_and_labels(place):
    selectors = [node for node in nodes(EXPRESSIONS[place]) if isinstance(node, promql_parser.VectorSelector)]
    assert selectors
    for selector in selectors:
        labels = METRICS[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in {*labels, *TARGET_LABELS}, selector.name
            if not matcher.value.startswith("$") and matcher.name not in TARGET_LABELS:
                assert set(matcher.value.split("|")) <= labels[matcher.name], selector.name


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_each_group_and_legend_uses_labels_that_the_series_have(place):
    found = nodes(EXPRESSIONS[place])
    selectors = [node for node in found if isinstance(node, promql_parser.VectorSelector)]
    known = set.intersection(*({*METRICS[selector.name], *TARGET_LABELS} for selector in selectors))
    for node in found:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            assert {*node.modifier.labels} <= known


def test_the_labels_in_legends_and_messages_remain_after_the_grouping():
    for place, text in [
        *(
            (f"panel {panel['title']} {one['refId']}", one["legendFormat"])
            for panel in PANELS
            for one in panel["targets"]
        ),
        *((f"alert {rule['alert']}", rule["annotations"]["summary"]) for rule in RULES),
    ]:
        used = set(re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", text))
        found = nodes(EXPRESSIONS[place])
        groups = [node for node in found if isinstance(node, promql_parser.AggregateExpr)]
        selectors = [node for node in found if isinstance(node, promql_parser.VectorSelector)]
        kept = [{*METRICS[selector.name], *TARGET_LABELS} for selector in selectors]
        kept += [{*node.modifier.labels} if node.modifier else set() for node in groups]
        assert used <= set.intersection(*kept), place


def test_every_metric_is_on_the_dashboard_or_in_a_rule():
    used = {
        node.name
        for expression in EXPRESSIONS.values()
        for node in nodes(expression)
        if isinstance(node, promql_parser.VectorSelector)
    }
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRICS}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert families - shown == {
        "mountpoint_mount_load_duration_seconds",
        "mountpoint_mount_required",
        "mountpoint_workers",
    }


def test_panels_do_not_overlap_and_say_what_they_show():
    boxes = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for one, other in itertools.combinations(boxes, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)
    assert max(box["x"] + box["w"] for box in boxes) == 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(boxes)
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)


def test_each_alert_has_a_severity_and_says_what_to_do():
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} == set(rule["annotations"])
        assert re.fullmatch(r"\d+m", rule.get("for", "1m"))


def test_a_wrong_metric_is_found():
    assert "mountpoint_request_total" not in METRICS
    with pytest.raises(ValueError, match="expected type"):
        nodes("rate(mountpoint_requests_total)")
