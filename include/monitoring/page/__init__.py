"""The page Pipeline Health, from reading to HTML. In order: `health`, `trends`, `read_model`, `view`, `templates/`."""
