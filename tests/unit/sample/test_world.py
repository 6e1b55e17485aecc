import itertools

import numpy as np
import pytest

from laion_assets.sample.world import (
    ATTRIBUTES,
    COLOUR,
    COUNT,
    SHAPE,
    VALUES,
    Scenes,
    draw_scenes,
    held_out,
    render,
)

PURPOSES = ("crawl", "encoder", "calibration", "evaluation")


def combinations() -> np.ndarray:
    return np.array(list(itertools.product(*(range(len(VALUES[name])) for name in ATTRIBUTES[:3]))))


def test_about_a_tenth_of_the_combinations_is_held_out_and_every_pair_of_values_remains():
    everything = combinations()
    kept_back = held_out(*everything.T)
    assert 0.08 <= kept_back.mean() <= 0.12
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pairs = everything[:, [first, second]]
        assert len(np.unique(pairs[~kept_back], axis=0)) == len(np.unique(pairs, axis=0))


@pytest.mark.parametrize("purpose", PURPOSES)
def test_no_scene_shows_a_held_out_combination_unless_asked_to(purpose):
    scenes = draw_scenes(3000, purpose=purpose, seed=5)
    assert not held_out(*scenes.attributes[:, :3].astype(int).T).any()
    unseen = draw_scenes(500, purpose=purpose, seed=5, unseen=True)
    assert held_out(*unseen.attributes[:, :3].astype(int).T).all()


def test_purposes_and_seeds_draw_different_pictures_and_the_same_ones_again():
    drawn = {(purpose, seed): draw_scenes(50, purpose=purpose, seed=seed) for purpose in PURPOSES for seed in (0, 1)}
    rows = np.concatenate([scenes.variation for scenes in drawn.values()])
    assert len(np.unique(rows, axis=0)) == len(rows)
    again = draw_scenes(50, purpose="encoder", seed=1)
    assert (again.variation == drawn["encoder", 1].variation).all()


def test_every_value_of_every_attribute_is_drawn():
    scenes = draw_scenes(2000, purpose="crawl", seed=0)
    for column, name in enumerate(ATTRIBUTES):
        assert set(scenes.attributes[:, column]) == set(range(len(VALUES[name])))


def test_a_picture_does_not_depend_on_what_is_rendered_beside_it():
    scenes = draw_scenes(130, purpose="crawl", seed=3)
    together = render(scenes, 32)
    alone = render(scenes.take(slice(100, 103)), 32)
    assert together.shape == (130, 32, 32, 3)
    assert together.dtype == np.uint8
    assert (together[100:103] == alone).all()


def scene(**values: int) -> Scenes:
    base = draw_scenes(1, purpose="crawl", seed=9)
    attributes = np.zeros((1, 6), dtype=np.int8)
    for name, value in values.items():
        attributes[0, ATTRIBUTES.index(name)] = value
    return Scenes(attributes, base.variation)


def test_the_object_has_the_colour_it_should_have():
    red = render(scene(colour=0, position=4, size=1), 64, grain=0)[0, 32, 32].astype(int)
    blue = render(scene(colour=4, position=4, size=1), 64, grain=0)[0, 32, 32].astype(int)
    assert red[0] > red[1] + 80
    assert red[0] > red[2] + 80
    assert blue[2] > blue[0] + 80


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_pictures_that_differ_in_one_attribute_differ_to_the_eye_at_32_pixels(attribute):
    column = ATTRIBUTES.index(attribute)
    values = range(len(VALUES[attribute]))
    pictures = [render(scene(**{"size": 1, "position": 4, attribute: v}), 32, grain=0).astype(int) for v in values]
    for first, second in itertools.combinations(pictures, 2):
        visibly = (np.abs(first - second).max(axis=-1) > 40).sum()
        assert visibly >= 12, (column, visibly)


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_objects_stay_inside_the_picture(size, count):
    for position in range(5):
        plain = render(scene(size=size, count=count, position=position, colour=7), 96, grain=0)[0]
        border = np.concatenate([plain[0], plain[-1], plain[:, 0], plain[:, -1]]).astype(int)
        assert border.max(axis=1).min() > 60  # black ink is far darker than any background


def test_a_scene_looks_alike_at_two_resolutions():
    scenes = draw_scenes(40, purpose="crawl", seed=2)
    large = render(scenes, 64, grain=0).reshape(40, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    small = render(scenes, 32, grain=0)
    assert np.abs(large - small).mean() < 6


def test_indices_name_their_attributes():
    assert (ATTRIBUTES[SHAPE], ATTRIBUTES[COLOUR], ATTRIBUTES[COUNT]) == ("shape", "colour", "count")
