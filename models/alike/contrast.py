"""The contrast that a recipe names."""

from __future__ import annotations

from torch import Tensor

from models.alike.losses import nt_xent_all_views, nt_xent_first_views
from models.alike.recipe import ContrastRecipe

_FORMS = {"first_views": nt_xent_first_views, "all_views": nt_xent_all_views}


def contrast_loss(recipe: ContrastRecipe, first: Tensor, second: Tensor) -> Tensor:
    """Return NT-Xent of two views, (b, D) each, in the recipe's form and at its temperature."""
    return _FORMS[recipe.form](first, second, recipe.temperature)
