"""The settings' types and defaults. `config.load` reads them; nothing reads them at import."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    IPvAnyNetwork,
    JsonValue,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from config.agents import AgentSettings
from config.audit import AuditSettings
from config.budgets import BudgetSettings
from config.cache import CacheSettings
from config.context import ContextSettings
from config.files import FileSettings
from config.guardrails import GuardrailSettings
from config.languages import LanguageCode
from config.ledger import LedgerSettings
from config.limits import LimitsSettings
from config.masking import MaskingSettings
from config.media import MediaSettings
from config.named_files import AuthoritiesFile, SecretFile, TextFile, long_enough
from config.prices import PricedName, PriceSettings
from config.section import Section, matching
from config.sync import SyncSettings
from config.targets import AliasName, Ladder, ProviderName, ProviderSettings
from config.telemetry import TelemetrySettings

EngineName = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "write a name of up to 64 letters, digits and `._-`, the first a letter or a digit",
    ),
]
Backend = Literal["auto", "openvino", "torch"]
# A part of a Unix socket's path, which has 107 bytes.
EmbeddingName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
EngineUrl = Annotated[
    str, StringConstraints(pattern=r"^(https?://[^\s/?#@]+(/[^\s?#]*)?/v1|unix:///[^\s?#]+)$")
]

ClientId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ScopeName = Literal["inference", "agents", "agents:write", "knowledge", "knowledge:write", "admin"]
ForeignAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"]
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def secure_url(url: str) -> str:
    """Return a URL that nobody on the way can tamper with: https, or http to this machine.

    Raises:
        ValueError: It is another one.
    """
    parts = urlsplit(url)
    if parts.hostname and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    ):
        return url
    raise ValueError("an https URL is needed (http only for this machine itself)")


def _is_of_redis(url: str) -> bool:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:  # it is no number
        return False
    return parts.scheme in {"redis", "rediss", "unix"} and port != 0


# Not AnyHttpUrl, which adds a slash: `iss` is compared character by character.
IssuerUrl = Annotated[
    str, StringConstraints(pattern=r"^https?://[^\s?#@]+$"), AfterValidator(secure_url)
]
# Absolute, without a fragment (RFC 8707 section 2), and compared character by character too.
ResourceUri = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s#]+$")]
ClaimPath = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
]


class ServerSettings(Section):
    """Where and how the HTTP service listens, and what it accepts."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    max_body_bytes: int = Field(default=10_000_000, ge=1_000)
    """Longest JSON body; a longer one is answered 413."""
    max_file_bytes: int = Field(default=100_000_000, ge=1_000)
    """Longest uploaded file; a longer one is answered 413."""
    max_message_chars: int = Field(default=32_000, ge=1)
    """Longest message to an agent; a longer one is answered 413."""
    max_choices: int = Field(default=8, ge=1, le=128)
    """Most answers (`n`) that one request may ask of an engine."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` says who the caller is; by default nobody's."""
    keep_alive_s: int = Field(default=75, ge=1)
    """How long a connection may rest: longer than any client or proxy keeps one (OpenAI's SDK 5 s,
    nginx and most balancers 60), or it asks on a connection that is just being closed."""
    drain_delay_s: float = Field(default=2.0, ge=0)
    """How long connections are still taken after SIGTERM, while `/health/ready` says 503: longer
    than it takes a balancer to notice. After Ctrl-C none are."""
    grace_s: float = Field(default=10.0, ge=0)
    """How long open requests may go on after that."""
    reload_grace_s: float = Field(default=600.0, ge=0)
    """How long open requests may go on in a worker that a reload has replaced."""

    @property
    def url(self) -> str:
        """Return where this machine reaches the service, without a trailing slash."""
        wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
        host = wildcards.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class DatabaseSettings(Section):
    """PostgreSQL with pgvector. Without a URL the embedded one is started."""

    url: SecretStr | None = None
    """The owner's URL; the service itself works under a role it creates. Also DATABASE_URL."""
    pooler_url: SecretStr | None = None
    """PgBouncer in transaction mode, `pgbouncer://USER:PASSWORD@HOST:6432`: web workers go through
    it, everything else to `url`. It has a database for each role of ours."""
    pool_size: int = Field(default=10, ge=1, le=200)
    """Connections per process."""

    @field_validator("url")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not re.match(r"postgres(ql)?://", url.get_secret_value()):
            raise ValueError("write postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
        return url

    @field_validator("pooler_url")
    @classmethod
    def _is_a_pooler(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not re.fullmatch(r"pgbouncer://[^/?#]+/?", url.get_secret_value()):
            raise ValueError("write pgbouncer://USER:PASSWORD@HOST:PORT, without a database")
        return url


class RedisSettings(Section):
    """Redis. Without a URL the embedded one is started."""

    url: SecretStr | None = None
    """Also REDIS_URL."""

    @field_validator("url")
    @classmethod
    def _is_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_of_redis(url.get_secret_value()):
            raise ValueError(
                "write redis://USER:PASSWORD@HOST:PORT/0, or begin with rediss:// or unix://"
            )
        return url


class IssuerSettings(Section):
    """A foreign OIDC issuer whose access tokens are accepted (Keycloak, Entra ID …).

    Whoever it names acts as a client of ours, which decides the tenant and bounds what a token may,
    and is one end user of that client (`sub`).
    """

    issuer: IssuerUrl
    """Exactly the `iss` of its tokens; its discovery document is looked up beneath it."""
    audience: str = Field(min_length=1)
    """Must be among a token's `aud`."""
    algorithms: tuple[ForeignAlgorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    client: ClientId | None = None
    """The client of every token of this issuer; else `client_claim` decides."""
    client_claim: ClaimPath | None = None
    """A claim whose value is looked up in `clients`, such as a tenant's id."""
    clients: dict[str, ClientId] = Field(default={})
    """Value of `client_claim` -> client. A value that is not here is refused."""
    scope_claim: ClaimPath = ("scope",)
    """A claim of words, as one string or as a list: `scope`, `scp`, `roles` …; a list of names is a
    path into objects: `[realm_access, roles]`."""
    scopes: dict[str, tuple[ScopeName, ...]] = Field(min_length=1)
    """Word of `scope_claim` -> scopes. Words that are not here grant nothing."""

    @property
    def our_clients(self) -> frozenset[str]:
        """Return every client that tokens of this issuer may act as."""
        return frozenset(self.clients.values() if self.client is None else {self.client})

    @model_validator(mode="after")
    def _one_way_to_a_client(self) -> Self:
        mapped = self.client_claim is not None and bool(self.clients)
        if mapped == (self.client is not None):
            raise ValueError("set either client, or client_claim and clients")
        return self


class AuthSettings(Section):
    """The tokens Naru issues, and whose it accepts beside them."""

    token_ttl_s: int = Field(default=900, ge=1, le=3600)
    algorithm: Literal["ES256", "EdDSA", "RS256"] = "ES256"
    """What new tokens are signed with."""
    key_max_age_days: int = Field(default=90, ge=1)
    """A signing key of this age is followed by a new one."""
    key_lead_s: int = Field(default=600, gt=300)
    """How long a new signing key is published before it signs: longer than the 300 s for which
    `/oauth/jwks` may be cached, so that whoever verifies knows it by then."""
    audiences: tuple[ResourceUri, ...] = ()
    """Further resources (RFC 8707) that tokens may be asked for, beside Naru itself."""
    dpop_nonce: bool = True
    """Whether DPoP proofs must carry a nonce of ours (RFC 9449 section 8)."""
    issuers: tuple[IssuerSettings, ...] = ()
    secret_key: SecretStr | None = None
    """Encrypts signing keys at rest and keys the hashes of secrets; at least 32 characters."""
    secret_key_file: SecretFile | None = None
    """Where to read it from instead; default `<data_dir>/secret.key`, made at first start."""

    @field_validator("secret_key")
    @classmethod
    def _is_long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            long_enough(secret.get_secret_value())
        return secret

    def secret_path(self, data_dir: Path) -> Path:
        """Return the file that the secret key is read from where `secret_key` is not set."""
        return self.secret_key_file or data_dir / "secret.key"

    @model_validator(mode="after")
    def _issuers_apart(self) -> Self:
        if len({each.issuer for each in self.issuers}) < len(self.issuers):
            raise ValueError("issuers: one is listed twice")
        clients = [client for each in self.issuers for client in each.our_clients]
        if len(set(clients)) < len(clients):
            # `sub` is unique within one issuer only: two users would share their sessions.
            raise ValueError("issuers: give each issuer clients of its own")
        return self


class EmbeddingModelSettings(Section):
    """An embedding model: a packaged one, a folder, a model id, or an OpenAI-compatible URL."""

    model: str = "all-MiniLM-L6-v2"
    """`all-MiniLM-L6-v2` is carried by a wheel and needs no download."""
    languages: tuple[LanguageCode, ...] = ("en",)
    """ISO 639-1 codes the model knows; in other languages only the lexical leg votes."""
    query_prompt: str | None = None
    """What is put before a question, such as `query: `; default the model's own."""
    document_prompt: str | None = None
    """What is put before a document, such as `passage: `; default the model's own."""
    max_tokens: int | None = Field(default=None, ge=16)
    """How many tokens the model reads of one text; default what the model says, 512 where it is
    behind a URL and `tokenizer` says nothing."""
    url: AnyHttpUrl | None = None
    """Base URL (`…/v1`) of an OpenAI-compatible embeddings API to use instead of a local model."""
    api_key: SecretStr | None = None
    tokenizer: TextFile | None = None
    """The `tokenizer.json` of a model behind a URL; without it tokens are estimated, rather too
    many than too few."""
    backend: Backend = "auto"
    """What computes a local model: OpenVINO where it can, else torch; or always the one named."""
    truncatable: bool = False
    """Whether the model was trained so that the first numbers of a vector are a vector too
    (Matryoshka): callers may then ask for fewer `dimensions`."""
    timeout_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _tokenizer_of_a_remote_model(self) -> Self:
        if self.tokenizer and not self.url:
            raise ValueError("tokenizer goes with url only: a local model brings its own")
        return self

    @property
    def name(self) -> str:
        """Return what callers name the model: of a folder the last part of its path."""
        folder = self.model.startswith((".", "/"))
        return Path(self.model).name if folder else self.model

    @property
    def space(self) -> str:
        """Return what must be equal for two vectors to be comparable."""
        prompt = f" {self.document_prompt!r}" if self.document_prompt is not None else ""
        return f"{self.model} {','.join(sorted(self.languages))}{prompt}"


class EmbeddingSettings(EmbeddingModelSettings):
    """The model that new stores are read with, and others that are kept beside it."""

    others: dict[EmbeddingName, EmbeddingModelSettings] = Field(default={})
    """More models, by a name of yours, each in a worker of its own: a store can be read again with
    one while it is searched with another."""

    @model_validator(mode="after")
    def _models_apart(self) -> Self:
        spaces = [self.space, *(each.space for each in self.others.values())]
        if len(set(spaces)) < len(spaces):
            raise ValueError("others: one model stands there twice, or is the default itself")
        if self.name in self.others:
            raise ValueError(f"others: `{self.name}` is the default's name; take another")
        return self


class RerankerSettings(Section):
    """A cross-encoder that scores documents for a question; none unless `model` is set."""

    model: str | None = Field(default=None, min_length=1)
    """A model id or a folder; or with `url`, the name the server knows it by."""
    url: AnyHttpUrl | None = None
    """Where `/rerank` is, such as `https://api.cohere.com/v2` or `http://HOST:8000/v1`: Cohere,
    Jina, vLLM or Text Embeddings Inference; instead of a local model."""
    api_key: SecretStr | None = None
    max_tokens: int | None = Field(default=None, ge=16)
    """How many tokens of question and document together it reads; default what the model says."""
    backend: Backend = "auto"
    timeout_s: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _model_is_named(self) -> Self:
        if self.model is None and self.url is not None:
            raise ValueError("model: name the one to ask for at url")
        return self

    @property
    def name(self) -> str:
        """Return what callers name the model: of a folder the last part of its path."""
        model = self.model or ""
        return Path(model).name if model.startswith((".", "/")) else model


class RetrievalSettings(Section):
    """How documents are read and cut."""

    chunk_tokens: int = Field(default=200, ge=16, le=4096)
    """Longest chunk of a file that asks for no other, in tokens of the model that reads it, never
    more than that takes; four characters are one where none reads the text."""
    parse_timeout_s: float = Field(default=120.0, gt=0)
    """Longest time one document may take to parse."""
    context: ContextSettings | None = None
    """The model that writes where each chunk stands in its document; none unless set."""
    large_index_chunks: int = Field(default=10_000, ge=1)
    """From how many chunks on a vector store is searched through indexes of its own."""


class EngineSettings(Section):
    """A vLLM engine that Naru starts, or replicas of one that run elsewhere."""

    model: str | None = Field(default=None, min_length=1)
    """A model id or a folder: Naru starts vLLM with it."""
    urls: tuple[EngineUrl, ...] = ()
    """Replicas that run already, `http(s)://HOST/v1` or `unix:///PATH`, instead of `model`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes what the interpreter's vLLM is built for."""
    replicas: int = Field(default=1, ge=1, le=64)
    """How many children serve the model."""
    args: dict[str, JsonValue] = Field(default={})
    """Any other argument of `vllm serve`, without its dashes: `max-model-len: 8192`."""
    python: Path | None = None
    """The interpreter that has vLLM; default ours."""
    env: dict[str, str] = Field(default={})
    """More environment variables for the children, such as CUDA_VISIBLE_DEVICES."""
    api_key: SecretStr | None = None
    """What the replicas at `urls` ask for."""
    ca_file: AuthoritiesFile | None = None
    """PEM file of the authorities that sign the certificates at `urls`; default the system's."""
    connect_timeout_s: float = Field(default=5.0, gt=0)
    first_byte_timeout_s: float = Field(default=120.0, gt=0)
    """Longest wait for a streamed answer's first token."""
    idle_timeout_s: float = Field(default=30.0, gt=0)
    """Longest silence between two parts of an answer."""
    total_timeout_s: float = Field(default=600.0, gt=0)
    max_requests: int = Field(default=512, ge=1)
    """How many requests a web worker has at the engine at a time; further ones queue here."""
    max_queue: int = Field(default=1024, ge=0)
    """How many may queue; further ones are refused, or go to the next target."""
    queue_timeout_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _either_started_or_elsewhere(self) -> Self:
        if (self.model is None) == (not self.urls):
            raise ValueError("set either model or urls")
        elsewhere, ours = {"api_key", "ca_file"}, {"device", "replicas", "args", "python", "env"}
        if wrong := self.model_fields_set & (ours if self.urls else elsewhere):
            other = "model" if self.urls else "urls"
            raise ValueError(f"{min(wrong)} goes with {other} only")
        return self


class SessionSettings(Section):
    """What of a conversation is given to the model again, and how its turns follow each other."""

    history_tokens: int = Field(default=2000, ge=0)
    retention_days: float | None = Field(default=None, gt=0)
    """How long a conversation is kept after its last turn; default until it is deleted."""
    max_waiting: int = Field(default=16, ge=0)
    """How many messages of one session may wait for the one before; more are answered 429."""
    queue_timeout_s: float = Field(default=30.0, gt=0)
    """Longest wait of a message for those before it in its session; then it is answered 429."""
    lease_s: float = Field(default=10.0, ge=1)
    """How long a turn's process may be silent before the turn is taken for dead."""
    resume_grace_s: float = Field(default=30.0, ge=0)
    """How long a resumable or repeatable turn goes on when nobody waits for it any more."""
    replay_s: float = Field(default=86_400.0, gt=0)
    """How long a turn is told again to who sends its `Idempotency-Key` or resumes its stream."""


class ResponseSettings(Section):
    """What is kept of `/v1/responses`, and how background ones run."""

    retention_days: float = Field(default=30.0, gt=0)
    """How long a stored response is kept after it was made or last built on."""
    events_kept_s: float = Field(default=3600.0, ge=0)
    """How long a stream's events are kept for who comes back to it; 0 keeps none."""
    max_background: int = Field(default=8, ge=0)
    """How many background responses a web worker runs at a time; 0 leaves them to others."""
    max_queued: int = Field(default=1000, ge=1)
    """How many background responses of one tenant may wait; further ones are answered 429."""


class Settings(Section):
    """Everything, as read from one YAML file and the environment (`NARU__SECTION__KEY`)."""

    data_dir: Path = Path(".naru")
    public_url: AnyHttpUrl | None = None
    """Issuer and default audience of tokens, without a path; default `http://HOST:PORT`."""
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    reranker: RerankerSettings = RerankerSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    sessions: SessionSettings = SessionSettings()
    files: FileSettings = FileSettings()
    responses: ResponseSettings = ResponseSettings()
    audit: AuditSettings = AuditSettings()
    cache: CacheSettings = CacheSettings()
    media: MediaSettings = MediaSettings()
    masking: MaskingSettings = MaskingSettings()
    guardrails: GuardrailSettings = GuardrailSettings()
    sync: SyncSettings = SyncSettings()
    limits: LimitsSettings = LimitsSettings()
    ledger: LedgerSettings = LedgerSettings()
    agents: AgentSettings = AgentSettings()
    budgets: BudgetSettings = BudgetSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    prices: dict[PricedName, PriceSettings] = Field(default={})
    """Target -> what it costs: `PROVIDER/MODEL`, `PROVIDER/*`, `engine/NAME`. What is not here
    costs what `config/prices.toml` says, if that says anything."""
    engines: dict[EngineName, EngineSettings] = Field(default={})
    providers: dict[ProviderName, ProviderSettings] = Field(default={})
    models: dict[AliasName, Ladder] = Field(default={})
    """Alias -> ladder of targets, tried in this order: `engine/NAME` (or `engine/NAME/ADAPTER`),
    `PROVIDER/MODEL`, `extractive`."""

    @model_validator(mode="after")
    def _ports_apart(self) -> Self:
        if self.telemetry.metrics_port == self.server.port:
            raise ValueError("telemetry.metrics_port: take another one than server.port")
        return self

    @model_validator(mode="after")
    def _one_issuer_of_ours(self) -> Self:
        url = self.public_url
        if url and (url.query or url.fragment or url.username or url.password):
            raise ValueError("public_url: leave out user, query and fragment (RFC 8414 section 2)")
        if url and (url.path or "/") != "/":
            raise ValueError("public_url: leave out the path: what callers discover stands at /")
        if self.issuer in {each.issuer.rstrip("/") for each in self.auth.issuers}:
            # Its tokens would be taken for another's, and ours refused.
            raise ValueError(f"auth.issuers: {self.issuer} is this service itself")
        return self

    @property
    def issuer(self) -> str:
        """Return the public URL without a trailing slash."""
        return str(self.public_url).rstrip("/") if self.public_url else self.server.url
