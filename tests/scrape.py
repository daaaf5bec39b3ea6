"""What the endpoint for Prometheus says, asked over HTTP as Prometheus asks."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from jobs.cli.broker import free_port
from jobs.common.metrics import endpoint
from jobs.common.settings import Metrics

__all__ = ["free_port", "scrape", "scraped_here"]


def scrape(port: int) -> dict[str, float]:
    """Every series by `name{label="value",…}`, labels sorted, and its value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {
        f"{sample.name}{{{','.join(labels)}}}" if labels else sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for labels in [[f'{name}="{value}"' for name, value in sorted(sample.labels.items())]]
    }


def scraped_here() -> dict[str, float]:
    """The same of this process."""
    port = free_port()
    with endpoint(Metrics(port=port)):
        return scrape(port)
