"""HDFS: one name node and one data node in one JVM, without permissions; also as WebHDFS."""

import json
from xml.etree import ElementTree

from shared import maven, need

HADOOP = "3.5.0"
ARTIFACTS = [
    f"org.apache.hadoop:hadoop-common:{HADOOP}",
    f"org.apache.hadoop:hadoop-common:{HADOOP}:tests",
    f"org.apache.hadoop:hadoop-hdfs:{HADOOP}",
    f"org.apache.hadoop:hadoop-hdfs:{HADOOP}:tests",
    # These two it does not bring itself.
    f"org.apache.hadoop:hadoop-hdfs-client:{HADOOP}",
    "org.mockito:mockito-core:4.11.0",
]
LOGGING = """\
log4j.rootLogger=WARN, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
"""


def fetch():
    need("java", "Java 17 or later; Debian, Ubuntu: apt-get install default-jre-headless")
    return maven("hdfs", ARTIFACTS)


def start(service, class_path):
    details, config = service.folder / "details.json", service.folder / "config.xml"
    (service.folder / "log4j.properties").write_text(LOGGING)
    # It is made for Hadoop's own tests: free ports of 127.0.0.1, one replica, no wait in safe mode.
    service.run(
        "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
        f"-Djava.io.tmpdir={service.folder}", f"-Dlog4j.configuration=file:{service.folder}/log4j.properties",
        "-cp", class_path, "org.apache.hadoop.test.MiniDFSClusterManager",
        "-format", "-datanodes", "1", "-writeConfig", config, "-writeDetails", details,
        "-D", f"hdfs.minidfs.basedir={service.folder}/data", "-D", "dfs.permissions.enabled=false",
    )  # fmt: skip
    # Written last, when the data node has reported to the name node.
    port = json.loads(service.until(details.read_text))["namenode_port"]
    settings = {entry.findtext("name"): entry.findtext("value") for entry in ElementTree.parse(config).iter("property")}
    web = settings["dfs.namenode.http-address"].rpartition(":")[2]
    return {"url": f"hdfs://127.0.0.1:{port}", "webhdfs": f"http://127.0.0.1:{web}/webhdfs/v1"}
