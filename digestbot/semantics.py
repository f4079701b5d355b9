"""Embeddings of papers and topics: made once per model, stored, and used again. None of it where no model is set."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from digestbot.model import Paper
from digestbot.settings import Settings
from digestbot.storage import Storage

if TYPE_CHECKING:
    from digestbot.ranking import Embedder, Embeddings, Index

NOTED_EVERY = timedelta(days=7)  # that a topic's embedding is used
FORGOTTEN_AFTER = timedelta(days=60)  # a subscriber's slots lie a week apart at most, unless paused


def find_embedder(settings: Settings) -> Embedder | None:
    """The model that DIGESTBOT_EMBEDDING_MODEL names, held in memory; raises UsageError naming what it lacks."""
    return _load(settings.embedding_model) if settings.embedding_model else None


@lru_cache(maxsize=1)
def _load(name: str) -> Embedder:
    from digestbot.ranking import load_embedder

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
    from digestbot.ranking import embed_papers

    known = stored_embeddings(storage, embedder, papers)
    fresh = embed_papers(embedder, [paper for paper in papers if paper.id not in known])
    storage.models.store_vectors(embedder.fingerprint, fresh)
    return {**known, **storage.models.vectors(embedder.fingerprint, list(fresh))}  # as stored, in float16


def know_texts(
    storage: Storage, embedder: Embedder | None, index: Index, texts: Collection[str], now: datetime
) -> None:
    """Sees to it that the index knows the embeddings of these topics' texts; those not stored yet are made and stored."""
    wanted = [text for text in texts if text not in index.known_texts]
    if embedder is None or not wanted:
        return
    stored = storage.models.text_vectors(embedder.fingerprint, wanted)
    index.known_texts.update({text: vector for text, (vector, _) in stored.items()})
    index.embedded_texts(list(texts))
    noted = [text for text in wanted if text not in stored or stored[text][1] < now - NOTED_EVERY]
    if noted:
        vectors = {text: index.known_texts[text] for text in noted}
        storage.models.store_text_vectors(embedder.fingerprint, vectors, now)


def forget_texts(storage: Storage, now: datetime) -> None:
    """Forgets the embeddings of topics that nobody had for a while."""
    storage.models.forget_text_vectors(now - FORGOTTEN_AFTER)
