"""A real Trino, the engine of Athena, over the emulator's S3 and Glue.

Its jars come from Maven once (poms in `trino/`, about 385 MB on disk). Athena has one catalog where Trino needs two:
`awsdatacatalog` is the Iceberg connector, which owns views and Iceberg tables; `hive` reads the external tables.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.settings import PROJECT_ROOT
from tests.athena.trino_client import Trino, TrinoError
from tests.servers import free_port, process

POMS = Path(__file__).parent / "trino"
JARS = PROJECT_ROOT / ".local" / "trino-jars"
VERSION = "483"
PLUGINS = {"hive": "io.trino.plugin.hive.HivePlugin", "iceberg": "io.trino.plugin.iceberg.IcebergPlugin"}
JAVA_MAJOR = 25
START_SECONDS = 600


class TrinoUnavailableError(RuntimeError):
    """Trino cannot run on this machine. The text names the missing program."""


def java() -> Path:
    """The `java` of a JDK that can run Trino, from $JAVA25_HOME, $JAVA_HOME, or a folder under /usr/lib/jvm.

    Raises:
        TrinoUnavailableError: there is no such JDK.
    """
    homes = [Path(home) for home in (os.environ.get("JAVA25_HOME"), os.environ.get("JAVA_HOME")) if home]
    homes += sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    for home in homes:
        program = home / "bin" / "java"
        if program.exists() and (home / "bin" / "javac").exists():
            answer = subprocess.run([str(program), "-version"], capture_output=True, text=True, check=True).stderr
            version = re.search(r'version "(\d+)', answer)
            if version and int(version[1]) >= JAVA_MAJOR:
                return program
    raise TrinoUnavailableError(
        f"tests/athena need JDK {JAVA_MAJOR} or newer for Trino {VERSION}, and there is no such JDK in /usr/lib/jvm: "
        "install it, for example with Temurin's package temurin-25-jdk, or name its folder in JAVA25_HOME"
    )


def fetch_jars() -> Path:
    """The folder of the jars; fetches them with Maven when they are missing.

    Raises:
        TrinoUnavailableError: Maven is missing or could not fetch the jars.
    """
    if not (JARS / ".made").exists():
        command = ["mvn", "-B", "-q", "-f", str(POMS / "pom.xml"), "package", f"-Djars={JARS}"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise TrinoUnavailableError(
                "tests/athena take Trino's jars from Maven Central, but mvn is missing: install Maven (Debian: maven)"
            ) from error
        except subprocess.CalledProcessError as error:
            raise TrinoUnavailableError(f"Maven could not fetch Trino {VERSION}: {error.stdout[-500:]}") from error
        for name, plugin in PLUGINS.items():  # missing in the jars of Maven Central
            with zipfile.ZipFile(JARS / name / "service.jar", "w") as jar:
                jar.writestr("META-INF/services/io.trino.spi.Plugin", plugin + "\n")
        (JARS / ".made").touch()
    return JARS


def write_configuration(folder: Path, port: int, glue: str, s3: str, bucket: str) -> None:
    """Write Trino's `etc` folder and link its plugins."""
    common = f"""\
hive.metastore.glue.region=us-east-1
hive.metastore.glue.endpoint-url={glue}
hive.metastore.glue.aws-access-key=test
hive.metastore.glue.aws-secret-key=test
hive.metastore.glue.default-warehouse-dir=s3://{bucket}/warehouse/
fs.s3.enabled=true
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
    (folder / "plugin").mkdir()
    for name in PLUGINS:
        (folder / "plugin" / name).symlink_to(JARS / name)


@contextmanager
def trino_server(folder: Path, glue: str, s3: str, bucket: str) -> Iterator[Trino]:
    """A running Trino with the Glue at `glue` and the S3 at `s3`."""
    jars, program, port = fetch_jars(), java(), free_port()
    write_configuration(folder, port, glue, s3, bucket)
    command = [str(program), "-Xms512M", "-Xmx2G", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command += ["-Djdk.attach.allowAttachSelf=true", "-Dfile.encoding=UTF-8", "--enable-native-access=ALL-UNNAMED"]
    command += ["--sun-misc-unsafe-memory-access=allow", "--add-modules", "jdk.incubator.vector"]
    command += [f"-Dconfig={folder}/etc/config.properties", f"-Dlog.levels-file={folder}/etc/log.properties"]
    command += ["-cp", f"{jars}/server/*", str(POMS / "TrinoServer.java"), VERSION]
    log = folder / "trino.log"
    with process(command, log) as child:
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
