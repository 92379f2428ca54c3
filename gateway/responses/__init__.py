"""Responses: one answer of a model or an agent as items and events, kept for later."""
