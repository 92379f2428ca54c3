"""Sessions: what was said, per tenant and client."""
