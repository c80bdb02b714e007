"""The naive twin's models and views."""
