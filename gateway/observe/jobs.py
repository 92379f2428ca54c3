"""Background jobs: how many of each kind ended how, and what they took."""

import time

from gateway.observe import metrics
from rag.jobs import Handler, Job, Jobs, Postpone


class CountedJobs(Jobs):
    """Kinds of jobs whose every run is counted."""

    def on(self, kind: str, handler: Handler, *, at_once: int = 0) -> None:
        """Have `handler` do jobs of a kind, and count them."""

        async def counted(job: Job) -> None:
            began, outcome = time.monotonic(), "failed"
            try:
                await handler(job)
                outcome = "done"
            except Postpone:
                outcome = "postponed"
                raise
            finally:
                metrics.JOBS.add(kind, outcome)
                metrics.JOB_DURATION.observe(time.monotonic() - began, kind)

        super().on(kind, counted, at_once=at_once)
