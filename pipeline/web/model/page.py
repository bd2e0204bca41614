"""Makes the page of a model."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.lake.manifest import version_of
from pipeline.lake.store import LakeStore
from pipeline.training.train import Page, Trained
from pipeline.web.model import figures, plots
from pipeline.web.model.confusion import matrix
from pipeline.web.model.pairs import pictures, wrong_pairs
from pipeline.web.pages import STATIC_POLICY, environment

PEOPLE, EPOCHS, REASONS = 300, 200, 40


def page_of(lake: LakeStore) -> Page:
    """Return what makes the page of a model that is learnt from this lake."""

    def page(trained: Trained, tables: Mapping[str, pa.Table]) -> str:
        return model_page(lake, trained, tables)

    return page


def model_page(lake: LakeStore, trained: Trained, tables: Mapping[str, pa.Table]) -> str:
    """Return the page of a model, HTML.

    Args:
        lake: where the thumbnails are.
        trained: what became of the training; its card may lack the files.
        tables: of the model's folder.
    """
    card = trained.card
    known, strangers = wrong_pairs(tables["told"], tables["samples"])
    shown, why = pictures(lake, [*known, *strangers])
    templates = environment("pipeline.web.model")
    templates.filters |= {"percent": figures.percent}
    return templates.get_template("model.html").render(
        policy=STATIC_POLICY,
        version=version_of("facelake") or "of a checkout",
        model=trained.folder.rstrip("/").rpartition("/")[2],
        card=card,
        numbers=figures.numbers(card),
        words=figures.in_words(card),
        facts=figures.facts(card),
        settings=figures.settings(card),
        measures=figures.measures(card),
        open_set=card["measures"]["open_set"],
        charts=[one for one in (
            plots.reliability(card["measures"]["open_set"]["reliability"]),
            plots.open_set(tables["told"], card),
        ) if one],
        network=_network(card, tables.get("history")),
        matrix=matrix(tables["confusion"].to_pylist(), [row["label"] for row in trained.people]),
        known=known,
        strangers=strangers,
        pictures=shown,
        no_pictures=why,
        notes=trained.notes,
        **_people(trained),
        **_left_out(trained),
    )  # fmt: skip


def _people(trained: Trained) -> dict[str, Any]:
    tested = [row for row in trained.people if row["tested"]]
    worst = sorted(tested, key=lambda row: (row["f1"], row["recall"], -row["tested"], row["label"]))
    rows = [row | {"interval": figures.between(row["f1_low"], row["f1_high"], 1)}
            for row in worst[:PEOPLE]]  # fmt: skip
    return {
        "people": rows,
        "perfect": sum(row["f1"] == 1 for row in tested),
        "not_shown": len(tested) - len(rows),
        "untested": len(trained.people) - len(tested),
    }


def _network(card: Mapping[str, Any], history: pa.Table | None) -> dict[str, Any] | None:
    network = card.get("network")
    if not network:
        return None
    rows: list[Mapping[str, Any]] = network["epochs"]
    best = next((row for row in rows if row["epoch"] == network["best_epoch"]), {})
    names = [name for name in ("loss", *plots.FIGURES, "likeness_of_strangers")
             if any(name in row for row in rows)]  # fmt: skip
    return {
        "charts": [one for one in (plots.loss(history), plots.epochs(network)) if one],
        "names": [name.replace("_", " ") for name in names],
        "best": [(plots.FIGURES[name], best[name]) for name in plots.FIGURES if name in best],
        "best_epoch": network["best_epoch"],
        "rows": [(row["epoch"], [row.get(name) for name in names]) for row in rows[:EPOCHS]],
        "of": len(rows),
    }


def _left_out(trained: Trained) -> dict[str, Any]:
    reasons: Counter[str] = Counter()
    for one in trained.left_out:
        reasons[one.reason] += one.count
    return {"left_out": reasons.most_common(REASONS), "reasons": len(reasons)}
