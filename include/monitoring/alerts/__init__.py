"""From verdicts to alerts, and from alerts to notices and their mail."""
