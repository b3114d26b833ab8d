"""How long a quote takes from Kafka to gold on a laptop stack."""
