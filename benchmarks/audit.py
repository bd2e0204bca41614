"""Asks pip-audit for known advisories of pinned packages: `make audit`.

pip-audit says "No known vulnerabilities found" even when PyPI answered nothing about a package, as
mirrors do, or "Dependency not found". Here a package counts as asked only when it was answered.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def verdict(answer: str, problem: str) -> tuple[int, str]:
    """Return the exit code and what to print.

    Args:
        answer: JSON of pip-audit, empty if it gave none.
        problem: what it wrote to standard error.
    """
    if not answer:
        return 0, f"NOT AUDITED: pip-audit got no answer; try again online\n{problem[-500:]}"
    packages = json.loads(answer)["dependencies"]
    found = [
        f"{one['name']} {one['version']}: {flaw['id']} {' '.join(flaw['aliases'])}, "
        f"fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in packages
        for flaw in one.get("vulns", ())
    ]
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    asked = f"{len(packages) - len(unknown)} of {len(packages)} pinned packages were looked up"
    if unknown:
        found.append(f"NOT AUDITED: no answer about {len(unknown)} ({', '.join(unknown[:5])} ...)")
    advisories = any("vulns" in one and one["vulns"] for one in packages)
    return int(advisories), "\n".join([asked, *found] if found else [asked, "no advisory"])


def main() -> int:
    """Run pip-audit on a file of constraints and print what it found."""
    program, constraints = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "audit.json")
        done = subprocess.run(
            [program, "--disable-pip", "--no-deps", "--progress-spinner", "off",
             "--requirement", constraints, "--format", "json", "--output", str(out)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        code, text = verdict(out.read_text() if out.exists() else "", done.stderr)
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
