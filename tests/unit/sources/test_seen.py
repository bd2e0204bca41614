import hypothesis.strategies as st
from hypothesis import given, settings

from pipeline.sources.seen import Seen

texts = st.lists(st.lists(st.one_of(st.sampled_from("abcdef"), st.text(max_size=2)), max_size=8))


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(0, 6))
def test_each_text_is_new_once_however_little_is_held(batches, held):
    seen, known = Seen(held), set()
    for batch in batches:
        expected = []
        for text in batch:
            expected.append(text not in known)
            known.add(text)
        assert seen.new(batch) == expected


def test_names_that_are_no_text_differ():
    assert Seen().new(["\udcff", "\udcfe", "?", "\udcff"]) == [True, True, True, False]
