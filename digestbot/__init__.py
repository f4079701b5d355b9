"""digestbot: personal daily digests of new papers, chosen well and sent safely."""

__version__ = "0.1.0"
