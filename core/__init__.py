"""What every app stands on: ids, context, errors, lifecycles, events, transactions. No HTTP and no business nouns."""
