"""Config files, found by path or by name from any folder."""

from pathlib import Path

from mher_pl.errors import UserError

SHIPPED = Path(__file__).resolve().parent.parent / "configs"  # with the package


def find_config(setting: str, name: str | Path, *folders: str) -> Path:
    """Return the file that `name` names: a path, else `NAME.yaml` in one of `folders` of a `configs` folder.

    A `configs` folder in the working folder comes before the one that is shipped with the package.

    Args:
        setting: what the name was given for, named in an error.
        name: a path, or a bare name such as `fetch`.
        folders: below `configs`, "" for itself.

    Raises:
        UserError: there is no such file.
    """
    places = [Path(name)]
    if Path(name).name == str(name):
        places += [root / folder / f"{name}.yaml" for root in (Path("configs"), SHIPPED) for folder in folders]
    for place in places:
        if place.is_file():
            return place
    names = sorted(path.stem for folder in folders for path in (SHIPPED / folder).glob("*.yaml"))
    raise UserError(f"{setting} is {str(name)!r}; allowed: a YAML file, or one of the names {', '.join(names)}")
