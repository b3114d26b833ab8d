"""A taken port is one clear line with the remedy."""

from __future__ import annotations

import socket

import pytest

from include.local.servers import check_ports
from include.local.stack import DemoError
from include.settings import LocalSettings
from tests.servers import free_port


def test_taken_port_is_named_with_the_setting_that_moves_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        local = LocalSettings(
            airflow_port=free_port(),
            kafka_port=port,
            kafka_controller_port=free_port(),
            aws_port=free_port(),
            smtp_port=free_port(),
        )
        with pytest.raises(DemoError, match=f"port {port} is taken.*LOCAL_KAFKA_PORT={port + 1} make demo"):
            check_ports(local)
