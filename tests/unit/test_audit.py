"""What `make audit` says of pip-audit's answers."""

import json

from benchmarks.audit import verdict

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2",
       "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}]}  # fmt: skip
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def said(*packages):
    return verdict(json.dumps({"dependencies": packages}), "")


def test_silence_is_no_answer():
    assert verdict("", "cannot connect") == (
        0, "NOT AUDITED: pip-audit got no answer; try again online\ncannot connect"
    )  # fmt: skip
    code, text = said(UNKNOWN, GOOD)
    assert code == 0
    assert "1 of 2" in text
    assert "NOT AUDITED: no answer about 1 (c" in text
    assert "no advisory" not in text


def test_advisories_fail():
    code, text = said(GOOD, BAD)
    assert code == 1
    assert "b 2: PYSEC-1 CVE-1, fixed in 3" in text
    assert said(GOOD) == (0, "1 of 1 pinned packages were looked up\nno advisory")
