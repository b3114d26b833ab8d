"""The work of the Crypto Lakehouse: importable and testable without Airflow."""
