"""A real Trino, the engine of Athena, over the emulator's S3 and Glue.

Its runtime and jars (locked in `trino/`) come as Kafka's do: include/local/java.py. Athena has one catalog where Trino
needs two: `awsdatacatalog` is the Iceberg connector, which owns views and Iceberg tables; `hive` reads the external
tables.
"""

from __future__ import annotations

import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.local import jars, java
from include.settings import PROJECT_ROOT, SettingsError
from tests.athena.trino_client import Trino, TrinoError
from tests.servers import free_port, process

LOCKS = Path(__file__).parent / "trino"
JARS = PROJECT_ROOT / ".local" / "trino-jars"
PLUGINS = {"hive": "io.trino.plugin.hive.HivePlugin", "iceberg": "io.trino.plugin.iceberg.IcebergPlugin"}
START_SECONDS = 600


class TrinoUnavailableError(RuntimeError):
    """Trino cannot run on this machine. The text says why."""


def prepare() -> Path:
    """Fetch the jars if they are missing; returns the folder of the Java that runs them.

    Raises:
        TrinoUnavailableError: there is no Java for this platform, or the jars cannot be fetched.
    """
    try:
        home = java.home(LOCKS)
        if home is None:
            raise TrinoUnavailableError(
                f"tests/athena need Trino, whose runtime has no wheel for {java.platform_name()}"
            )
        jars.fetch("trino", LOCKS, JARS, jars.source())
    except (jars.JarError, SettingsError) as error:
        raise TrinoUnavailableError(f"tests/athena need Trino: {error}") from error
    return home


def write_configuration(folder: Path, port: int, glue: str, s3: str, bucket: str) -> None:
    """Write Trino's `etc` folder, and its `plugin` folder with links to the jars."""
    common = f"""\
hive.metastore.glue.region=us-east-1
hive.metastore.glue.endpoint-url={glue}
hive.metastore.glue.aws-access-key=test
hive.metastore.glue.aws-secret-key=test
hive.metastore.glue.default-warehouse-dir=s3://{bucket}/warehouse/
fs.native-s3.enabled=true
s3.endpoint={s3}
s3.region=us-east-1
s3.path-style-access=true
s3.aws-access-key=test
s3.aws-secret-key=test
"""
    files = {
        "etc/config.properties": f"""\
node.environment=test
node.id=test
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port={port}
http-server.log.enabled=false
node.internal-address=127.0.0.1
node.bind-ip=127.0.0.1
discovery.uri=http://127.0.0.1:{port}
plugin.dir={folder}/plugin
catalog.config-dir={folder}/etc/catalog
catalog.management=static
query.max-memory=1GB
query.max-memory-per-node=1GB
memory.heap-headroom-per-node=512MB
task.concurrency=2
# so that the limit of 100 open partitions holds as on Athena
task.max-writer-count=1
task.min-writer-count=1
""",
        "etc/log.properties": "io.trino=WARN\n",
        "etc/catalog/awsdatacatalog.properties": f"""\
connector.name=iceberg
iceberg.catalog.type=glue
iceberg.hive-catalog-name=hive
iceberg.unique-table-location=false
iceberg.max-partitions-per-writer=100
iceberg.expire-snapshots.min-retention=0s
iceberg.remove-orphan-files.min-retention=0s
{common}""",
        "etc/catalog/hive.properties": f"""\
connector.name=hive
hive.metastore=glue
hive.partition-projection-enabled=true
hive.non-managed-table-writes-enabled=true
hive.iceberg-catalog-name=awsdatacatalog
hive.security=allow-all
hive.max-partitions-per-writers=100
{common}""",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name, plugin in PLUGINS.items():
        (folder / "plugin" / name).mkdir(parents=True)
        for jar in (JARS / name).glob("*.jar"):
            (folder / "plugin" / name / jar.name).symlink_to(jar)
        with zipfile.ZipFile(folder / "plugin" / name / "service.jar", "w") as service:  # not in the repository's jars
            service.writestr("META-INF/services/io.trino.spi.Plugin", plugin + "\n")


@contextmanager
def trino_server(folder: Path, glue: str, s3: str, bucket: str) -> Iterator[Trino]:
    """A running Trino with the Glue at `glue` and the S3 at `s3`."""
    home, port = prepare(), free_port()
    write_configuration(folder, port, glue, s3, bucket)
    [library] = (home / "lib" / "server").glob("libjvm.*")
    command = [sys.executable, "-m", "tests.athena.trino_process", str(library), f"{JARS}/server/*"]
    command += [java.version_of(LOCKS / "server" / java.LOCK, "trino-main")]
    command += ["-Xms512M", "-Xmx2G", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command += ["-Djdk.attach.allowAttachSelf=true", "-Dfile.encoding=UTF-8", "--enable-native-access=ALL-UNNAMED"]
    command += ["--sun-misc-unsafe-memory-access=allow"]
    command += [f"-Dconfig={folder}/etc/config.properties", f"-Dlog.levels-file={folder}/etc/log.properties"]
    log = folder / "trino.log"
    with process(command, log, folder=PROJECT_ROOT) as child:
        trino = Trino(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                trino.run("select count(*) from awsdatacatalog.information_schema.schemata")
                break
            except (OSError, TrinoError) as error:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"Trino does not start: {error}\n{log.read_text()[-3000:]}") from error
                time.sleep(0.5)
        yield trino
