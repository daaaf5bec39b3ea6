"""The streaming job: raw topics to bronze, silver, quarantine and the canonical topics."""
