import pytest

from pipeline.config import MAX_PART_IMAGES, MIN_PART_IMAGES, PoolConfig
from pipeline.errors import ResourceError
from pipeline.executor.resources import DECODE_CPUS, size


def sized(cpus, gpus=0.0, images=100_000, device="auto", **pools):
    return size(cpus, gpus, PoolConfig(**pools), device=device, images=images, image_bytes=300_000)


def cpus_of(sizing):
    return sizing.detect_actors * sizing.detect_cpus + sizing.embed_actors * sizing.embed_cpus


@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 7, 8, 16, 64, 96])
@pytest.mark.parametrize("gpus", [0, 1, 2, 4, 8])
@pytest.mark.parametrize("images", [1, 30, 1000, 10_000_000])
def test_defaults_fit_every_cluster(cpus, gpus, images):
    sizing = sized(cpus, gpus, images)
    apart = DECODE_CPUS if sizing.decode_apart else 0
    assert sizing.detect_actors >= 1
    assert sizing.embed_actors >= 1
    assert cpus_of(sizing) + apart <= cpus + 1e-6
    used = sizing.detect_actors * sizing.detect_gpus + sizing.embed_actors * sizing.embed_gpus
    assert used <= gpus + 1e-6
    assert (used > 0) == (gpus > 0)
    assert MIN_PART_IMAGES <= sizing.part_images <= MAX_PART_IMAGES


def test_a_cpu_cluster_gets_a_pair_a_core():
    assert sized(8).detect_actors == sized(8).embed_actors == 8
    assert not sized(8).decode_apart
    assert sized(16, 1).detect_actors == 2
    assert sized(16, 1).decode_apart


def test_few_images_get_few_processes():
    assert sized(64, images=15).detect_actors == 1
    assert sized(64, images=100).detect_actors == 5
    assert sized(64, images=0).detect_actors == 1


def test_what_is_asked_for_is_kept():
    sizing = sized(8, 2, detect_actors=3, embed_actors=1, detect_gpus=0.5, embed_gpus=0.25)
    assert (sizing.detect_actors, sizing.embed_actors) == (3, 1)
    assert (sizing.detect_gpus, sizing.embed_gpus) == (0.5, 0.25)
    assert sized(8, part_images=7).part_images == 7


def test_pools_grow_as_far_as_photos_are_worth_it_unless_their_size_is_given():
    small, large = sized(2, images=240), sized(8, images=100)
    assert (small.detect_actors, small.detect_most, small.embed_most) == (2, 10, 4)
    assert large.detect_actors == large.detect_most == 5
    given = sized(8, detect_actors=3, embed_actors=1)
    assert (given.detect_most, given.embed_most) == (3, 1)


@pytest.mark.parametrize("cpus", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("more", [1, 2, 4, 8])
def test_a_node_that_joins_has_room_for_a_detector_a_core_beside_what_embedders_may_take(
    cpus, more
):
    sizing = sized(cpus)
    kept = (sizing.embed_most - sizing.embed_actors) * sizing.embed_cpus
    free = cpus - cpus_of(sizing) + more - kept
    assert int(free / sizing.detect_cpus + 1e-6) == more
    assert int((cpus - cpus_of(sizing)) / sizing.detect_cpus) <= cpus // 16


def test_the_device_decides_about_gpus():
    assert sized(16, 2, device="cpu").detect_gpus == 0
    assert sized(16, 2, device="cuda").detect_gpus > 0
    with pytest.raises(ResourceError, match=r"has no GPU; start it with GPUs or use --device cpu"):
        sized(16, 0, device="cuda")


@pytest.mark.parametrize(
    "pools", [{"detect_actors": 12}, {"embed_actors": 99}, {"detect_gpus": 0.5}]
)
def test_more_than_there_is_says_what_to_lower(pools):
    with pytest.raises(ResourceError, match=r"the cluster has 8 and 0; lower --detect-actors"):
        sized(8, **pools)
