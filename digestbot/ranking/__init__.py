"""Text to vectors, profile to scores, reasons and diversity. Pure: values in, values out. docs/ranking.md tells how."""

from digestbot.ranking.candidates import Index, index
from digestbot.ranking.diversity import diversify
from digestbot.ranking.explanation import Explanation, Part, explain
from digestbot.ranking.limits import check_topics
from digestbot.ranking.scoring import Ranking, rank
from digestbot.ranking.statistics import Model, StaleModel, fit, load
from digestbot.ranking.trending import trending

__all__ = [
    "Explanation",
    "Index",
    "Model",
    "Part",
    "Ranking",
    "StaleModel",
    "check_topics",
    "diversify",
    "explain",
    "fit",
    "index",
    "load",
    "rank",
    "trending",
]
