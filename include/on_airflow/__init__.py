"""The connection to Airflow: the only folder of `include/` that imports Airflow or Cosmos."""
