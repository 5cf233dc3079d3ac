"""Takes the README's picture of a report: calibrates the simulated server, writes the report, photographs it.

    python docs/pictures/make_picture.py

Needs Chromium. What is shown is what the commands wrote: the top of the page, and beside it how it goes on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PICTURE = Path(__file__).with_name("report.png")
WIDTH, HEIGHT, MARGIN = 1200, 1520, 24
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLOURS = 128


def photograph(page: Path) -> Any:
    """Return what a browser shows of two heights of `page`, as an image."""
    from PIL import Image

    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("no browser: sudo apt-get install -y chromium")
    with tempfile.TemporaryDirectory() as profile:
        taken = Path(profile) / "taken.png"
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",  # the page is our own file, and root has no sandbox
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                f"--window-size={WIDTH},{2 * HEIGHT}",
                f"--screenshot={taken}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        return Image.open(taken).convert("RGB")


def side_by_side(page: Any) -> Any:
    """Return two columns of the page, each ended at one of the widest blank bands of its last quarter."""
    from PIL import Image

    def end_of_column(begin: int) -> int:
        rows = range(begin + HEIGHT - 2 * MARGIN, begin + 3 * HEIGHT // 4, -1)
        bands = (MARGIN // 2, MARGIN // 4, 1)  # a long table has narrow ones only
        return next(row for band in bands for row in rows if page.crop((0, row, WIDTH, row + band)).getcolors(1))

    middle = end_of_column(0)
    picture = Image.new("RGB", (2 * WIDTH, HEIGHT), page.getpixel((0, 0)))
    picture.paste(page.crop((0, 0, WIDTH, middle)), (0, 0))
    picture.paste(page.crop((0, middle, WIDTH, end_of_column(middle))), (WIDTH, MARGIN))
    return picture


def main() -> None:
    """Calibrate, report, photograph."""
    with tempfile.TemporaryDirectory() as results:
        output = Path(results) / "results"
        aicalib = Path(sys.executable).with_name("aicalib")
        done = subprocess.run([aicalib, "calibrate", "simulated-server", "--output", output], check=False)
        if done.returncode not in (0, 1):  # one of the indications that the bench declares is to fail
            sys.exit(done.returncode)
        side_by_side(photograph(output / "report.html")).quantize(COLOURS).save(PICTURE, optimize=True)
    print(PICTURE)


if __name__ == "__main__":
    main()
