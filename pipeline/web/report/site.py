"""What all pages of a report share: the templates and the menu."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jinja2

from pipeline.lake.manifest import version_of
from pipeline.web.pages import STATIC_POLICY, environment
from pipeline.web.report.names import page_name, split_name
from pipeline.web.report.publish import GENERATOR

MENU = {"Overview": "index", "People": "people", "Duplicates": "duplicates", "Speed": "speed",
        "Evaluation": "evaluation"}  # fmt: skip


def _templates() -> jinja2.Environment:
    templates = environment("pipeline.web.report")
    templates.globals |= {"page_name": page_name, "split_name": split_name}
    return templates


@dataclass(frozen=True)
class Site:
    """The report that is being written.

    Attributes:
        lake: name that pages show.
        evaluation: whether there is a page of evaluations.
    """

    lake: str
    evaluation: bool
    templates: jinja2.Environment = field(default_factory=_templates)
    made: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")

    def render(
        self, template: str, here: str, values: Mapping[str, Any], first: bool = True
    ) -> str:
        """Return a page; `here` is its entry in the menu, `first` whether the entry opens it."""
        menu = [
            (page_name(stem), text)
            for text, stem in MENU.items()
            if text != "Evaluation" or self.evaluation
        ]
        return self.templates.get_template(template).render(
            lake=self.lake, menu=menu, here=here, first=first, policy=STATIC_POLICY,
            generator=GENERATOR,
            version=version_of("facelake") or "of a checkout", made=self.made, **values,
        )  # fmt: skip
