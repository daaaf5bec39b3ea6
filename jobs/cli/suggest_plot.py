"""The trade-off as a plot in one HTML file that needs nothing else."""

from pathlib import Path
from typing import Any

from jobs.cli.suggest import Suggestion, value_of
from jobs.common.command import load
from jobs.common.errors import UserError
from jobs.common.policy_file import written


def draw(found: Suggestion, file: Path) -> None:
    """False verdicts as bars and hidden money as a line over the limits tried. UserError where it cannot be written."""
    subplots = load("plotly.subplots:make_subplots")
    titles = [f"{written(one.key)}: now {value_of(one.key, one.now)}, proposed {value_of(one.key, one.proposed)}"
              for one in found.measures]  # fmt: skip
    specs = [[{"secondary_y": True}] for _ in found.measures]
    figure = subplots(rows=len(found.measures), cols=1, subplot_titles=titles, specs=specs, vertical_spacing=0.08)
    for row, one in enumerate(found.measures, start=1):
        names = [f"{value_of(one.key, option.limit)}<br>{option.marks}" for option in one.options]
        colours = ["#d1495b" if "proposed" in option.marks else "#66788a" for option in one.options]
        place = {"row": row, "col": 1}
        figure.add_bar(
            **place,
            x=names,
            y=[option.false_verdicts for option in one.options],
            marker_color=colours,
            name="false verdicts",
            showlegend=row == 1,
        )
        figure.add_scatter(
            **place,
            secondary_y=True,
            x=names,
            # Only a height on a screen; the table has the exact amounts.
            y=[float(option.hidden_usd) for option in one.options],
            line_color="#00798c",
            name="hidden, USD",
            showlegend=row == 1,
        )
    axis: dict[str, Any] = {"rangemode": "tozero", "showgrid": False}
    figure.update_yaxes(**axis, title_text="false verdicts", secondary_y=False)
    figure.update_yaxes(**axis, title_text="hidden, USD", secondary_y=True)
    seen = found.seen
    title = (
        f"{found.supplier_id}, {seen.first} to {seen.last}: tighter limits accuse, looser ones hide; proposed in red"
    )
    figure.update_layout(title_text=title, height=360 * len(found.measures), template="plotly_white", margin_t=110)
    try:
        figure.write_html(file, include_plotlyjs=True)
    except OSError as error:
        raise UserError(
            f"--plot {file} cannot be written: {error.strerror}; name a file in a folder of yours."
        ) from error
