"""An Airflow that is not there yet is told in the client's own words, which the status screen knows."""

from __future__ import annotations

import pytest

from include.local.airflow_api import AirflowApi, AirflowApiError
from tests.servers import free_port


def test_no_airflow_is_an_error_of_the_clients_own() -> None:
    with pytest.raises(AirflowApiError, match="no token from Airflow"):
        AirflowApi(f"http://127.0.0.1:{free_port()}").runs("crypto_transform")
