"""What was used and what it costs. It learns of things only by the meters of their events, never of their nouns."""
