"""Saved segments and their counts as callers see them."""

from chalicelib.base.shapes import Count, Instant, Shape
from chalicelib.datasets.shapes import Segment


class SavedSegment(Shape):
    """A segment under a number."""

    segment_id: int
    """The number by which raw exports name it."""
    name: str
    """What people call it."""
    segment: Segment | None
    """Which participants it is; null for all that are not purged."""
    created_at: Instant
    """When it was saved."""


class SegmentCount(Shape):
    """How many users a segment has."""

    users: Count
    """Participants that match, purged ones never."""
    filters_applied: Count
    """Conditions of the segment, at any depth."""
