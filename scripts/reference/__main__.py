"""Write the reference pages of `docs/reference/` from the code that they describe.

`python -m scripts.reference` writes them; with `--check` it fails where one is not up to date.
"""

import sys
from pathlib import Path

from scripts.reference.errors import errors_page
from scripts.reference.settings import settings_page

_FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def main() -> int:
    """Write what is not up to date; return 1 where that was only to be checked."""
    stale = dict[Path, str]()
    for name, text in {"settings.md": settings_page(), "errors.md": errors_page()}.items():
        path = _FOLDER / name
        if not path.exists() or path.read_text() != text:
            stale[path] = text
    if "--check" in sys.argv:
        sys.stderr.writelines(f"{path.name} is not up to date: make reference\n" for path in stale)
        return int(bool(stale))
    for path, text in stale.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
