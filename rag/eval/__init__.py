"""Measuring retrieval: sets of questions with known answers, and what was found scored by them."""
