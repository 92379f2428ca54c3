"""Sessions: what was said, per tenant, client and end user."""
