"""Text to vectors, profile to scores, reasons and diversity. Pure: values in, values out. docs/ranking.md tells how."""

from digestbot.ranking.batch import BatchProfile, BatchRanking, rank_batch
from digestbot.ranking.candidates import Index, embed_papers, index
from digestbot.ranking.embedding import Embedder, load_embedder
from digestbot.ranking.explanation import Explanation, Part, explain
from digestbot.ranking.fitting import fit
from digestbot.ranking.limits import MOST_WEIGHT, check_topics
from digestbot.ranking.scoring import Limits, Ranker, Ranking, embedded_texts, rank
from digestbot.ranking.statistics import Embeddings, Model, StaleModel, load
from digestbot.ranking.trending import trending

__all__ = [
    "MOST_WEIGHT",
    "BatchProfile",
    "BatchRanking",
    "Embedder",
    "Embeddings",
    "Explanation",
    "Index",
    "Limits",
    "Model",
    "Part",
    "Ranker",
    "Ranking",
    "StaleModel",
    "check_topics",
    "embed_papers",
    "embedded_texts",
    "explain",
    "fit",
    "index",
    "load",
    "load_embedder",
    "rank",
    "rank_batch",
    "trending",
]
