"""Generated workloads: deliveries of one supplier over a few days, drawn towards the edges of every rule."""
