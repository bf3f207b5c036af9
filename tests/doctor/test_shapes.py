"""A real nginx, configured wrongly and rightly, in front of five frameworks, examined by its URL alone."""

from __future__ import annotations

import shutil

import pytest
from support.shapes import RIGHT, WRONG

from mountpoint.doctor.by_url import examine_url

pytestmark = pytest.mark.nginx


def cases(shapes):
    return [pytest.param(shape, app, id=f"{shape.name}: {app}") for shape in shapes for app in shape.apps]


#: Symptoms whose fix for nginx is a whole location. The server behind nginx needs no change for them.
FIXED_BY_A_LOCATION = ("prefix-missing", "proxy-strips", "no-location", "same-page")


@pytest.fixture
def look(request, monkeypatch, nginx, stacks, tmp_path):
    """Return ``look(shape, app)``: it starts nginx in that shape, and returns the report about *app*."""

    def look(shape, app):
        certificate = request.getfixturevalue("certificate") if shape.secure else None
        if certificate:
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        front = nginx(shape.site(app, stacks, certificate))
        scheme = "https" if shape.secure else "http"
        report = examine_url(f"{scheme}://localhost:{front.port}{shape.prefix}/{app}/")
        front.stop()
        shutil.rmtree(tmp_path / "nginx")  # so that a second nginx can start there
        return report

    return look


@pytest.mark.parametrize(("shape", "app"), cases(WRONG))
def test_each_wrong_shape_has_its_symptom_and_no_other_sure_one(look, shape, app):
    report = look(shape, app)
    found = {(finding.symptom, finding.certainty) for finding in report.findings}
    assert (shape.symptom, shape.certainty) in found, report.as_text()
    assert {symptom for symptom, certainty in found if certainty == "sure"} <= {shape.symptom}, report.as_text()
    assert report.exit_code == 1


@pytest.mark.parametrize(("shape", "app"), cases(shape for shape in WRONG if shape.symptom in FIXED_BY_A_LOCATION))
def test_the_fix_as_printed_makes_the_site_healthy(look, shape, app):
    """The fix replaces the wrong location, and the app is mounted behind nginx as the fix says."""
    [found] = [found for found in look(shape, app).findings if found.symptom == shape.symptom]
    report = look(shape._replace(locations=found.fix.replace("APP", "<mounted>") + "\n"), app)
    assert (report.exit_code, report.findings) == (0, []), report.as_text()


@pytest.mark.parametrize(("shape", "app"), cases(RIGHT))
def test_a_right_shape_has_no_finding_except_for_notes(look, shape, app):
    report = look(shape, app)
    assert [finding for finding in report.findings if finding.certainty != "note"] == [], report.as_text()
    assert report.exit_code == 0
