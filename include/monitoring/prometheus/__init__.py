"""The catalogue for Prometheus: names, samples for a scrape, alert rules, and Grafana's dashboard."""
