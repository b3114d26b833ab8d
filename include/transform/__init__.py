"""How Airflow runs the dbt project: Cosmos settings, the gate before bronze, the layer state after each layer."""
