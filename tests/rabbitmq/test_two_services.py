"""The example of two services on RabbitMQ: what it is made for."""

import shutil
from pathlib import Path

from tests.api.services import PRINTED, shop_and_warehouse
from tests.rabbitmq.faults import ON_OUR_NODE

pytestmark = ON_OUR_NODE

EXAMPLE = Path(__file__).parents[2] / "examples" / "two_services"


def test_two_services_meet_at_a_topic_exchange(url: str, tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "two_services", ignore=shutil.ignore_patterns("__pycache__"))
    assert shop_and_warehouse(folder, url, tmp_path / "log") == PRINTED
