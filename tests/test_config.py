"""Recipes: checked keys and values, overrides, round trips."""

import pytest

from mdgen.config import dump_recipe, load_recipe, shipped_recipes
from mdgen.errors import MdgenError


def test_every_shipped_recipe_loads_and_is_at_most_a_page() -> None:
    from importlib import resources

    assert {"quickstart", "gait", "gestures"} <= set(shipped_recipes())
    for name in shipped_recipes():
        assert load_recipe(name).name == name
        assert len((resources.files("configs") / f"{name}.yaml").read_text().splitlines()) <= 60


def test_a_dumped_recipe_reads_back_equal(tmp_path) -> None:
    recipe = load_recipe("quickstart", ["seed=7", "denoiser.levels=[1, 2]"])
    file = tmp_path / "r.yaml"
    file.write_text(dump_recipe(recipe))
    assert load_recipe(file) == recipe


def test_overrides_win_and_numbers_may_be_written_as_1e_4() -> None:
    recipe = load_recipe("quickstart", ["autoencoder.training.learning_rate=1e-4"])
    assert recipe.autoencoder.training.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("autoencoder.latent_chanels=4", "did you mean 'autoencoder.latent_channels'"),
        ("autoencoder.training.steps=0", "autoencoder.training.steps"),
        ("denoiser.kind=mamba", "denoiser.kind"),
        ("nonsense", "section.key=value"),
        ("autoencoder=5", "autoencoder: input should be a valid dictionary"),
        ("autoencoder.kind=[kl]", "autoencoder.kind"),
        ("generate.labels=[a", "--set generate.labels=.a: not valid YAML"),
        ("denoiser.training={memory_saver: true, batch_size: many}", "denoiser.training.batch_size"),
        ("fine_tuning.training.sharded=true", "sharded is for learn=all"),
        ("generate.guidance_interval=[0.8, 0.2]", "generate.guidance_interval.*the lower first"),
        ("distill.guidance_interval=[0, 5]", "distill.guidance_interval.*from 0 .data. to 1 .noise."),
        ("joint.training.betas=[0.9, 1.0]", "joint.training.betas.1: input should be less than 1"),
        ("denoiser={kind: unet, width: 48}", "unet needs widths.* that 32 divides"),
        ("denoiser={kind: unet, heads: 512}", "unet needs no more heads than width"),
        ("denoiser.levels=[]", "denoiser.levels"),
        ("name=2024-02-31", "--set name=2024-02-31: not valid YAML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(override: str, said: str) -> None:
    with pytest.raises(MdgenError, match=said):
        load_recipe("quickstart", [override])


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_an_empty_file_is_not_the_recipe_of_all_defaults(tmp_path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(MdgenError, match=r"config\.yaml: is empty"):
        load_recipe(file)
    file.write_text("{}")
    assert load_recipe(file) == load_recipe(None)


def test_a_section_of_comments_alone_is_named(tmp_path) -> None:
    (tmp_path / "r.yaml").write_text("autoencoder:\n  # kind: kl\n")
    with pytest.raises(MdgenError, match=r"r\.yaml: autoencoder: input should be a valid dictionary"):
        load_recipe(tmp_path / "r.yaml")


def test_an_unknown_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(MdgenError, match="quickstart"):
        load_recipe("nope")
