"""Ways to fill a knowledge base, and PDFs made by hand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
from support import scope_of

import rag
from config.postgres import open_pool
from config.settings import RetrievalSettings
from rag.chunk import Cut
from rag.context import ContextWriter
from rag.embed import Embedder, Embedders
from rag.ruler import RulerSource
from rag.storage import IN_POSTGRES, Storage
from rag.tokenizer import TokenizerSource
from rag.worker import run_jobs

HOW = {"cut": Cut(200), "ruler": RulerSource(TokenizerSource(), ())}
"""How a `Parser` cuts where no model reads: 800 characters."""


async def parts_of(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def upload(
    pool: asyncpg.Pool,
    name: str,
    content: str | bytes,
    *,
    tenant: str = "acme",
    storage: Storage = IN_POSTGRES,
) -> rag.StoredFile:
    data = content.encode() if isinstance(content, str) else content
    return await rag.create_file(
        pool,
        scope_of(tenant),
        filename=name,
        purpose="assistants",
        parts=parts_of(data),
        storage=storage,
    )


@asynccontextmanager
async def job_worker(
    pool: asyncpg.Pool,
    embedder: Embedder | Embedders,
    settings: RetrievalSettings | None = None,
    storage: Storage = IN_POSTGRES,
    writer: ContextWriter | None = None,
) -> AsyncIterator[None]:
    """The job worker, running on the database of `pool`."""
    stop = asyncio.Event()
    embedders = embedder if isinstance(embedder, Embedders) else Embedders(embedder)
    async with await open_pool(pool._connect_args[0], size=6, role="naru_jobs") as jobs:
        known = settings or RetrievalSettings()
        run = run_jobs(jobs, embedders, known, stop, storage=storage, writer=writer)
        task = asyncio.create_task(run)
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 10)


async def until_done(pool: asyncpg.Pool, store_id: str, *, tenant: str = "acme") -> None:
    async with asyncio.timeout(60):
        while (await rag.get_store(pool, scope_of(tenant), store_id)).counts.in_progress:
            await asyncio.sleep(0.02)


async def fill(
    pool: asyncpg.Pool,
    embedder: Embedder,
    store_id: str,
    files: dict[str, str | bytes],
    *,
    tenant: str = "acme",
) -> dict[str, rag.StoreFile]:
    """Upload documents, have them read into a store, and return how that ended by name."""
    stored = {name: await upload(pool, name, files[name], tenant=tenant) for name in files}
    scope = scope_of(tenant)
    for file in stored.values():
        await rag.add_file(pool, scope, store_id, file.id)
    async with job_worker(pool, embedder):
        await until_done(pool, store_id, tenant=tenant)
    return {
        name: await rag.get_store_file(pool, scope, store_id, file.id)
        for name, file in stored.items()
    }


def pdf_of(*pages: Sequence[str], encrypted: bool = False) -> bytes:
    """A PDF with these lines on its pages, in any language, without a font file."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        (
            b"<< /Type /Font /Subtype /Type0 /BaseFont /Any /Encoding /Identity-H"
            b" /DescendantFonts [4 0 R] /ToUnicode 5 0 R >>"
        ),
        (
            b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Any /DW 500"
            b" /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>"
        ),
        _stream(
            b"begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange"
            b" 1 beginbfrange <0000> <FFFF> <0000> endbfrange endcmap"
        ),
        b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%b> /U <%b> >>" % (b"11" * 32, b"22" * 32),
    ]
    kids = []
    for lines in pages:
        text = b" T* ".join(b"<%b> Tj" % line.encode("utf-16-be").hex().encode() for line in lines)
        objects.append(_stream(b"BT /F1 10 Tf 12 TL 50 750 Td " + text + b" ET"))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%b] /Count %d >>" % (b" ".join(kids), len(kids))
    return _file(objects, encrypted=encrypted)


def _stream(content: bytes) -> bytes:
    return b"<< /Length %d >> stream\n%b\nendstream" % (len(content), content)


def _file(objects: list[bytes], *, encrypted: bool) -> bytes:
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj %b endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    lock = b" /Encrypt 6 0 R /ID [<33> <33>]" if encrypted else b""
    trailer = b"trailer << /Size %d /Root 1 0 R%b >>" % (len(objects) + 1, lock)
    xref = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"%b%b%b startxref %d %%%%EOF" % (xref, table, trailer, len(out))
    return bytes(out)
