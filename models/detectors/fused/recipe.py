"""The settings with which a fused detector is learned."""

from __future__ import annotations

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from models.detectors.base import FAMILIES, LearnsFrom, find_family
from models.detectors.fused.card import Combination

#: Settings of every member that are the detector's own: all see the same pictures.
_SHARED = ("height", "least_fps", "kernel")
#: Members' settings that differ here from those of their families.
_CHANGED: dict[str, dict[str, Any]] = {"memory_bank": {"distance": "gaussian"}}


class FusedRecipe(BaseModel):
    """The recipe.

    Attributes:
        height: of the pictures, pixels; no higher than the camera's own.
        least_fps: clips have the camera's rate over a whole number, as low as this allows.
        kernel: of the causal moving average, clips.
        members: families whose detectors are combined.
        settings: of the members' recipes, by families; those that are left out have their defaults. A recipe of a
            member has the settings above too, and the property ``cell``: side of a cell of the map, pixels.
        combination: of their maps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int = Field(240, ge=64)
    least_fps: PositiveFloat = 10.0
    kernel: PositiveInt = 3
    members: tuple[str, ...] = Field(("motion", "memory_bank"), min_length=2)
    settings: dict[str, dict[str, Any]] = Field({}, validate_default=True)
    combination: Combination = Combination.DECADES

    @field_validator("members")
    @classmethod
    def _known(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        can = [name for name in sorted(FAMILIES) if _is_member(name)]
        for name in members:
            if name not in can or members.count(name) > 1:
                raise ValueError(f"expected different ones of {', '.join(can)}, got {', '.join(members)}")
        return members

    @field_validator("settings")
    @classmethod
    def _complete(cls, given: dict[str, dict[str, Any]], info: ValidationInfo) -> dict[str, dict[str, Any]]:
        """Return all settings of all members."""
        if not {"members", *_SHARED} <= info.data.keys():
            return given  # one of them is wrong, and reported
        members = info.data["members"]
        if unknown := [name for name in given if name not in members]:
            raise ValueError(f"{unknown[0]} is not a member; expected some of {', '.join(members)}")
        recipes = {name: _member_recipe(name, given.get(name, {}), info.data) for name in members}
        if contaminated := [name for name, one in recipes.items() if getattr(one, "contamination", 0)]:
            raise ValueError(
                f"{contaminated[0]}.contamination leaves incidents out of the member alone, not of the thresholds; "
                "expected 0, and footage without them (--exclude)"
            )
        if len({recipe.cell for recipe in recipes.values()}) > 1:
            cells = ", ".join(f"{name} {recipe.cell}" for name, recipe in recipes.items())
            raise ValueError(f"the members' maps have cells of different sizes, in pixels ({cells}); expected one size")
        return {name: recipe.model_dump(mode="json", exclude=set(_SHARED)) for name, recipe in recipes.items()}

    def recipe_of(self, member: str) -> BaseModel:
        """Return the recipe of a member's own job."""
        recipe: BaseModel = _member_recipe(member, self.settings[member], dict(self))
        return recipe


def _is_member(name: str) -> bool:
    family = find_family(name)
    return family.learns_from is LearnsFrom.NORMAL_FOOTAGE and family.name != "fused"


def _member_recipe(name: str, own: dict[str, Any], shared: dict[str, Any]) -> Any:
    """Return a member's recipe. Raises ValueError: its settings are not usable, one line."""
    if found := [key for key in own if key in _SHARED]:
        raise ValueError(f"{name}.{found[0]} is a setting of the detector; set {found[0]} itself")
    kind = find_family(name).settings()
    assert kind is not None
    try:
        return kind.model_validate({**_CHANGED.get(name, {}), **own, **{key: shared[key] for key in _SHARED}})
    except ValidationError as error:
        problems = [(problem["loc"], problem["msg"]) for problem in error.errors(include_url=False)]
        raise ValueError(
            "; ".join(f"{'.'.join(map(str, (name, *place)))}: {text}" for place, text in problems)
        ) from None
