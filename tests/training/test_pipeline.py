"""Unit tests of the training pipeline: what its parts promise each other. Run by `make train-determinism`."""
from __future__ import annotations

import hashlib
import sys
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "training"))
import ablation  # noqa: E402  (the path is set above)
import average  # noqa: E402
import config as configs  # noqa: E402
import dense  # noqa: E402
import draw  # noqa: E402
import export  # noqa: E402
import scenes  # noqa: E402
import train  # noqa: E402
import trim  # noqa: E402
from model import Encoder, Windows, embed, embed_windows, network_of, of_chip, standardise, window_weights  # noqa: E402

SMOKE = configs.DEFAULT.with_name("smoke.toml")
CPU = torch.device("cpu")
COPIES = (5, 3)  # of the chip's mean and contrast, where a test says no others


def smoke(*settings: str) -> configs.Config:
    return configs.load(SMOKE, ["run.validation_episodes=0", *settings])


class Vectors(unittest.TestCase):
    def test_a_silent_channel_gives_zero_and_a_finite_slope(self) -> None:
        maps = torch.rand(6, 4, 5, 5)
        maps[:, 2] = 0
        maps.requires_grad_()
        vectors = embed([maps], COPIES)
        self.assertTrue(bool((vectors[:, [2, 6]] == 0).all()))
        standardise(vectors, train.TRAINING_FLOOR)[:, :4].sum().backward()
        self.assertTrue(bool(torch.isfinite(maps.grad).all()))

    def test_a_silent_channel_stays_silent_when_standardised(self) -> None:
        maps = torch.rand(6, 4, 5, 5) * torch.tensor([1, 1, 0, 1.0])[:, None, None]
        for floor in (train.FLOOR, train.TRAINING_FLOOR):
            self.assertEqual(standardise(embed([maps], COPIES), floor)[:, [2, 6]].abs().max().item(), 0)

    def test_training_standardises_nearly_as_the_service(self) -> None:
        vectors = 0.1 + 0.02 * torch.randn(24, 64)
        apart = (standardise(vectors) - standardise(vectors, train.TRAINING_FLOOR)).abs().max().item()
        self.assertLess(apart, 0.01)

    def test_each_image_is_standardised_by_itself(self) -> None:
        vectors = torch.rand(12, 8)
        by_image = train.by_image(vectors, 3)
        for image in range(3):
            torch.testing.assert_close(by_image[image], standardise(vectors[4 * image : 4 * image + 4]))

    def test_stage_0_is_what_is_slow_in_the_chip(self) -> None:
        net = Encoder(smoke("network.pool_stages=[0, 4]", "network.chip_copies=[5, 3]").network).eval()
        chips = torch.full((2, 1, 48, 48), 0.25)
        chips[1, 0, :18] = 0.75  # covers a window of 16
        chips += 0.1 * torch.tensor([1.0, -1.0]).repeat(24)  # a lattice, finer than the windows
        with torch.no_grad():
            vectors = embed(net(chips), net.network.chip_copies)
        self.assertEqual(vectors.shape, (2, 5 + 3 + 2 * 128))
        mean, contrast, _ = vectors.split([5, 3, 2 * 128], 1)
        for part, copies, wanted in ((mean, 5, [0.25, 0.25 + 0.5 * 18 / 48]), (contrast, 3, [0, 0.5])):
            expected = torch.tensor(wanted)[:, None].expand(-1, copies)
            torch.testing.assert_close(part * copies**0.5, expected, atol=1e-4, rtol=0)


class Canvases(unittest.TestCase):
    def test_a_position_counts_what_its_cell_shares_with_the_window(self) -> None:
        weights = window_weights(4, 8, 0.5, (0.0, 6.5, 20.0), 12, CPU)  # cells -3.5..4.5..12.5..20.5..28.5
        expected = torch.tensor([[4.5, 7.5, 0, 0], [0, 6, 6, 0], [0, 0, 0.5, 11.5]]) / 12
        torch.testing.assert_close(weights, expected)

    def test_a_window_of_whole_cells_is_pooled_as_a_chip_is(self) -> None:
        maps = 100 + torch.rand(2, 5, 9, 9)
        windows = Windows((0.5 - 2, 16.5 - 2), (0.5 - 2, 8.5 - 2), 16)
        pooled = windows.pool(maps, 1)
        parts = [maps[:, :, y : y + 4, x : x + 4] for y in (0, 4) for x in (0, 2)]
        expected = torch.stack([embed([part], COPIES) for part in parts], 1).flatten(0, 1)
        torch.testing.assert_close(pooled, expected, atol=1e-4, rtol=1e-4)

    def test_every_chip_lies_in_its_window(self) -> None:
        chosen = smoke("episode.images=2", "episode.ways=3", "episode.samples=4", "episode.input_sizes=[32]")
        for number in range(4):
            drawn = train.sheet(chosen, 1, number, CPU)
            seen, chips, windows = train.canvases(chosen, drawn)
            self.assertEqual(seen.shape, (2, 1, 3 * 48 - 8, 4 * 48 - 8))
            alone = draw.inner(drawn.fields, 32).float()
            places = [(y, x) for y in map(int, windows.tops) for x in map(int, windows.lefts)]
            for image in range(2):
                self.assertEqual(sorted(drawn.order[image].tolist()), list(range(12)))
                for cell, (y, x) in enumerate(places):
                    window = seen[image, 0, y : y + 32, x : x + 32]
                    self.assertTrue(torch.equal(window, chips[image * 12 + cell, 0]))
                    self.assertTrue(torch.equal(window, alone[image, drawn.order[image, cell]]))

    def test_the_vectors_of_a_canvas_are_of_the_chips_kind(self) -> None:
        chosen = smoke("episode.images=2")
        net = Encoder(chosen.network).eval()
        seen, chips, windows = train.canvases(chosen, train.sheet(chosen, 1, 0, CPU))
        with torch.no_grad():
            within = embed_windows(net(seen), chosen.network, chips, windows)
            alone = embed(net(chips), net.network.chip_copies)
        self.assertEqual(within.shape, alone.shape)
        self.assertGreater(F.cosine_similarity(within, alone).min().item(), 0.8)


class CentrePixels:
    """In place of a network: each position of its maps says which grey value it is centred on."""

    network = smoke("network.pool_stages=[0, 1, 2, 3, 4]").network

    def eval(self) -> None:
        pass

    def __call__(self, tile: torch.Tensor) -> list[torch.Tensor]:
        return [tile] + [tile[:, :, ::step, ::step].expand(-1, 3, -1, -1) for step in (4, 8, 16, 32)]


class Images(unittest.TestCase):
    """How the chips of a whole image are encoded."""

    def test_an_image_is_scaled_as_a_chip_is(self) -> None:
        for height, width, chip in ((96, 192, 64), (60, 40, 20), (48, 96, 48)):
            image = torch.rand(height, width)
            size = (height * 48 // chip, width * 48 // chip)
            expected = F.interpolate(image[None, None], size, mode="bilinear", align_corners=False, antialias=True)[0, 0]
            torch.testing.assert_close(torch.from_numpy(dense.scaled(image.numpy(), 48, (chip, chip))), expected)
        self.assertEqual(dense.scaled(np.ones((65, 100), np.float32), 48, (64, 50)).shape, (49, 96))

    def test_tiles_are_of_the_size_that_has_the_fewest_pixels(self) -> None:
        for n, core in ((48, 64), (96, 96), (97, 128), (320, 320), (480, 160), (481, 256), (1536, 256)):
            self.assertEqual(dense.core_of(n, n, 16), core, n)
        self.assertEqual(dense.core_of(4000, 4000, 128) % 32, 0)

    def test_what_lies_beyond_the_margin_is_its_last_pixel(self) -> None:
        self.assertEqual(dense.mirrored(-3, 12, 5, 2).tolist(), [2, 1, 0, 0, 1, 2, 3, 4, 4, 3, 3, 3])

    def test_maps_are_rounded_to_half_precision_without_its_subnormal_numbers(self) -> None:
        values = np.array([0, 2**-14 - 2**-40, 2**-14, 1 + 2**-11, 1 + 3 * 2**-11, 1e6], np.float64)
        self.assertEqual(dense.rounded(values, 1).tolist(), [0, 0, 2**-14, 1, 1 + 2**-9, 65504])
        self.assertEqual(dense.rounded(np.array([0.3]), 0).tolist(), [round(0.3 * 65535) / 65535])

    def test_every_position_is_centred_on_its_own_pixel(self) -> None:
        for height, width in ((30, 700), (130, 517), (300, 300)):
            image = np.random.default_rng(1).random((height, width)).astype(np.float32)
            stages = dense.kept(dense.maps_of(CentrePixels(), image))
            for number in range(1, 5):
                stage = stages[number]
                y, x = (int(stage.first) + stage.step * np.arange(n) for n in stage.map.shape[1:])
                self.assertEqual(stage.map.shape[1:], (max(1, len(range(int(y[0]), height, stage.step))),
                                                       max(1, len(range(int(x[0]), width, stage.step)))))
                expected = image[np.ix_(np.minimum(y, height - 1), np.minimum(x, width - 1))]
                np.testing.assert_allclose(stage.map[2], expected, atol=1e-3)

    def test_windows_are_pooled_as_in_training(self) -> None:
        m = torch.rand(1, 6, 13, 13)
        starts = (0.0, 5.25, 56.0)
        pooled = Windows(starts, starts, 48).pool(m, 2)
        stage = dense.Stage(m[0].numpy(), 8, 0.5)
        for i, (top, left) in enumerate((top, left) for top in starts for left in starts):
            mean, variance = stage.moments(top, left, 48)
            expected = np.concatenate([dense.unit(mean), dense.unit(np.sqrt(variance))])
            np.testing.assert_allclose(pooled[i].numpy(), expected, atol=1e-5)

    def test_stage_0_of_whole_cells_is_the_chips_own(self) -> None:
        chosen = smoke("network.pool_stages=[0, 4]", "network.chip_copies=[5, 3]")
        net, image = Encoder(chosen.network).eval(), torch.rand(96, 144)
        vectors = dense.embed_image(net, image.numpy(), (48, 48), [(0, 0), (48, 24), (96, 48)])
        chips = torch.stack([image[y : y + 48, x : x + 48] for x, y in ((0, 0), (48, 24), (96, 48))])[:, None]
        numbers = of_chip(chips, COPIES)
        self.assertEqual(vectors.shape, (3, 5 + 3 + 2 * 128))
        torch.testing.assert_close(vectors[:, :5], numbers[:, :5], atol=1e-4, rtol=0)
        apart = vectors[:, :8] - numbers
        self.assertLess(apart.abs().max().item(), 0.01)  # the chip's own windows start at whole pixels, not cells


class Drawings(unittest.TestCase):
    def test_shade_takes_a_share_of_the_ground(self) -> None:
        ground = scenes.Material(scenes.Flat(), 0.8, 0.0, 0.0)
        shape = scenes.Shape("objects", size=40.0, soft=0.1)  # covers the chip
        scene = scenes.Scene(ground, ground, shape, shade=(-0.75, -0.25))
        drawn = draw.draw_scene(scene, 200, draw.Field(32, 32)).mean((1, 2)) / 0.8
        self.assertGreater(drawn.min().item(), 0.24)
        self.assertLess(drawn.max().item(), 0.8)
        self.assertGreater(drawn.std().item(), 0.1)

    def test_mottle_wanders_in_every_chip(self) -> None:
        torch.manual_seed(2)
        ground = scenes.Material(scenes.Flat(), 0.8, 0.0, 0.0)
        drawn = draw.draw_scene(scenes.Scene(ground, ground, scenes.Shape("none"), mottle=0.1, mottle_frequency=0.05), 400, draw.Field(64, 64))
        self.assertAlmostEqual((drawn / 0.8).var((1, 2)).mean().sqrt().item(), 0.1, delta=0.03)
        self.assertGreater(drawn.std((1, 2)).min().item(), 0.005)
        steps = (drawn[:, 1:] - drawn[:, :-1]).std().item()
        self.assertLess(steps, 0.4 * drawn.std().item())

    def test_clean_chips_show_less_than_damaged_ones(self) -> None:
        dice = scenes.Dice(3)
        topics = {name: float(name == "damage") for name in smoke().world.topics}
        dice.world = replace(smoke("world.traces_share=1.0").world, topics=topics)
        for _ in range(50):
            made = scenes.related_scenes(dice, 4, 64)
            strongest = sorted(max(map(abs, scene.shade)) for scene in made)
            self.assertLess(strongest[0], strongest[1])

    def test_a_chip_of_a_mixed_class_shows_one_of_its_scenes(self) -> None:
        first, *others = (
            scenes.Scene(material, material, scenes.Shape("none"))
            for material in (scenes.Material(scenes.Flat(), level, 0.0, 0.0) for level in (0.2, 0.5, 0.8))
        )
        drawn = draw.draw_scene(replace(first, also=tuple(others)), 6, draw.Field(16, 16))
        self.assertEqual(drawn.shape, (6, 16, 16))
        torch.testing.assert_close(drawn.mean((1, 2)), torch.tensor([0.2, 0.5, 0.8] * 2), atol=1e-5, rtol=0)
        self.assertLess(drawn.std((1, 2)).max().item(), 1e-5)

    def test_boundaries_lie_between_two_grains_of_a_wedge(self) -> None:
        dice = scenes.Dice(4)
        dice.world = smoke().world
        for _ in range(50):
            first, second, *neither = scenes.boundary_scenes(dice, 64)
            self.assertIsInstance(first.ground.pattern, scenes.Crystal)
            self.assertIsInstance(second.ground.pattern, scenes.Crystal)
            self.assertNotEqual(first.ground.pattern, second.ground.pattern)
            self.assertGreater(min(first.ground.fading, second.ground.fading), 0.3)
            self.assertEqual(len(neither), 2)
            self.assertEqual(sum(bool(scene.also) for scene in neither), 1)  # what is neither may be several things

    def test_classes_beyond_a_topics_own_share_nothing_with_a_mixed_one(self) -> None:
        dice = scenes.Dice(5)
        dice.world = replace(smoke().world, topics={"boundary": 1.0})
        for _ in range(50):
            made = scenes.related_scenes(dice, 12, 64)
            self.assertEqual(len(made), 12)
            self.assertEqual(sum(bool(scene.also) for scene in made), 1)

    def test_a_margin_leaves_the_chip_as_it_is(self) -> None:
        scene = scenes.Scene(scenes.Material(scenes.Flat(), 0.8, 0.3, 0.0), scenes.Material(scenes.Flat(), 0.2, 0.3, 0.0),
                             scenes.Shape("half", soft=2.0))
        drawn = []
        for side in (32, 48):
            torch.manual_seed(3)
            drawn.append(draw.inner(draw.draw_scene(scene, 8, draw.Field(32, side)), 32))
        torch.testing.assert_close(drawn[0], drawn[1])

    def test_neighbours_are_seen_beyond_the_chip(self) -> None:
        dice = scenes.Dice(6)
        dice.world = smoke("world.neighbours_share=1.0", "world.neighbour_distance=[0.6, 0.7]").world
        fields = torch.arange(40.0)[:, None, None].expand(40, 96, 96).contiguous()
        apart = draw.surrounded(dice, fields, draw.field_of(64, 0.25)) - fields
        self.assertGreater((apart.abs() > 0.5).any(-1).any(-1).float().mean().item(), 0.8)
        self.assertLess(draw.inner(apart, 32).abs().max().item(), 0.5)

    def test_the_image_is_mirrored_beyond_its_edge(self) -> None:
        dice = scenes.Dice(7)
        dice.world = smoke("world.edge_share=1.0").world
        fields = torch.rand(200, 24, 24)
        seen = draw.mirrored(dice, fields, draw.Field(16, 24))
        self.assertTrue(torch.equal(draw.inner(seen, 16), draw.inner(fields, 16)))
        at_edge = [torch.equal(m[20:], m[16:20].flip(0)) for m in seen]
        self.assertGreater(sum(at_edge), 5)
        self.assertLess(sum(at_edge), 60)

    def test_patches_cover_their_share(self) -> None:
        torch.manual_seed(1)
        for fill in (0.1, 0.5):
            drawn = draw.draw_patches(scenes.Shape("patches", size=6.0, fill=fill, soft=0.01), 200, draw.Field(48, 48))
            self.assertAlmostEqual((drawn > 0.25).float().mean().item() / fill, 1.1, delta=0.2)

    def test_lines_are_thin_and_dotted_ones_thinner(self) -> None:
        covered = []
        for waves in (0.0, 1.0):
            torch.manual_seed(1)
            drawn = draw.draw_lines(scenes.Shape("lines", size=1.0, count=1, waves=waves), 100, draw.Field(64, 64))
            covered.append((drawn > 0.5).float().mean().item())
        self.assertLess(covered[0], 0.06)
        self.assertGreater(covered[0], 0.005)
        self.assertLess(covered[1], 0.7 * covered[0])

    def test_every_topic_draws_grey_values(self) -> None:
        topics = list(smoke().world.topics)
        for topic in topics:
            only = [f"world.topics.{name}={1.0 if name == topic else 0.0}" for name in topics]
            chosen = smoke(*only)
            for number in range(3):
                chips = draw.episode(chosen.world, chosen.episode, 5, number, 32)
                self.assertLess((chips - 0.5).abs().max().item(), 0.5001, topic)
                self.assertGreater(chips.std().item(), 0, topic)

    def test_unrelated_classes_differ_more(self) -> None:
        spread = []
        for share in ("0.0", "1.0"):
            chosen = smoke(f"world.unrelated_share={share}")
            episodes = [draw.episode(chosen.world, chosen.episode, 3, number, 32) for number in range(12)]
            brightness = torch.stack(episodes).mean((-1, -2))  # episodes, images, ways, samples
            spread.append(brightness.mean(-1).std(-1).mean().item())
        self.assertGreater(spread[1], spread[0])


class Choices(unittest.TestCase):
    def test_bad_values_are_named(self) -> None:
        for setting, word in (
            ('run.start="zz"', "run.start"),
            ("optimiser.cycles=0", "optimiser.cycles"),
            ("episode.input_sizes=[8]", "episode.input_sizes"),
            ("episode.input_sizes=[]", "episode.input_sizes"),
            ("network.pool_stages=[0]", "network.pool_stages"),
            ("network.widths=[32, 1, 8, 8]", "network.widths"),
            ("network.widths=[8, 8, 8, 8, 8]", "network.widths"),
            ("network.depths=[2, 2, 2]", "network.depths"),
            ("network.pool_stages=[0, 5]", "network.pool_stages"),
            ("network.pool_stages=[2, 1]", "network.pool_stages"),
            ("network.chip_copies=[24]", "network.chip_copies"),
            ("network.chip_copies=[24, 0]", "network.chip_copies"),
            ("network.chip_copies=[257, 32]", "network.chip_copies"),
            ("world.unrelated_share=-1.0", "world.unrelated_share"),
            ("world.margin=0.2", "world.margin"),
            ("world.margin=0.75", "world.margin"),
            ("optimiser.average=1.0", "optimiser.average"),
        ):
            with self.assertRaisesRegex(configs.ConfigError, word):
                smoke(setting)

    def test_stages_that_have_no_width_are_not_pooled(self) -> None:
        with self.assertRaisesRegex(configs.ConfigError, "network.pool_stages"):
            smoke("network.widths=[16, 32, 64]", "network.depths=[1, 1, 1]")

    def test_every_row_of_the_ablation_is_a_config_of_its_own(self) -> None:
        chosen = {str(configs.load(configs.DEFAULT, ablation.BUDGET + row).as_dict()) for _, row in ablation.ROWS}
        self.assertEqual(len(chosen), len(ablation.ROWS))


class Training(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.out = Path(self.folder.name) / "net.safetensors"

    def trainer(self, *settings: str) -> train.Trainer:
        return train.Trainer(smoke(*settings), self.out, CPU)

    def test_the_rate_falls_in_each_cycle_and_rises_again(self) -> None:
        trainer = self.trainer("run.steps=10", "optimiser.cycles=2", "optimiser.warm_up=1")
        rates = []
        for trainer.progress.step in range(10):
            rates.append(trainer.learning_rate())
        self.assertEqual(rates[:5], rates[5:])
        self.assertEqual(rates[:5], sorted(rates[:5], reverse=True))

    def test_the_end_of_a_cycle_is_kept(self) -> None:
        trainer = self.trainer("run.steps=10", "optimiser.cycles=2")
        for trainer.progress.step in range(1, 11):
            trainer.keep_cycle()
        self.assertEqual([path.name for path in sorted(self.out.parent.glob("*.cycle*"))], ["net.cycle1.safetensors"])

    def test_starts_from_given_weights(self) -> None:
        first = self.trainer("run.seed=5")
        first.save()
        second = self.trainer("run.seed=6", f'run.start="{hashlib.sha256(self.out.read_bytes()).hexdigest()}"')
        self.assertFalse(torch.equal(first.net.conv1.weight, second.net.conv1.weight))
        second.begin(self.out)
        tensors, said = export.read(self.out)
        for name, tensor in second.net.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                torch.testing.assert_close(tensor, tensors[name], msg=name)
        self.assertEqual(said["training"]["config"]["run"]["start"], "nothing")

    def test_stages_that_are_not_built_are_left_out_of_what_it_starts_from(self) -> None:
        self.trainer().save()
        second = self.trainer("network.widths=[16, 32, 64]", "network.depths=[1, 1, 1]", "network.pool_stages=[0, 2, 3]")
        second.begin(self.out)
        before = export.read(self.out)[0]
        second.save()
        after = export.read(self.out)[0]
        self.assertEqual({name for name in before if not name.startswith("layer4.")}, set(after))
        self.assertTrue(all(torch.equal(before[name], tensor) for name, tensor in after.items()))

    def test_stages_after_the_last_pooled_one_are_not_built(self) -> None:
        self.trainer("network.pool_stages=[0, 2]").save()
        tensors, said = export.read(self.out)
        self.assertFalse([name for name in tensors if name.startswith(("layer3.", "layer4."))])
        network = network_of(tensors, said)
        self.assertEqual((network.widths, network.pool_stages, network.chip_copies), ((16, 32), (0, 2), (24, 32)))

    def test_a_trained_file_is_trimmed(self) -> None:
        self.trainer().save()
        trained, shipped = self.out.rename(self.out.with_name("trained.safetensors")), self.out
        words = ["trim.py", str(trained), "--out", str(shipped), "--config", str(SMOKE), "--set", 'name="shipped"',
                 "--set", "network.pool_stages=[0, 1, 2]", "--set", "network.chip_copies=[2, 3]",
                 "--set", "network.input_size=40"]
        with mock.patch.object(sys, "argv", words):
            trim.main()
        (before, was), (after, said) = export.read(trained), export.read(shipped)
        self.assertEqual({name for name in before if not name.startswith(("layer3.", "layer4."))}, set(after))
        self.assertTrue(all(torch.equal(before[name], tensor) for name, tensor in after.items()))
        self.assertEqual((said["name"], said["input_size"], said["encoding"]), ("shipped", 40, "dense"))
        self.assertEqual(said["pool"], {"stages": [0, 1, 2], "statistics": ["mean", "std"], "chip_copies": [2, 3]})
        record = said["training"].pop("trained_as")
        self.assertEqual(said["training"], was["training"])
        self.assertEqual(record["sha256"], hashlib.sha256(trained.read_bytes()).hexdigest())
        self.assertEqual((record["name"], record["pool"]), ("chipshot-smoke", was["pool"]))

    def test_a_stage_that_was_not_trained_cannot_be_shipped(self) -> None:
        self.trainer("network.pool_stages=[0, 2]").save()
        with self.assertRaisesRegex(SystemExit, "has no stage 4"):
            trim.trim(self.out, smoke(), self.out)

    def test_refuses_weights_of_another_shape(self) -> None:
        self.trainer().save()
        with self.assertRaises(SystemExit):
            self.trainer("network.stem=8").begin(self.out)

    def test_the_recipe_is_in_the_weights(self) -> None:
        self.trainer().save()
        said = export.read(self.out)[1]["training"]
        self.assertEqual([entry["file"] for entry in said["data_recipe"]], list(export.RECIPE))
        self.assertTrue(all(len(entry["sha256"]) == 64 for entry in said["data_recipe"]))

    def test_an_average_may_be_used_at_another_size(self) -> None:
        ends = []
        for seed in (5, 6):
            self.trainer(f"run.seed={seed}").save()
            ends.append(self.out.rename(self.out.with_name(f"{seed}.safetensors")))
        words = ["average.py", *map(str, ends), "--out", str(self.out), "--config", str(SMOKE),
                 "--set", "network.input_size=32", "--set", "network.pool_stages=[1, 4]"]
        with mock.patch.object(sys, "argv", words), mock.patch.object(average, "STATISTICS_EPISODES", 1):
            average.main()
        tensors, said = export.read(self.out)
        (first, _), (second, _) = map(export.read, ends)
        self.assertEqual((said["input_size"], said["pool"]["stages"]), (32, [1, 4]))
        self.assertEqual(len(said["training"]["average_of"]), 2)
        name = "layer1.0.conv1.weight"
        torch.testing.assert_close(tensors[name], (first[name] + second[name]) / 2, atol=1e-3, rtol=1e-3)
        self.assertGreater((tensors["bn1.running_mean"] - first["bn1.running_mean"]).abs().max().item(), 0)

    def test_the_average_is_written(self) -> None:
        chosen = ("run.steps=3", "episode.images=2", "optimiser.warm_up=1")
        written = []
        for average in ("0.0", "0.999"):
            trainer = self.trainer(*chosen, f"optimiser.average={average}")
            trainer.net.train()
            before = trainer.net.conv1.weight.detach().clone()
            trainer.learn(train.sheet(trainer.config, 1, 0, CPU))
            live = trainer.net.conv1.weight.detach().clone()
            expected = live if average == "0.0" else before / 11 + live * 10 / 11
            torch.testing.assert_close(trainer.average.conv1.weight.detach(), expected)
            trainer.save()
            written.append(export.read(self.out)[0]["conv1.weight"])
        self.assertFalse(torch.equal(*written))

    def test_input_sizes_are_those_of_the_config(self) -> None:
        chosen = smoke("episode.input_sizes=[32, 40]")
        sides = {train.drawn(chosen, 1, number, CPU).shape[-1] for number in range(12)}
        self.assertEqual(sides, {32, 40})
        self.assertEqual(Encoder(chosen.network).network.input_size, 48)


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
