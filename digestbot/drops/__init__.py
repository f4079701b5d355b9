"""Drops: files with papers, in every format people have. reading.py finds the format from the content; folder.py is
where drops wait."""
