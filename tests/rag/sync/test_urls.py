"""URLs are fetched where they have changed, from listed hosts alone."""

from collections.abc import AsyncIterator

import pytest
from site_support import Site, play_site
from support import scope_of
from sync_support import Kept

import rag
from rag import sync
from rag.errors import SourceRefused
from rag.sync.urls import filename_of

LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with play_site() as playing:
        yield playing


@pytest.fixture
def web(kept: Kept, site: Site) -> Kept:
    """The store, whose tenant may read the site."""
    host = {"host": f"127.0.0.1:{site.port}", "tenants": ["acme"]}
    return kept.but(hosts=[host], allowed_networks=LOOPBACK)


async def test_what_has_not_changed_is_asked_for_and_not_sent_again(web: Kept, site: Site) -> None:
    urls = site.put("a.md", "15 days", etag='"1"'), site.put("b.md", "16 days")
    source = await web.add(sync.UrlsOrigin(urls))
    assert (await web.run(source)).added == 2
    site.asked.clear()
    run = await web.run(source)
    assert (run.unchanged, run.complete) == (2, True)
    assert sorted(site.asked) == [("a.md", 304), ("b.md", 200)]
    assert await web.files() == 2


async def test_a_changed_page_is_fetched_again(web: Kept, site: Site) -> None:
    url = site.put("a.md", "15 days", etag='"1"')
    source = await web.add(sync.UrlsOrigin((url,)))
    await web.run(source)
    await web.read()
    site.put("a.md", "16 days", etag='"2"')
    assert (await web.run(source)).changed == 1
    await web.read()
    assert await web.searchable() == await web.contents() == {url: b"16 days"}


async def test_after_its_file_was_lost_a_page_is_fetched_whole(web: Kept, site: Site) -> None:
    url = site.put("a.md", "15 days", etag='"1"')
    source = await web.add(sync.UrlsOrigin((url,)))
    await web.run(source)
    (file,) = await rag.list_files(web.pool, scope_of())
    await rag.delete_file(web.pool, scope_of(), file.id)
    await web.run(source)
    assert await web.contents() == {url: b"15 days"}


@pytest.mark.parametrize("status", ["404", "410"])
async def test_a_page_that_is_said_to_be_gone_is_removed(
    web: Kept, site: Site, status: str
) -> None:
    gone, there = site.put("a.md", "15 days"), site.put("b.md", "16 days")
    source = await web.add(sync.UrlsOrigin((gone, there)))
    await web.run(source)
    site.put("a.md", "15 days", fault=status)
    run = await web.run(source)
    assert (run.removed, run.unchanged, run.failed) == (1, 1, 0)
    assert await web.contents() == {there: b"16 days"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", "its host answers with status 500"),
        ("503", "its host answers with status 503"),
        ("401", "its host answers with status 401"),
        ("cut", "its host can't be reached, or broke off"),
        ("silent", "it was not fetched in time"),
        ("gzip", "its host compresses what it was not asked to"),
        ("to http://169.254.169.254/latest", "it is not fetched: 169.254.169.254 is not a listed"),
        ("to http://127.0.0.1:9/", "it is not fetched: 127.0.0.1:9 is not a listed host"),
        ("to file:///etc/passwd", "it is not fetched"),
        ("to HERE", "it is not fetched: more than 3 redirects"),
    ],
)
async def test_a_page_with_a_fault_stays_as_it_was_and_is_tried_again(
    web: Kept, site: Site, fault: str, reason: str
) -> None:
    web = web.but(item_timeout_s=0.5)
    bad, good = site.put("a.md", "15 days"), site.put("b.md", "16 days")
    source = await web.add(sync.UrlsOrigin((bad, good)))
    await web.run(source)
    site.put("a.md", "?" * 1000, fault=fault.replace("HERE", bad))
    site.put("b.md", "17 days")
    run = await web.run(source)
    assert (run.failed, run.changed, run.removed, run.complete) == (1, 1, 0, True)
    ((key, why),) = (await web.get(source)).failures
    assert key == bad
    assert why.startswith(reason)
    assert await web.contents() == {bad: b"15 days", good: b"17 days"}
    site.put("a.md", "18 days")
    assert (await web.run(source)).failed == 0
    assert (await web.contents())[bad] == b"18 days"


async def test_a_body_without_end_is_cut_off(web: Kept, site: Site) -> None:
    url = site.put("a.md", "x" * 2_000_000)
    run = await web.run(await web.add(sync.UrlsOrigin((url,))))
    assert run.failed == 1
    assert await web.files() == 0


async def test_what_is_taken_off_the_list_is_removed(web: Kept, site: Site) -> None:
    first, second = site.put("a.md", "15 days"), site.put("b.md", "16 days")
    source = await web.add(sync.UrlsOrigin((first, second)))
    await web.run(source)
    change = sync.Change(urls=(second,))
    await sync.update_source(web.pool, scope_of(), web.store, source, change, settings=web.settings)
    assert (await web.run(source)).removed == 1
    assert await web.contents() == {second: b"16 days"}


async def test_a_host_that_the_tenant_may_read_no_more_is_not_asked(web: Kept, site: Site) -> None:
    url = site.put("a.md", "15 days")
    source = await web.add(sync.UrlsOrigin((url,)))
    await web.run(source)
    site.asked.clear()
    for settings in ({"hosts": []}, {"allowed_networks": []}):
        run = await web.but(**settings).run(source)
        assert (run.failed, run.removed) == (1, 0)
    assert site.asked == []
    assert await web.contents() == {url: b"15 days"}


@pytest.mark.parametrize(
    "url",
    [
        "http://docs.example.com@127.0.0.1/",
        "http://docs.example.com\\@127.0.0.1/",
        "http://docs.example.com:22/",
        "http://127.0.0.1/",
        "http://rival.example.com/",
        "ftp://docs.example.com/",
        "docs.example.com/a",
        "http://docs.example.com/\n",
        "http://[",
        "http://docs.example.com/" + "x" * 1024,
    ],
)
async def test_urls_of_other_hosts_are_refused(kept: Kept, url: str) -> None:
    hosts = [
        {"host": "docs.example.com", "tenants": ["acme"]},
        {"host": "rival.example.com", "tenants": ["rival"]},
    ]
    allowed = kept.but(hosts=hosts)
    await allowed.add(sync.UrlsOrigin(("http://docs.example.com/",)))
    with pytest.raises(SourceRefused) as refused:
        await allowed.add(sync.UrlsOrigin(("http://docs.example.com/", url)))
    assert refused.value.param == "urls[1]"


@pytest.mark.parametrize(
    ("url", "kind", "name"),
    [
        ("https://a.example/", "text/html", "index.html"),
        ("https://a.example/hr/leave", "text/html", "leave.html"),
        ("https://a.example/leave.pdf?x=1", "application/pdf", "leave.pdf"),
        ("https://a.example/leave.md", "application/octet-stream", "leave.md"),
        ("https://a.example/leave", "application/octet-stream", "leave"),
        ("https://a.example/%ED%9C%B4%EA%B0%80", "text/plain", "휴가.txt"),
    ],
)
def test_a_document_is_called_by_its_url_and_type(url: str, kind: str, name: str) -> None:
    assert filename_of(url, kind) == name
