import pytest

from pipeline.config import MAX_PART_IMAGES, MIN_PART_IMAGES, PoolConfig
from pipeline.errors import ResourceError
from pipeline.executor.resources import DECODE_CPUS, READ_CPUS, WRITE_CPUS, size


def sized(cpus, gpus=0.0, images=100_000, device="auto", **pools):
    return size(cpus, gpus, PoolConfig(**pools), device=device, images=images, image_bytes=300_000)


def cpus_of(sizing):
    return sizing.detect_actors * sizing.detect_cpus + sizing.embed_actors * sizing.embed_cpus


@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 7, 8, 16, 64, 96])
@pytest.mark.parametrize("gpus", [0, 1, 2, 4, 8])
@pytest.mark.parametrize("images", [1, 30, 1000, 10_000_000])
def test_defaults_fit_every_cluster_with_room_to_read_and_write(cpus, gpus, images):
    sizing = sized(cpus, gpus, images)
    apart = DECODE_CPUS if sizing.decode_apart else 0
    assert sizing.detect_actors >= 1
    assert sizing.embed_actors >= 1
    assert cpus_of(sizing) + apart + READ_CPUS + WRITE_CPUS <= cpus + 1e-6
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
