"""Take the screenshot of the status page that README.md and the manual show.

``PYTHONPATH=tests python -m support.status_screenshot`` writes it. The page is real, and its snapshot is made by hand.
Chromium and its driver must be installed.
"""

from __future__ import annotations

import base64
import socket
import sys
from pathlib import Path

from selenium import webdriver

from mountpoint.status.app import StatusApp
from mountpoint.status.listener import StatusListener
from support.running import needed
from support.status_snapshot import Process, troubled

FILE = Path(__file__).parents[2] / "mountpoint" / "docs" / "status.png"


def main(file: Path = FILE, count: int = 3, width: int = 1040, height: int = 800) -> None:
    """Write the top of the page of *count* mounts to *file*, in a light scheme, *width* and *height* in pixels."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = StatusListener([sock], StatusApp(Process(troubled(count))))
        listener.start()
        options = webdriver.ChromeOptions()
        options.binary_location = needed("chromium", "chromium")
        for flag in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars", "disable-dev-shm-usage"):
            options.add_argument(f"--{flag}")
        driver = needed("chromedriver", "chromium-driver")
        browser = webdriver.Chrome(options, webdriver.ChromeService(executable_path=driver))
        try:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(f"http://127.0.0.1:{sock.getsockname()[1]}/?refresh=0")
            file.write_bytes(base64.b64decode(browser.get_screenshot_as_base64()))
        finally:
            browser.quit()
            listener.stop()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
