"""Write `build/naru.cdx.json`, the parts list of what the gateway's image ships: `make sbom`.

CycloneDX 1.6, made from what is installed in `.venv`, without what only tests and engines need. The
same installation gives the same bytes.
"""

import json
import subprocess
import sys
from typing import Any

import licenses
from lock import ROOT, tool

FILE = ROOT / "build" / "naru.cdx.json"


def main() -> None:
    """Write the file."""
    whole = json.loads(subprocess.run(command(), check=True, stdout=subprocess.PIPE).stdout)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(shipped(whole), indent=2, sort_keys=True) + "\n")
    parts = len(json.loads(FILE.read_text())["components"])
    sys.stdout.write(f"  {FILE.relative_to(ROOT)}: {parts} components\n")


def command() -> list[str]:
    """Return the call that describes the whole environment."""
    project = ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application"]
    output = ["--spec-version", "1.6", "--output-reproducible", "--output-format", "JSON"]
    return [tool("cyclonedx-py"), "environment", *project, *output, sys.executable]


def shipped(bill: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is on no list of the image, and what depends on it."""
    ours = licenses.installed(licenses.SHIPPED)
    parts = [each for each in bill["components"] if licenses.normal(each["name"]) in ours]
    kept = {each["bom-ref"] for each in [*parts, bill["metadata"]["component"]]}
    dependencies = [
        {**each, "dependsOn": [ref for ref in each.get("dependsOn", ()) if ref in kept]}
        for each in bill["dependencies"]
        if each["ref"] in kept
    ]
    return {**bill, "components": parts, "dependencies": dependencies}


if __name__ == "__main__":
    main()
