"""Every metric of Naru, declared once. None carries anything that a tenant wrote or is called.

Labels are what the code or the operator's settings name: a model that a caller names freely is
counted under its provider's `*`.
"""

from gateway.observe.tally import Counter, Gauge, Histogram, Metric

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, *_SECONDS[:11])
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))

HTTP_REQUESTS = Counter(
    "naru_http_requests",
    "HTTP requests that have ended, by route template and class of status (2xx …; 499: the caller "
    "left before there was an answer).",
    ("method", "route", "status"),
)
HTTP_DURATION = Histogram(
    "naru_http_request_duration_seconds",
    "From a request's first byte to its answer's last, streams included.",
    _SECONDS,
    ("route",),
)
HTTP_IN_FLIGHT = Gauge("naru_http_requests_in_flight", "HTTP requests under way.")
STREAMS_OPEN = Gauge("naru_streams_open", "Streamed answers of models and agents under way.")
ERRORS = Counter(
    "naru_errors",
    "Errors told to callers, by OpenAI's type and our code (`upstream`: what a model's server "
    "said; `none`: it has no code).",
    ("type", "code"),
)

PHASE_DURATION = Histogram(
    "naru_phase_duration_seconds",
    "What a request spends where: auth, limits, guardrails, masking, retrieval, queue (for an "
    "engine), upstream (until the first content, or the whole answer where it is not streamed), "
    "settlement.",
    _SHORT,
    ("phase",),
)
RETRIEVAL_LEG_DURATION = Histogram(
    "naru_retrieval_leg_duration_seconds",
    "What a search spends on: embedding (the question), words and vectors (the legs in "
    "PostgreSQL), rerank, total.",
    _SHORT,
    ("leg",),
)
SIMILARITY = Histogram(
    "naru_retrieval_similarity",
    "Score of a search's best passage, 0 where there was none.",
    _TENTHS,
)
CONFIDENCE = Histogram(
    "naru_agent_confidence",
    "How sure an agent was that the passages hold the answer.",
    _TENTHS,
)
AGENT_ANSWERS = Counter(
    "naru_agent_answers",
    "Agents' turns by outcome: answered, without_sources; abstained for not_in_documents or "
    "not_cited.",
    ("outcome",),
)

REQUESTS = Counter(
    "naru_requests",
    "Settled calls of models and agents, by API and ending: completed, abstained, client_gone, "
    "server_shutdown, cancelled, refused (a limit, a budget, a guardrail, personal data), failed.",
    ("kind", "outcome"),
)
TARGET_REQUESTS = Counter(
    "naru_target_requests",
    "Targets that were asked, by how that went: answered, failed, cut_off.",
    ("target", "outcome"),
)
TOKENS = Counter(
    "naru_tokens",
    "Tokens by target and type: input, output, cached (of the input, read from a prefix cache).",
    ("target", "type"),
)
TIME_TO_FIRST_TOKEN = Histogram(
    "naru_time_to_first_token_seconds",
    "From a call's begin to the first content of its stream.",
    _SECONDS,
    ("target",),
)
INTER_TOKEN = Histogram(
    "naru_inter_token_seconds",
    "Mean time between two tokens of a stream after its first, one value per stream.",
    _SHORT,
    ("target",),
)
FALLBACKS = Counter(
    "naru_fallbacks",
    "Targets that were passed before another answered, or broke off and another went on, by "
    "reason (an error's code, or `slow_first_token`).",
    ("target", "reason"),
)
TARGET_RESTS = Gauge(
    "naru_target_resting",
    "In how many web workers a target is not asked: it rests after failures, or is an engine that "
    "is down.",
    ("target",),
)
ENGINE_IN_FLIGHT = Gauge(
    "naru_engine_requests_in_flight", "Requests that engines work on.", ("engine",)
)
QUEUE_LENGTH = Gauge(
    "naru_engine_queue_length", "Requests that wait for a place at an engine.", ("engine",)
)
QUEUE_OLDEST = Gauge(
    "naru_engine_queue_oldest_seconds",
    "For how long the first of them has waited.",
    ("engine",),
    "max",
)
CACHE_LOOKUPS = Counter(
    "naru_cache_lookups",
    "Calls whose answer may be told again: hit, miss.",
    ("result",),
)

LIMIT_REFUSALS = Counter(
    "naru_limit_refusals",
    "Requests refused at a limit, by what it counts, as `limits` names it: requests_per_minute …",
    ("kind",),
)
BUDGET_REFUSALS = Counter(
    "naru_budget_refusals",
    "Requests refused or cut off because of a budget: budget_exhausted, budget_unavailable, "
    "model_unpriced.",
    ("code",),
)
BUDGET_USED = Gauge(
    "naru_budget_used_ratio",
    "How much is spent of the budget that is spent the most, among those in use, by period: day, "
    "month.",
    ("period",),
    "max",
)
COST = Counter("naru_cost_usd", "What targets cost, where a price is known.", ("target",))
GUARDRAIL_VERDICTS = Counter(
    "naru_guardrail_verdicts", "What guardrails found in calls of models.", ("guardrail", "verdict")
)
JOURNAL_BACKLOG = Gauge(
    "naru_journal_backlog_records",
    "Usage records in memory that outlives their process, and not in PostgreSQL yet.",
)
JOURNAL_BACKLOG_BYTES = Gauge(
    "naru_journal_backlog_bytes",
    "Those that had to make room in memory, on the disk: PostgreSQL is away or slow.",
)

JOBS = Counter(
    "naru_jobs",
    "Background jobs that have ended, by outcome: done, failed, postponed.",
    ("job", "outcome"),
)
JOB_DURATION = Histogram("naru_job_duration_seconds", "What they took.", _SECONDS, ("job",))

POOL_SIZE = Gauge("naru_database_pool_connections", "Connections to PostgreSQL that are open.")
POOL_BUSY = Gauge("naru_database_pool_busy", "Those of them that are at work.")
POOL_MAX = Gauge("naru_database_pool_max", "How many the pools may open.")
LOOP_LAG = Histogram(
    "naru_event_loop_lag_seconds",
    "How much later than asked for a timer fires; twice a second in every process.",
    _SHORT,
    ("process",),
)
LOOP_TASKS = Gauge(
    "naru_event_loop_tasks",
    "Tasks of the event loop, every ten seconds, by process.",
    ("process",),
    "max",
)
PROCESS_CPU = Counter("naru_process_cpu_seconds", "CPU time, by process.", ("process",))
PROCESS_MEMORY = Gauge(
    "naru_process_resident_memory_bytes", "Resident memory, by process.", ("process",), "max"
)
PROCESS_UP = Gauge(
    "naru_process_up", "1 for each process that lives and counts.", ("process",), "max"
)
SPANS_DROPPED = Counter(
    "naru_spans_dropped",
    "Spans whose export failed. Those that a full queue drops are logged instead.",
)
BUILD = Gauge("naru_build_info", "1; the label says which version runs.", ("version",), "max")

ALL: tuple[Metric, ...] = tuple(
    value for value in globals().values() if isinstance(value, Counter | Gauge | Histogram)
)
"""In the order of their declaration."""
