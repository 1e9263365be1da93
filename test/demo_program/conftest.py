"""Makes the modules of tools/demo importable, which are not a package."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'demo'))
