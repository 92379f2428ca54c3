"""Build the demo handbook's PDFs from their Markdown sources.

`python demo/build.py --font NanumGothic.ttf --bold NanumGothicBold.ttf`

The fonts (SIL Open Font License) are not part of this repository; only the glyphs used are
embedded. A source's `<!-- page -->` is a page break: the pages are part of what the demo shows, so
a page that overflows is an error. The same sources and fonts give the same bytes.
"""

import argparse
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate

HERE = Path(__file__).parent
PAGE_BREAK = "<!-- page -->"
# Lines break at spaces only: a Korean word cut at the end of a line can't be told from two words.
TITLE = ParagraphStyle("title", fontName="Naru-Bold", fontSize=18, leading=26, spaceAfter=8)
HEADING = ParagraphStyle(
    "heading", fontName="Naru-Bold", fontSize=14, leading=22, spaceBefore=14, spaceAfter=4
)
BODY = ParagraphStyle("body", fontName="Naru", fontSize=12.5, leading=23, spaceAfter=8)


class Handbook(SimpleDocTemplate):
    """A document whose pages carry their number, last in the page's reading order."""

    def afterPage(self) -> None:  # noqa: D102, N802 - reportlab's name
        self.canv.setFont("Naru", 9)
        self.canv.drawCentredString(A4[0] / 2, 14 * mm, str(self.page))


def page_flowables(page: str) -> list[Flowable]:
    """Return one page's blocks: `#` titles, `##` headings, anything else a paragraph."""
    blocks = [" ".join(block.split()) for block in page.strip().split("\n\n")]
    return [Paragraph(escape(block.lstrip("# ")), _style(block)) for block in blocks]


def _style(block: str) -> ParagraphStyle:
    if block.startswith("## "):
        return HEADING
    return TITLE if block.startswith("# ") else BODY


def build(source: Path, target: Path) -> None:
    """Write `source` as the PDF `target`.

    Raises:
        ValueError: A page of the source does not fit on one page.
    """
    pages = source.read_text(encoding="utf-8").split(PAGE_BREAK)
    flowables: list[Flowable] = []
    for page in pages:
        flowables += [*page_flowables(page), PageBreak()]
    document = Handbook(
        str(target),
        pagesize=A4,
        leftMargin=28 * mm,
        rightMargin=28 * mm,
        topMargin=25 * mm,
        bottomMargin=25 * mm,
        title=source.stem.replace("_", " "),
        author="Narutech",
        invariant=1,
    )
    document.build(flowables[:-1])
    if document.page != len(pages):
        raise ValueError(f"{source.name}: {len(pages)} pages became {document.page}")


def main() -> int:
    """Build every source into the handbook folder and print the files' sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--font", type=Path, required=True, help="a TrueType font with Hangul")
    parser.add_argument("--bold", type=Path, required=True, help="its bold face")
    parser.add_argument("--out", type=Path, default=HERE / "handbook")
    arguments = parser.parse_args()
    pdfmetrics.registerFont(TTFont("Naru", str(arguments.font)))
    pdfmetrics.registerFont(TTFont("Naru-Bold", str(arguments.bold)))
    for source in sorted((HERE / "sources").glob("*.md")):
        target = arguments.out / f"{source.stem}.pdf"
        build(source, target)
        print(f"{target.name}: {target.stat().st_size // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
