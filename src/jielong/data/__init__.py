"""Text and chats from files, held-out splits, packing into rows, and token stores on disk."""

from jielong.data.conversations import Conversation, check_turns, read_conversations
from jielong.data.documents import Document, cut_documents, read_documents, whole_characters
from jielong.data.fingerprint import Fingerprint, fingerprint_documents, fingerprint_files
from jielong.data.html_text import html_to_text
from jielong.data.packing import Packed, pack
from jielong.data.problems import Problems, require_some
from jielong.data.sources import Source, find_sources
from jielong.data.split import is_heldout, sample_documents, split_heldout
from jielong.data.token_store import TokenStore, TokenStoreWriter, tokenize_documents, write_token_store

__all__ = [
    "Conversation",
    "Document",
    "Fingerprint",
    "Packed",
    "Problems",
    "Source",
    "TokenStore",
    "TokenStoreWriter",
    "check_turns",
    "cut_documents",
    "find_sources",
    "fingerprint_documents",
    "fingerprint_files",
    "html_to_text",
    "is_heldout",
    "pack",
    "read_conversations",
    "read_documents",
    "require_some",
    "sample_documents",
    "split_heldout",
    "tokenize_documents",
    "whole_characters",
    "write_token_store",
]
