"""Keeps the classes that every job loads in the form the JVM maps, so that it starts in about half the time.

Java's dynamic class data sharing (JEP 350): a JVM that has loaded what a job loads writes its classes when it ends.
A JVM of another kind or with other jars sees that they don't fit, and does without.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from jobs.common.jars import class_archive
from jobs.common.session import LOCAL_JAVA, local_session
from jobs.common.settings import Settings, Spark

#: Of the Kafka source, which needs a broker to be used.
_OF_KAFKA = (
    "org.apache.spark.sql.kafka010.KafkaSourceProvider",
    "org.apache.kafka.clients.consumer.KafkaConsumer",
    "org.apache.kafka.clients.producer.KafkaProducer",
    "org.apache.kafka.clients.admin.KafkaAdminClient",
)


def main() -> None:
    """Make the archive anew; it is there whole or not at all."""
    archive = class_archive()
    archive.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="classes-") as scratch:
        made, log = Path(scratch, "made.jsa"), Path(scratch, "log")
        with log.open("w") as out:
            command = [sys.executable, "-m", "tools.class_archive", scratch, str(made)]
            done = subprocess.run(command, stdout=out, stderr=out, check=False)
        if done.returncode == 0 and made.exists():
            made.replace(archive)
        else:
            print("\n".join(log.read_text().splitlines()[-5:]), file=sys.stderr)
            print("The archive of classes was not made: jobs start more slowly, and do the same.", file=sys.stderr)


def load(scratch: Path, archive: Path) -> None:
    """Do in little what jobs do, in a JVM that writes its classes to `archive` when it ends."""
    options = " ".join([*LOCAL_JAVA, "-XX:TieredStopAtLevel=1", f'"-XX:ArchiveClassesAtExit={archive}"'])
    conf = {"spark.driver.extraJavaOptions": options}
    spark = local_session("classes", Settings(spark=Spark(master="local[2]", shuffle_partitions=2, conf=conf)))
    gateway = spark.sparkContext._gateway
    assert gateway is not None
    for name in _OF_KAFKA:
        gateway.jvm.java.lang.Class.forName(name)
    path = str(scratch / "table")
    rows = spark.range(100).selectExpr("id", "id % 7 as key", "cast(id as decimal(28, 6)) as usd", "array(id) as ids")
    rows.write.format("delta").partitionBy("key").save(path)
    rows.createOrReplaceTempView("rows")
    spark.sql(
        f"MERGE INTO delta.`{path}` t USING (SELECT * FROM rows WHERE id < 9) s ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET usd = s.usd WHEN NOT MATCHED THEN INSERT *"
    )
    events = spark.readStream.format("delta").option("ignoreChanges", "true").load(path)
    timed = events.selectExpr("id", "current_timestamp() as at").withWatermark("at", "1 minute")
    timed.createOrReplaceTempView("timed")
    both = spark.sql("SELECT a.* FROM timed a FULL JOIN timed s ON a.id = s.id AND a.at = s.at")
    query = both.writeStream.format("delta").option("checkpointLocation", str(scratch / "checkpoint"))
    query.trigger(availableNow=True).start(f"{path}-joined").awaitTermination()
    spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()


if __name__ == "__main__":
    if sys.argv[1:]:
        load(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()
