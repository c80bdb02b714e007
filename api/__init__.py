"""The `/v1` contract, once: envelope, errors, paging, filters, idempotency, limits. No business nouns."""
