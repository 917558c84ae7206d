"""Blocks of the report: each asks one question of the synthetic set and answers with gates, metrics and drawings."""
