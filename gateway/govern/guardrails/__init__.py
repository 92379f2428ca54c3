"""Guardrails: small judges of what models are asked, by alias and tenant."""
