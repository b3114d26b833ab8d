"""The S3 client's limits, over sockets that behave as slow networks and firewalls do."""

from __future__ import annotations

import socket
import threading
from time import sleep

import obstore
import pytest

from include.ingest import store as stores
from include.ingest.store import open_store, with_time
from include.settings import AwsSettings, StorageSettings
from tests.unit.ingest.slow_server import OK, read_request, served


def test_an_idle_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall has dropped them all without a word: each would swallow a request until its time-out."""
    monkeypatch.setattr(stores, "IDLE_SECONDS", 0.2)
    dead = threading.Event()
    together = threading.Barrier(4)

    def serve(connection: socket.socket) -> None:
        born_dead = dead.is_set()
        while read_request(connection):
            if dead.is_set() and not born_dead:
                threading.Event().wait()  # the request reaches nobody
            if not born_dead:
                together.wait(60)  # so that the client has four connections
            connection.sendall(OK)

    with served(serve) as endpoint:
        bucket = open_store(StorageSettings(), AwsSettings(endpoint_url=endpoint), timeout_seconds=60)
        puts = [
            threading.Thread(target=obstore.put, args=(bucket, f"k{number}", b"x"), kwargs={"use_multipart": False})
            for number in range(4)
        ]
        for put in puts:
            put.start()
        for put in puts:
            put.join(60)
        dead.set()
        sleep(1.0)  # longer than IDLE_SECONDS: this passing of time is what the test is about
        obstore.put(bucket, "k", b"x", use_multipart=False)  # a time-out would raise GenericError


def test_a_put_may_take_the_time_that_it_was_given() -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection, pause=0.02)  # 64 reads of 16 KB: more than a second
        connection.sendall(OK)

    with served(serve) as endpoint:
        bucket = open_store(StorageSettings(), AwsSettings(endpoint_url=endpoint), timeout_seconds=0.5)
        with pytest.raises(obstore.exceptions.GenericError, match="Timeout"):
            obstore.put(bucket, "k", bytes(2**20), use_multipart=False)
        obstore.put(with_time(bucket, 120), "k", bytes(2**20), use_multipart=False)


def test_a_read_may_be_long_as_long_as_it_delivers() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(
            b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\nETag: "e"\r\n'
            b"Last-Modified: Mon, 23 Nov 2026 20:15:07 GMT\r\n\r\n"
        )
        for _ in range(20):
            sleep(0.15)  # together longer than the limit, each far shorter
            connection.sendall(b"x")

    with served(serve) as endpoint:
        bucket = open_store(StorageSettings(), AwsSettings(endpoint_url=endpoint), timeout_seconds=2.5)
        assert bytes(obstore.get(bucket, "k").bytes()) == b"x" * 20
