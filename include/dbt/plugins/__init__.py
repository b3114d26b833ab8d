"""Plugins of dbt-duckdb."""
