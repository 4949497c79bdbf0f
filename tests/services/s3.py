"""S3: moto, which keeps objects in memory and takes any credentials."""

import re
from http.client import HTTPConnection

from shared import pip

# What `pip install 'moto[s3]' flask flask-cors` gave, all versions fixed.
REQUIREMENTS = """
    moto==5.2.5 blinker==1.9.0 boto3==1.44.5 botocore==1.44.5 certifi==2026.10.18 cffi==2.1.1
    charset-normalizer==3.5.2 click==8.5.1 cryptography==50.0.2 Flask==3.1.3 flask-cors==6.0.5 idna==3.20
    itsdangerous==2.2.0 Jinja2==3.1.6 jmespath==1.1.0 MarkupSafe==3.0.4 py-partiql-parser==0.6.3 pycparser==3.12
    python-dateutil==2.9.0.post0 PyYAML==6.0.3 requests==2.34.2 responses==0.26.3 s3transfer==0.19.3 six==1.17.0
    urllib3==2.8.0 Werkzeug==3.1.9 xmltodict==1.0.4
""".split()
BUCKET = "test"


def fetch():
    return pip("s3", REQUIREMENTS)


def start(service, python):
    service.run(python, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0")
    log = service.folder / "log"
    port = service.until(lambda: re.search(r"Running on http://127\.0\.0\.1:(\d+)", log.read_text()))[1]

    def create_bucket():
        connection = HTTPConnection("127.0.0.1", int(port), timeout=10)
        connection.request("PUT", f"/{BUCKET}")
        return connection.getresponse().status == 200

    service.until(create_bucket)
    return {
        "endpoint": f"http://127.0.0.1:{port}",
        "bucket": BUCKET,
        "region": "us-east-1",
        "access_key": "test",
        "secret_key": "test",
    }
