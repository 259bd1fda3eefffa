"""Text and chats from files, held-out splits, packing into rows, and token stores on disk."""

from jielong.data.conversations import Conversation, check_turns, read_conversations
from jielong.data.documents import Document, cut_documents, read_documents, whole_characters
from jielong.data.fingerprint import Fingerprint, identify_files
from jielong.data.html_text import html_to_text
from jielong.data.mixture import Mixture
from jielong.data.packed_rows import PackedRows
from jielong.data.packing import Packed, Rows, pack
from jielong.data.prepared import prepare
from jielong.data.problems import Problems, require_some
from jielong.data.sources import Source, find_sources
from jielong.data.split import Split, Survey, split_position
from jielong.data.token_store import Encoded, TokenStore, TokenStoreWriter, tokenize, write_token_store

__all__ = [
    "Conversation",
    "Document",
    "Encoded",
    "Fingerprint",
    "Mixture",
    "Packed",
    "PackedRows",
    "Problems",
    "Rows",
    "Source",
    "Split",
    "Survey",
    "TokenStore",
    "TokenStoreWriter",
    "check_turns",
    "cut_documents",
    "find_sources",
    "html_to_text",
    "identify_files",
    "pack",
    "prepare",
    "read_conversations",
    "read_documents",
    "require_some",
    "split_position",
    "tokenize",
    "whole_characters",
    "write_token_store",
]
