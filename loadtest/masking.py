"""What masking finds and what it costs: `make bench-masking`.

Precision and recall on the test sets, CPU time per megabyte, and how late the event loop is while
a megabyte is masked beside it.
"""

import asyncio
import time

from masking_figures import measured

from config.masking import MaskingSettings
from gateway.govern.masking.hide import Hider
from gateway.govern.masking.masking import Masking
from gateway.govern.masking.policy import Policy

KOREAN = "연차 휴가는 연간 15일이며 2026년 3월 1일부터 적용됩니다. 규정을 참고하세요. "
ENGLISH = "The policy applies to 1,234 employees as of 2026-01-01; order 20260301-0001. "
PERSONAL = "홍길동(010-1234-5678, hong@example.com) 900101-1234567 국민은행 123-45-678901 "
TEXTS = {
    "Korean prose": KOREAN,
    "English prose, numbers": ENGLISH,
    "prose and personal data": KOREAN + ENGLISH + PERSONAL,
    "personal data alone": PERSONAL,
    "digits alone": "1",
    "spaced digits": "1 ",
    "pairs of digits": "12 34 07 ",
    "rows under a head": "이름,계좌번호\n홍길동,110-123-456789\n",
    "joined digits": "12-3456-",
    "letters and digits": "A1B2",
    "a@a@…": "a@",
    "full width": "０１０",
    "invisible characters": "1\u200b",
}
MEGABYTE = 1_000_000
PSEUDONYM = Policy.of({"default": "pseudonym"})


def _megabyte(text: str) -> str:
    return (text * (MEGABYTE // len(text.encode()) + 1)).encode()[:MEGABYTE].decode(errors="ignore")


def _say_figures() -> None:
    for name in ("cases", "held_out", "blind", "columns"):
        print(f"\n{name:<18} precision  recall   positives  near misses")
        for kind, each in measured(name).items():
            total = each.right + each.missed
            if not total:
                continue
            print(
                f"{kind:<18} {each.precision:9.3f} {each.recall:7.3f} {total:11} "
                f"{each.near_misses:12}"
            )


def _cpu_s(text: str) -> float:
    started = time.process_time()
    Hider(Policy.of({"default": "mask"})).whole(text)
    return time.process_time() - started


async def _lateness(done: asyncio.Event, late: list[float]) -> None:
    while not done.is_set():
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - started - 0.001) * 1000)


async def _beside(text: str | None) -> list[float]:
    """Return how late the loop was, sorted, in ms: while a text is masked, or while it idles."""
    masking, done, late = Masking(MaskingSettings()), asyncio.Event(), list[float]()
    watch = asyncio.create_task(_lateness(done, late))
    if text is None:
        await asyncio.sleep(1)
    else:
        await masking.hide({"messages": [{"content": text}]}, PSEUDONYM, session=None)
    done.set()
    await watch
    masking.close()
    return sorted(late)


async def main() -> None:
    """Print it all."""
    _say_figures()
    print("\none megabyte (UTF-8)      CPU ms    MB/s   the loop is late by ms: median  p99   most")
    for name, text in {"(nothing)": "", **TEXTS}.items():
        whole = _megabyte(text) if text else None
        cpu = _cpu_s(whole) if whole else 0.0
        late = await _beside(whole)
        cost = f"{cpu * 1000:7.0f} {1 / cpu:7.1f}" if cpu else " " * 15
        median, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
        print(f"{name:<24} {cost} {median:30.1f} {p99:6.1f} {late[-1]:6.1f}")


if __name__ == "__main__":
    asyncio.run(main())
