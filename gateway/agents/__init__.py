"""Agents: what they are, how a turn runs, what they cite."""
