"""A scoreboard of alerts: what the mails say when twelve things break in the real stack."""
