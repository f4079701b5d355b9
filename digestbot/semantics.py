"""Embeddings of papers: made once per paper and model, stored, and used again. None of it where no model is set."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from digestbot.model import Paper
from digestbot.ranking import Embedder, Embeddings, embed_papers, load_embedder
from digestbot.settings import Settings
from digestbot.storage import Storage


def find_embedder(settings: Settings) -> Embedder | None:
    """The model that DIGESTBOT_EMBEDDING_MODEL names, held in memory; raises UsageError naming what it lacks."""
    return _load(settings.embedding_model) if settings.embedding_model else None


@lru_cache(maxsize=1)
def _load(name: str) -> Embedder:
    return load_embedder(name)


def model_name(embedder: Embedder | None) -> str:
    """Under which the catalogue's statistics are stored."""
    return f"semantic {embedder.fingerprint}" if embedder else "lexical"


def stored_embeddings(storage: Storage, embedder: Embedder | None, papers: Sequence[Paper]) -> Embeddings:
    """The papers' embeddings as far as they are stored; for who may not write."""
    if embedder is None:
        return {}
    return storage.models.vectors(embedder.fingerprint, [paper.id for paper in papers])


def embeddings_of(storage: Storage, embedder: Embedder | None, papers: Sequence[Paper]) -> Embeddings:
    """The papers' embeddings; those not stored yet are made and stored."""
    if embedder is None:
        return {}
    known = stored_embeddings(storage, embedder, papers)
    fresh = embed_papers(embedder, [paper for paper in papers if paper.id not in known])
    storage.models.store_vectors(embedder.fingerprint, fresh)
    return {**known, **storage.models.vectors(embedder.fingerprint, list(fresh))}  # as stored, in float16
