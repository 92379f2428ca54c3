"""Retrieval: documents in, cited passages out. Knows no HTTP and nothing of who may do what."""

from rag.answerable import Verdict, judge
from rag.embed import Embedder, Embedders, open_embedder, open_embedders
from rag.embedding_wire import Counted
from rag.errors import (
    EmbedderUnavailable,
    FilterRefused,
    NotAllowed,
    NotFound,
    RagError,
    TextRefused,
    UnreadableDocument,
)
from rag.extract import Quote, extract
from rag.files import StoredFile, create_file, delete_file, get_file, list_files, read_file
from rag.filters import Comparison, Compound, Filter
from rag.ingest import run_jobs
from rag.search import Reranker, SearchOptions, search
from rag.stores import (
    FileCounts,
    IngestError,
    StoreFile,
    VectorStore,
    add_file,
    create_store,
    delete_store,
    get_store,
    get_store_file,
    list_store_files,
    list_stores,
    remove_file,
)
from rag.tokenizer import Tokenizer, TokenizerSource, open_tokenizer
from rag.types import Chunk, Fusion, Page, Passage, Retrieval

__all__ = [
    "Chunk",
    "Comparison",
    "Compound",
    "Counted",
    "Embedder",
    "EmbedderUnavailable",
    "Embedders",
    "FileCounts",
    "Filter",
    "FilterRefused",
    "Fusion",
    "IngestError",
    "NotAllowed",
    "NotFound",
    "Page",
    "Passage",
    "Quote",
    "RagError",
    "Reranker",
    "Retrieval",
    "SearchOptions",
    "StoreFile",
    "StoredFile",
    "TextRefused",
    "Tokenizer",
    "TokenizerSource",
    "UnreadableDocument",
    "VectorStore",
    "Verdict",
    "add_file",
    "create_file",
    "create_store",
    "delete_file",
    "delete_store",
    "extract",
    "get_file",
    "get_store",
    "get_store_file",
    "judge",
    "list_files",
    "list_store_files",
    "list_stores",
    "open_embedder",
    "open_embedders",
    "open_tokenizer",
    "read_file",
    "remove_file",
    "run_jobs",
    "search",
]
