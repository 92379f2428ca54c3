"""Retrieval: documents in, cited passages out. Knows no HTTP and nothing of who may do what."""

from rag.answerable import Signals, Verdict, assess, judge
from rag.attach import Chunking, NewFile
from rag.batches import FileBatch, cancel_batch, create_batch, get_batch, list_batch_files
from rag.embed import Embedder, Embedders, open_embedder, open_embedders
from rag.embedding_wire import Counted
from rag.errors import (
    AlreadyAttached,
    EmbedderUnavailable,
    FilesUnavailable,
    FilterRefused,
    NotAllowed,
    NotFound,
    RagError,
    ReindexRefused,
    RerankerUnavailable,
    SourceRefused,
    StoreExpired,
    TextRefused,
    UnreadableDocument,
)
from rag.extract import Quote, extract
from rag.files import StoredFile, create_file, delete_file, get_file, list_files, read_file
from rag.filters import Comparison, Compound, Filter
from rag.paging import Cursor
from rag.reindex import cancel_reindex, start_reindex
from rag.rerank import Reranker, open_reranker
from rag.search import SearchOptions, search
from rag.storage import Storage, open_storage
from rag.store_files import (
    IngestError,
    StoreFile,
    add_file,
    get_store_file,
    list_store_files,
    remove_file,
    update_attributes,
)
from rag.stores import (
    FileCounts,
    Reindex,
    VectorStore,
    create_store,
    delete_store,
    get_store,
    list_stores,
    update_store,
)
from rag.support import Claim, Span, Support
from rag.tokenizer import Tokenizer, TokenizerSource, open_tokenizer
from rag.types import Chunk, LeftOut, Page, Passage, Place, Retrieval

__all__ = [
    "AlreadyAttached",
    "Chunk",
    "Chunking",
    "Claim",
    "Comparison",
    "Compound",
    "Counted",
    "Cursor",
    "Embedder",
    "EmbedderUnavailable",
    "Embedders",
    "FileBatch",
    "FileCounts",
    "FilesUnavailable",
    "Filter",
    "FilterRefused",
    "IngestError",
    "LeftOut",
    "NewFile",
    "NotAllowed",
    "NotFound",
    "Page",
    "Passage",
    "Place",
    "Quote",
    "RagError",
    "Reindex",
    "ReindexRefused",
    "Reranker",
    "RerankerUnavailable",
    "Retrieval",
    "SearchOptions",
    "Signals",
    "SourceRefused",
    "Span",
    "Storage",
    "StoreExpired",
    "StoreFile",
    "StoredFile",
    "Support",
    "TextRefused",
    "Tokenizer",
    "TokenizerSource",
    "UnreadableDocument",
    "VectorStore",
    "Verdict",
    "add_file",
    "assess",
    "cancel_batch",
    "cancel_reindex",
    "create_batch",
    "create_file",
    "create_store",
    "delete_file",
    "delete_store",
    "extract",
    "get_batch",
    "get_file",
    "get_store",
    "get_store_file",
    "judge",
    "list_batch_files",
    "list_files",
    "list_store_files",
    "list_stores",
    "open_embedder",
    "open_embedders",
    "open_reranker",
    "open_storage",
    "open_tokenizer",
    "read_file",
    "remove_file",
    "search",
    "start_reindex",
    "update_attributes",
    "update_store",
]
