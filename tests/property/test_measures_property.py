import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from pipeline.evaluation.measures.clustering import RATES, evaluate

FAST = settings(max_examples=100, deadline=None)
faces = st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 4)), min_size=1)


def brute_force(labels, clusters):
    """Rates by looking at every pair of faces."""
    names = [("alone", i) if c is None else c for i, c in enumerate(clusters)]
    everybody = range(len(labels))
    same = [[names[i] == names[j] for j in everybody] for i in everybody]
    true = [[labels[i] == labels[j] for j in everybody] for i in everybody]
    both = [[same[i][j] and true[i][j] for j in everybody] for i in everybody]

    def pairs(table):
        return sum(table[i][j] for i in everybody for j in range(i))

    def mean_share(table):
        return sum(sum(both[i]) / sum(table[i]) for i in everybody) / len(labels)

    precision = pairs(both) / pairs(same) if pairs(same) else 1
    recall = pairs(both) / pairs(true) if pairs(true) else 1
    b_precision, b_recall = mean_share(same), mean_share(true)

    def harmonic(a, b):
        return 2 * a * b / (a + b) if a + b else 0

    return (precision, recall, harmonic(precision, recall),
            b_precision, b_recall, harmonic(b_precision, b_recall))  # fmt: skip


@FAST
@given(faces)
def test_rates_are_those_of_all_pairs(pairs):
    labels, clusters = zip(*pairs, strict=True)
    result = evaluate(labels, clusters, bootstrap=0)
    assert [result[name] for name in RATES] == pytest.approx(brute_force(labels, clusters))


@FAST
@given(faces, st.randoms(use_true_random=False))
def test_measures_are_shares_and_depend_on_neither_order_nor_names(pairs, random):
    labels, clusters = zip(*pairs, strict=True)
    result = evaluate(labels, clusters, groups=[label % 2 for label in labels], bootstrap=5)
    for name in (*RATES, "nmi", "purity"):
        assert -1e-9 <= result[name] <= 1 + 1e-9
    shuffled = list(pairs)
    random.shuffle(shuffled)
    other = evaluate(
        [f"person {label}" for label, _ in shuffled],
        [None if c is None else f"cluster {c}" for _, c in shuffled],
        bootstrap=0,
    )
    for name in (*RATES, "nmi", "purity", "faces", "clusters"):
        assert other[name] == pytest.approx(result[name])
