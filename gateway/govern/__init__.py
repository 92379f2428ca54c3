"""What a request may take, and what it took: limits, budgets, ledger, audit, masking."""
