"""The local stack does what Lambda, SQS, EventBridge and API Gateway do, with real processes, sockets and moto."""

import base64
import copy
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chalicelib.aws.bucket import Bucket
from chalicelib.exports.cron import parse, to_eventbridge
from chalicelib.runs.downloads import disposition
from infra.local import dev
from infra.local.cloud import Cloud, OneAtATime, UnknownResource, copying_once, created, ready, server_process
from infra.local.functions import FunctionDied, FunctionError, FunctionTimeout
from infra.local.gateway import Response
from infra.local.http import HttpServer
from infra.local.pumps import Pump, sqs_event
from infra.local.runtime import BrokenApp, Runtime, Stopped
from infra.local.sample import Refused, load, sample
from infra.local.schedules import BadExpression, cron, filled_in, is_due, minutes_between, rate_seconds
from infra.local.stack import PROJECT, Plan, Stack
from infra.local.template import Scope
from infra.templates import read_template

pytestmark = pytest.mark.slow

SAMPLE = "tests.infra.sample_app"
UNTIL = datetime(2026, 11, 21, tzinfo=UTC)


def until(holds, seconds=10):
    """What `holds` gives once it is true; a failure when it is not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = holds()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Running:
    """A stack of the sample app, and what its functions noted."""

    def __init__(self, folder):
        self.notes = folder / "notes"
        project = folder / "project"
        (project / ".chalice").mkdir(parents=True)
        limits = {"lambda_functions": {"tools": {"lambda_timeout": 1, "lambda_memory_size": 512}}}
        (project / ".chalice" / "config.json").write_text(json.dumps(limits))
        self.stack = Stack(
            Plan(
                module=SAMPLE,
                project=project,
                environment={"SAMPLE_NOTES": str(self.notes)},
                logs=folder / "logs",
                limits={"run_export": 2},
                retry_delay=0,
            )
        )
        self.logs = folder / "logs"

    def noted(self, kind):
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [value for name, value in map(json.loads, lines) if name == kind]

    def enqueue(self, *bodies):
        for body in bodies:
            self.stack.client("sqs").send_message(QueueUrl=self.stack.scope.ids["RunsQueue"], MessageBody=body)

    def waiting(self, queue):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = self.stack.scope.ids[queue]
        found = self.stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", int(self.stack.url.rsplit(":", 1)[1]), timeout=20)

    def ask(self, method, path, headers=(), body=None):
        connection = self.connection()
        try:
            connection.request(method, path, body, {"Accept": "*/*", **dict(headers)})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def send(self, raw):
        """What comes back for bytes on a fresh connection, until the server closes it."""
        with socket.create_connection(("127.0.0.1", int(self.stack.url.rsplit(":", 1)[1])), timeout=10) as caller:
            caller.sendall(raw)
            caller.shutdown(socket.SHUT_WR)
            parts = []
            while part := caller.recv(65536):
                parts.append(part)
            return b"".join(parts)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    running_stack = Running(tmp_path_factory.mktemp("stack"))
    yield running_stack
    running_stack.stack.stop()


class TestHttp:
    def test_many_requests_go_over_one_connection(self, local):
        connection = local.connection()
        seen = set()
        for number in range(50):
            connection.request("POST", f"/echo/{number}", bytes([number]) * number, {"Accept": "*/*"})
            answer = connection.getresponse()
            said = json.loads(answer.read())
            assert (answer.status, said["name"]) == (200, str(number))
            assert base64.b64decode(said["body"]) == bytes([number]) * number
            seen.add(connection.sock.getsockname())
        connection.close()
        assert len(seen) == 1

    def test_a_path_arrives_as_it_was_written_and_a_query_decoded(self, local):
        status, body, _ = local.ask("GET", "/echo/a%20b%2Fc?q=%C3%A9&q=x+y")
        assert status == 200
        assert json.loads(body)["name"] == "a%20b%2Fc"
        assert json.loads(body)["query"] == {"q": "x y"}

    def test_bytes_leave_exactly(self, local):
        status, body, headers = local.ask("GET", "/bytes")
        assert (status, body) == (200, bytes(range(256)))
        assert headers["Content-Type"] == "application/octet-stream"

    @pytest.mark.parametrize("method", ["PUT", "BREW", "OPTIONS", "TRACE", "CONNECT"])
    def test_a_method_that_no_route_has_is_a_404_problem(self, local, method):
        answer = local.send(f"{method} /bytes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404 ")
        assert b"application/problem+json" in head
        assert json.loads(body)["status"] == 404

    def test_the_answer_to_head_has_no_body(self, local):
        answer = local.send(b"HEAD /bytes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404 ")
        assert body == b""

    def test_a_body_in_chunks_arrives_whole(self, local):
        head = b"POST /echo/x HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
        answer = local.send(head + b"\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == base64.b64encode(b"abcdefg").decode()

    def test_a_caller_that_waits_for_the_go_ahead_gets_it(self, local):
        with socket.create_connection(("127.0.0.1", int(local.stack.url.rsplit(":", 1)[1])), timeout=10) as caller:
            caller.sendall(
                b"POST /echo/x HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            assert caller.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            caller.sendall(b"hi")
            assert caller.recv(1000).startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize(
        ("raw", "status"),
        [
            (b"GARBAGE\r\n\r\n", 400),
            (b"GET / HTTP/9.9\r\n\r\n", 505),
            (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\nX: " + b"a" * 70000 + b"\r\n\r\n", 431),
            (b"POST /echo/x HTTP/1.1\r\nContent-Length: 1x\r\n\r\n", 400),
            (b"POST /echo/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
            (b"POST /echo/x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        ],
    )
    def test_a_malformed_request_is_refused_and_hurts_nobody_else(self, local, raw, status):
        head, _, body = local.send(raw).partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"Connection: close" in head
        assert json.loads(body)["status"] == status
        assert b"Traceback" not in body
        assert local.ask("GET", "/bytes")[0] == 200

    def test_a_body_of_twelve_megabytes_is_413_even_for_a_caller_that_sends_it_all(self, local):
        status, body, _ = local.ask("POST", "/echo/x", body=b"x" * (12 * 2**20))
        assert (status, json.loads(body)["status"]) == (413, 413)

    @pytest.mark.parametrize("kind", ["multipart/form-data; boundary=xyz", "multipart/mixed", "text/plain"])
    def test_any_other_content_type_reaches_the_app_which_refuses_it(self, local, kind):
        """Python's parser of headers finds a defect in a multipart message without parts."""
        status, body, headers = local.ask("POST", "/json", {"Content-Type": kind}, b"--xyz\r\n\r\nx\r\n--xyz--\r\n")
        assert (status, headers["Content-Type"]) == (415, "application/json")
        assert json.loads(body)["Code"] == "UnsupportedMediaType"

    def test_a_caller_that_goes_away_is_nobodys_business(self, local, capfd):
        port = int(local.stack.url.rsplit(":", 1)[1])
        for part in (b"", b"GET", b"POST /echo/x HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc"):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                caller.sendall(part)
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert local.ask("GET", "/bytes")[0] == 200
        assert capfd.readouterr().err == ""

    def test_authorizers_and_unknown_paths_are_answered_by_the_gateway(self, local):
        assert local.ask("GET", "/nope")[0] == 404
        status, _, headers = local.ask("GET", "/private")
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert local.ask("GET", "/private", {"Authorization": "Bearer nobody"})[0] == 403
        status, body, _ = local.ask("GET", "/private", {"Authorization": "Bearer me"})
        assert (status, json.loads(body)["admin"]) == (200, "true")

    def test_a_port_that_is_taken_is_an_error_at_once(self, local):
        with pytest.raises(OSError, match="in use"):
            HttpServer(int(local.stack.url.rsplit(":", 1)[1]), lambda request: None)


class TestFunctions:
    def test_functions_see_the_resources_that_were_created(self, local):
        seen = json.loads(local.ask("GET", "/environment")[1])
        assert seen["PANELPORT_BASE_URL"] == local.stack.url
        assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "api_handler"
        assert local.stack.invoke("tools", "tables") == [seen["TABLE"]]
        assert local.stack.client("s3").list_buckets()["Buckets"][0]["Name"] == seen["BUCKET"]
        assert local.stack.client("s3").get_bucket_versioning(Bucket=seen["BUCKET"])["Status"] == "Enabled"
        ttl = local.stack.client("dynamodb").describe_time_to_live(TableName=seen["TABLE"])
        assert ttl["TimeToLiveDescription"]["AttributeName"] == "expires"
        secret = local.stack.environment["MASTER_SECRET_ARN"]
        assert len(local.stack.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]) == 64

    def test_a_function_gets_lambdas_context_and_its_own_limits(self, local):
        context = local.stack.invoke("tools", "context")
        assert (context["function"], context["memory"]) == ("tools", 512)
        assert 0 < context["left"] <= 1000
        assert local.stack.invoke("tools", "context")["id"] != context["id"]

    def test_an_environment_stays_warm_and_serves_one_at_a_time(self, local):
        first, second = (local.stack.invoke("tools", "context")["pid"] for _ in range(2))
        assert first == second
        with ThreadPoolExecutor(3) as pool:
            assert len(set(pool.map(local.stack.invoke, ["tools"] * 3, ["hold"] * 3))) == 3

    def test_an_exception_is_the_callers_and_its_traceback_the_logs(self, local):
        with pytest.raises(FunctionError, match="as told") as raised:
            local.stack.invoke("tools", "fail")
        assert raised.value.kind == "ValueError"
        assert "ValueError: as told" in (local.logs / "tools.log").read_text()

    def test_an_unknown_function_is_an_error(self, local):
        with pytest.raises(FunctionError, match="no function"):
            local.stack.invoke("nope", {})

    def test_a_function_that_runs_too_long_is_killed_and_replaced(self, local):
        pid = local.stack.invoke("tools", "context")["pid"]
        with pytest.raises(FunctionTimeout):
            local.stack.invoke("tools", "sleep")
        assert local.stack.invoke("tools", "context")["pid"] != pid
        until(lambda: not running(pid))

    def test_an_environment_that_is_killed_while_idle_is_replaced_unnoticed(self, local):
        pid = local.stack.invoke("tools", "context")["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not running(pid))
        assert local.stack.invoke("tools", "context")["pid"] != pid

    def test_a_worker_that_dies_in_an_invocation_is_an_error_for_its_caller_alone(self, local):
        assert local.ask("GET", "/die")[0] == 502
        assert local.ask("GET", "/bytes")[0] == 200

    def test_a_function_that_dies_is_told_from_one_that_raises(self, local):
        record = {"body": "die once", "attributes": {"ApproximateReceiveCount": "1"}}
        with pytest.raises(FunctionDied):
            local.stack.invoke("run_export", {"Records": [{**record, "receiptHandle": "h"}]})

    def test_more_callers_than_environments_wait_their_turn(self, local):
        with ThreadPoolExecutor(30) as pool:
            statuses = list(pool.map(lambda number: local.ask("GET", f"/echo/{number}")[0], range(90)))
        assert statuses == [200] * 90


class TestQueues:
    def test_a_message_is_deleted_once_its_function_returned(self, local):
        local.enqueue("deleted")
        until(lambda: ["deleted", 1] in local.noted("done") and local.waiting("RunsQueue") == 0)

    def test_a_poisonous_message_is_a_dead_letter_after_as_many_receives_as_declared(self, local):
        local.enqueue("poison")
        until(lambda: local.waiting("RunsDeadLetters") == 1)
        assert local.noted("poison") == [1, 2, 3, 4, 5]
        assert local.waiting("RunsQueue") == 0

    def test_a_message_comes_again_when_its_worker_was_killed(self, local):
        local.enqueue("die once")
        until(lambda: ["die once", 2] in local.noted("done"))
        assert not running(local.noted("dying")[-1])

    def test_no_more_run_at_once_than_the_limit(self, local):
        local.enqueue(*["wait"] * 6)
        until(lambda: len(local.noted("end")) == 6)
        begun, ended = sorted(local.noted("begin")), sorted(local.noted("end"))
        at_once = [sum(one <= at for one in begun) - sum(one <= at for one in ended) for at in begun]
        assert max(at_once) == 2

    def test_a_pump_receives_no_more_than_may_be_in_flight_and_batches_as_declared(self, local):
        sqs, url = local.stack.client("sqs"), local.stack.scope.ids["JobsQueue"]
        for number in range(9):
            sqs.send_message(QueueUrl=url, MessageBody=str(number))
        both = threading.Barrier(3)
        seen = []

        def invoke(function, event):
            seen.append([record["body"] for record in event["Records"]])
            both.wait(10)

        pump = Pump(sqs, url, "arn:q", "f", invoke, batch_size=3, concurrency=2)
        pump.start()
        until(lambda: len(seen) == 2)
        assert local.waiting("JobsQueue") == 9
        names = ["ApproximateNumberOfMessagesNotVisible"]
        in_flight = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]]
        assert (in_flight, [len(batch) for batch in seen]) == ("6", [3, 3])
        both.wait(10)
        until(lambda: len(seen) == 3)
        both.abort()
        pump.stop()
        pump.join()
        assert sorted(body for batch in seen for body in batch) == [str(number) for number in range(9)]

    def test_an_event_has_the_shape_of_lambdas(self):
        received = {
            "MessageId": "m",
            "ReceiptHandle": "r",
            "MD5OfBody": "5",
            "Body": "b",
            "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "2"},
            "MessageAttributes": {"a": {"StringValue": "x", "DataType": "String"}},
        }
        assert sqs_event([received], "arn:aws:sqs:us-east-1:1:q") == {
            "Records": [
                {
                    "messageId": "m",
                    "receiptHandle": "r",
                    "body": "b",
                    "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "2"},
                    "messageAttributes": {
                        "a": {
                            "stringValue": "x",
                            "dataType": "String",
                            "stringListValues": [],
                            "binaryListValues": [],
                        }
                    },
                    "md5OfBody": "5",
                    "eventSource": "aws:sqs",
                    "eventSourceARN": "arn:aws:sqs:us-east-1:1:q",
                    "awsRegion": "us-east-1",
                }
            ]
        }


class TestAws:
    def test_of_sixteen_conditional_writers_one_wins(self, local):
        client, table = local.stack.client("dynamodb"), local.stack.environment["TABLE"]

        def put(key):
            try:
                client.put_item(
                    TableName=table,
                    Item={"pk": {"S": key}, "sk": {"S": "x"}},
                    ConditionExpression="attribute_not_exists(pk)",
                )
            except client.exceptions.ConditionalCheckFailedException:
                return 0
            return 1

        with ThreadPoolExecutor(16) as pool:
            for attempt in range(5):
                assert sum(pool.map(put, [f"race{attempt}"] * 16)) == 1

    def test_of_sixteen_create_only_uploads_one_wins(self, local):
        client, bucket = local.stack.client("s3"), local.stack.environment["BUCKET"]

        def put(number):
            try:
                client.put_object(Bucket=bucket, Key="race", Body=b"x" * 1000 * number, IfNoneMatch="*")
            except client.exceptions.ClientError as error:
                return error.response["Error"]["Code"]
            return "won"

        with ThreadPoolExecutor(16) as pool:
            assert sorted(pool.map(put, range(16))) == ["PreconditionFailed"] * 15 + ["won"]

    def test_who_asks_before_it_sends_an_object_is_told_to_go_on_at_once(self, local):
        """botocore waits a whole second for the word, at each object that it puts."""
        host, port = local.stack.cloud.endpoint.removeprefix("http://").split(":")
        bucket = local.stack.environment["BUCKET"]
        head = f"PUT /{bucket}/asked HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
            assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"abc")
            assert b" 200 OK\r\n" in connection.recv(65_536)
        assert local.stack.client("s3").get_object(Bucket=bucket, Key="asked")["Body"].read() == b"abc"

    def test_a_download_that_broke_off_is_resumed_by_the_url_that_a_link_leads_to(self, local):
        bucket = Bucket(local.stack.client("s3"), local.stack.environment["BUCKET"])
        bucket.put("exports/broken-off", b"0123456789", "text/csv")
        url = bucket.presigned_get(
            "exports/broken-off", disposition=disposition("week.csv"), media_type="text/csv", seconds=60
        )
        for asked, said, part in (("4-", "4-9", b"456789"), ("2-3", "2-3", b"23"), ("-1", "9-9", b"9")):
            request = urllib.request.Request(url, headers={"Range": f"bytes={asked}"})
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {said}/10")
                assert answer.read() == part
                assert 'filename="week.csv"' in answer.headers["Content-Disposition"]

    def test_mail_leaves_from_the_configured_sender_only(self, local):
        client = local.stack.client("sesv2")
        mail = {
            "Destination": {"ToAddresses": ["ops@example.org"]},
            "Content": {"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}},
        }
        assert client.send_email(FromEmailAddress=local.stack.environment["PANELPORT_SENDER"], **mail)["MessageId"]
        with pytest.raises(client.exceptions.ClientError, match="not verified"):
            client.send_email(FromEmailAddress="other@example.org", **mail)

    def test_a_long_poll_holds_up_nobody(self, local):
        client = local.stack.client("sqs")
        empty = local.stack.scope.ids["JobsDeadLetters"]
        with ThreadPoolExecutor(1) as pool:
            poll = pool.submit(client.receive_message, QueueUrl=empty, WaitTimeSeconds=20)
            client.send_message(QueueUrl=empty, MessageBody="enough")
            assert poll.result(10)["Messages"][0]["Body"] == "enough"


class TestCopyingOnce:
    def test_a_transaction_copies_a_table_once_and_the_next_one_anew(self):
        class Table:
            def __init__(self) -> None:
                self.rows = {"a": [1]}

        tables = Table(), Table()
        copies: list[Table] = []

        def transact(backend: object, writes: list[Table]) -> None:
            copies.extend(map(copy.deepcopy, writes))

        once = copying_once(transact, Table)
        once(None, [tables[0], tables[1], tables[0]])
        tables[0].rows["a"].append(2)
        once(None, [tables[0]])
        assert copies[0] is copies[2]
        assert [one.rows for one in copies] == [{"a": [1]}, {"a": [1]}, {"a": [1]}, {"a": [1, 2]}]
        assert copy.deepcopy(tables[0]) is not copies[3]

    def test_what_a_transaction_began_is_undone_by_the_copy(self, tmp_path):
        with server_process(tmp_path / "server.log") as process:
            client = ready(process).client("dynamodb")
            client.create_table(
                TableName="undone",
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            client.put_item(TableName="undone", Item={"pk": {"S": "a"}, "n": {"N": "1"}})
            update = {
                "TableName": "undone",
                "Key": {"pk": {"S": "a"}},
                "UpdateExpression": "SET n = :n",
                "ExpressionAttributeValues": {":n": {"N": "2"}},
            }
            new = {"TableName": "undone", "Item": {"pk": {"S": "b"}}}
            bad = {"TableName": "undone", "Item": {"pk": {"S": "c"}}, "ConditionExpression": "attribute_exists(pk)"}
            with pytest.raises(client.exceptions.TransactionCanceledException):
                client.transact_write_items(TransactItems=[{"Update": update}, {"Put": new}, {"Put": bad}])
            assert client.scan(TableName="undone")["Items"] == [{"pk": {"S": "a"}, "n": {"N": "1"}}]


class TestOneAtATime:
    @pytest.mark.parametrize(
        ("environ", "body", "most"),
        [
            ({"HTTP_X_AMZ_TARGET": "DynamoDB_20120810.PutItem"}, b"{}", 1),
            ({"HTTP_X_AMZ_TARGET": "AmazonSQS.ReceiveMessage"}, b"{}", 1),
            ({"HTTP_X_AMZ_TARGET": "AmazonSQS.ReceiveMessage"}, b'{"WaitTimeSeconds": 20}', 2),
            ({"REQUEST_METHOD": "PUT", "HTTP_IF_NONE_MATCH": "*"}, b"{}", 1),
            ({"REQUEST_METHOD": "PUT"}, b"{}", 2),
            ({"REQUEST_METHOD": "GET", "HTTP_IF_NONE_MATCH": "x"}, b"{}", 2),
        ],
    )
    def test_only_requests_that_must_not_overlap_wait_for_each_other(self, environ, body, most):
        both = threading.Barrier(2)
        seen = []

        def app(given, start_response):
            try:
                both.wait(0.2 if most == 1 else 10)
            except threading.BrokenBarrierError:
                seen.append("alone")
            else:
                seen.append("together")
            return [given["wsgi.input"].read()]

        wrapped = OneAtATime(app)

        def call(_):
            length = str(len(body))
            return list(wrapped({**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": length}, None))

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(call, range(2))) == [[body], [body]]
        assert seen == ["alone" if most == 1 else "together"] * 2


class TestSchedules:
    def test_a_rate_fires_soon_after_the_start_with_awss_event(self, local):
        [event, *_] = until(lambda: local.noted("swept"))
        assert event["source"] == "aws.events"
        assert event["detail-type"] == "Scheduled Event"
        assert abs(datetime.fromisoformat(event["time"]) - datetime.now(UTC)).total_seconds() < 60

    def test_a_registered_schedule_sends_its_input_at_its_minute_only(self, local):
        scheduler, environment = local.stack.client("scheduler"), local.stack.environment
        given = {
            "GroupName": environment["SCHEDULE_GROUP"],
            "ScheduleExpressionTimezone": "America/Vancouver",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": environment["RUNS_QUEUE_ARN"],
                "RoleArn": environment["SCHEDULE_ROLE_ARN"],
                "Input": '{"due": "<aws.scheduler.scheduled-time>"}',
            },
        }
        scheduler.create_schedule(Name="weekly", ScheduleExpression="cron(0 8 ? * MON *)", State="ENABLED", **given)
        scheduler.create_schedule(Name="off", ScheduleExpression="cron(0 8 ? * MON *)", State="DISABLED", **given)
        scheduler.create_schedule(Name="odd", ScheduleExpression="rate(1 days)", State="ENABLED", **given)
        for minute in (15, 16, 17):
            local.stack.clockwork.run_minute(datetime(2026, 11, 23, minute, 0, tzinfo=UTC))
        until(lambda: any("due" in str(body) for body, _ in local.noted("done")))
        until(lambda: local.waiting("RunsQueue") == 0)
        fired = [body for body, _ in local.noted("done") if "due" in str(body)]
        assert fired == ['{"due": "2026-11-23T16:00:00Z"}']

    @pytest.mark.parametrize(
        ("expression", "wall", "due"),
        [
            ("cron(0 8 ? * MON *)", "2026-11-23T08:00", True),
            ("cron(0 8 ? * 2 *)", "2026-11-23T08:00", True),
            ("cron(0 8 ? * MON *)", "2026-11-24T08:00", False),
            ("cron(0 8 ? * MON *)", "2026-11-23T08:01", False),
            ("cron(0 8 ? * MON *)", "2026-11-23T09:00", False),
            ("cron(0 8 ? * SUN,TUE-THU *)", "2026-11-22T08:00", True),
            ("cron(0 8 ? * SUN,TUE-THU *)", "2026-11-23T08:00", False),
            ("cron(0 0 L * ? *)", "2028-02-29T00:00", True),
            ("cron(0 0 L * ? *)", "2028-02-28T00:00", False),
            ("cron(0 0 ? * 2#1 *)", "2026-11-02T00:00", True),
            ("cron(0 0 ? * 2#1 *)", "2026-11-09T00:00", False),
            ("cron(0 0 ? * FRIL *)", "2026-11-27T00:00", True),
            ("cron(0 0 ? * FRIL *)", "2026-11-20T00:00", False),
            ("cron(15,45 * * * ? *)", "2026-11-23T03:45", True),
            ("cron(15,45 * * * ? *)", "2026-11-23T03:46", False),
            ("cron(0 0 1 1,7 ? *)", "2026-07-01T00:00", True),
            ("cron(0 0 1 1,7 ? *)", "2026-06-01T00:00", False),
        ],
    )
    def test_a_cron_is_due_on_the_wall_clock(self, expression, wall, due):
        assert cron(expression).matches(datetime.fromisoformat(wall)) is due

    @pytest.mark.parametrize(
        "expression",
        [
            "cron(0 8 * * MON *)",
            "cron(0 8 ? * ? *)",
            "cron(0 8 ? * 0 *)",
            "cron(60 8 ? * MON *)",
            "cron(0 24 ? * MON *)",
            "cron(0 8 ? * MON)",
            "cron(0 8 32 * ? *)",
            "cron(0/15 8 ? * MON *)",
            "cron(0 8 ? * FRI-MON *)",
            "cron(0 8 ? * MON 2027)",
            "cron(0 8 15W * ? *)",
            "cron(x 8 ? * MON *)",
            "rate(5 minutes)",
            "",
        ],
    )
    def test_what_is_no_cron_is_refused(self, expression):
        with pytest.raises(BadExpression):
            cron(expression)

    def test_every_cron_that_the_service_writes_is_read_and_due_when_it_says(self):
        day = datetime(2026, 11, 1)
        for text in ("*/15 8 * * *", "0 9-17 * * MON-FRI", "30 6 1,15 * 0", "0 0 31 1-7/2 *", "5 4 * JAN,jul SAT"):
            wanted = parse(text)
            made = [cron(one) for one in to_eventbridge(wanted)]
            for hour in range(24 * 100):
                for minute in (0, 5, 30, 45):
                    wall = day + timedelta(hours=hour, minutes=minute)
                    due = wanted.falls_on(wall.date()) and wall.hour in wanted.hours and wall.minute in wanted.minutes
                    assert any(one.matches(wall) for one in made) is due, (text, wall)

    def test_a_time_that_the_clock_skips_is_skipped_and_one_it_shows_twice_is_due_once(self):
        half_past_two, half_past_one = cron("cron(30 2 * * ? *)"), cron("cron(30 1 * * ? *)")
        spring = [datetime(2026, 3, 29, hour, 30, tzinfo=UTC) for hour in range(20)]
        autumn = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in range(20)]
        assert [minute.hour for minute in spring if is_due(half_past_two, "Europe/Berlin", minute)] == []
        assert [minute.hour for minute in spring if is_due(half_past_one, "Europe/Berlin", minute)] == [0]
        assert [minute.hour for minute in autumn if is_due(half_past_two, "Europe/Berlin", minute)] == [0]
        assert [minute.hour for minute in autumn if is_due(half_past_one, "Europe/London", minute)] == [0]

    def test_each_minute_is_seen_once_and_a_long_sleep_is_not_made_up_for(self):
        at = datetime(2026, 11, 23, 8, 0, 30, tzinfo=UTC)
        assert minutes_between(at, at.replace(second=59)) == []
        assert minutes_between(at, at.replace(minute=1, second=0)) == [at.replace(minute=1, second=0)]
        assert minutes_between(at.replace(minute=1, second=0), at.replace(minute=1, second=1)) == []
        assert [one.minute for one in minutes_between(at, at.replace(minute=3))] == [1, 2, 3]
        assert [one.minute for one in minutes_between(at, at.replace(minute=50))] == [46, 47, 48, 49, 50]

    def test_schedulers_keywords_are_filled_in(self):
        due = datetime(2026, 11, 23, 16, tzinfo=UTC)
        text = "<aws.scheduler.scheduled-time> <aws.scheduler.schedule-arn> <aws.scheduler.attempt-number> <other>"
        assert filled_in(text, "arn:x", due) == "2026-11-23T16:00:00Z arn:x 1 <other>"

    @pytest.mark.parametrize(
        ("expression", "seconds"),
        [("rate(1 minute)", 60), ("rate(2 hours)", 7200), ("rate(1 day)", 86400), ("rate(0 minutes)", None)],
    )
    def test_a_rate_is_so_many_seconds(self, expression, seconds):
        assert rate_seconds(expression) == seconds


class TestTemplates:
    TEMPLATE = """
Parameters: {Days: {Type: Number, Default: 7}, Sender: {Type: String, Default: ''}}
Conditions: {Mails: !Not [!Equals [!Ref Sender, '']]}
Values:
  a: !Ref Table
  b: !GetAtt Table.Arn
  c: !Sub '${Table}/${Table.Arn}/${AWS::Region}/${!literal}/${Days}'
  d: !Sub ['${x}-${Table}', {x: !Ref Days}]
  e: !Join ['-', [a, !Ref Table]]
  f: !If [Mails, yes, no]
  g: [!If [Mails, 1, !Ref 'AWS::NoValue'], 2]
  h: !Select [1, !Split [',', 'a,b']]
"""

    def scope(self, folder, **parameters):
        file = folder / "template.yaml"
        file.write_text(self.TEMPLATE)
        return Scope(read_template(file), parameters, {"Table": "t"}, {"Table.Arn": "arn:t"})

    def test_intrinsic_functions_come_to_their_values(self, tmp_path):
        scope = self.scope(tmp_path)
        assert scope.resolved(scope.template["Values"]) == {
            "a": "t",
            "b": "arn:t",
            "c": "t/arn:t/us-east-1/${literal}/7",
            "d": "7-t",
            "e": "a-t",
            "f": False,
            "g": [2],
            "h": "b",
        }

    def test_conditions_follow_the_parameters(self, tmp_path):
        scope = self.scope(tmp_path, Sender="a@example.org")
        assert scope.resolved(scope.template["Values"]["g"]) == [1, 2]

    def test_a_name_that_stands_for_nothing_is_an_error(self, tmp_path):
        with pytest.raises(KeyError):
            self.scope(tmp_path).resolved({"Ref": "Nope"})

    @pytest.mark.parametrize(
        ("resources", "named"),
        [
            ({"Odd": {"Type": "AWS::Neptune::DBCluster"}}, "Neptune"),
            ({"Q": {"Type": "AWS::SQS::Queue", "Properties": {"RedrivePolicy": {"a": {"Ref": "Nope"}}}}}, "Q refer"),
        ],
    )
    def test_a_resource_that_cannot_be_created_is_an_error_that_names_it(self, resources, named):
        with pytest.raises(UnknownResource, match=named):
            created(Cloud(None, "http://127.0.0.1:1").client, Scope({"Resources": resources}))


class TestStartAndStop:
    def test_an_app_that_cannot_be_imported_says_why(self, tmp_path):
        (tmp_path / "app.py").write_text("import os\nraise RuntimeError(f'no luck with {os.environ[\"TABLE\"]}')\n")
        runtime = Runtime(tmp_path)
        with pytest.raises(BrokenApp, match="no luck with t1"):
            runtime.load("app", tmp_path, {"TABLE": "t1"})
        runtime.close()

    def test_stopping_in_the_middle_of_an_invocation_ends_it_and_every_process(self, tmp_path):
        runtime = Runtime(tmp_path)
        runtime.load(SAMPLE, tmp_path, {"PATH": os.environ["PATH"]})
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(runtime.invoke, "tools", "sleep")
            pids = until(lambda: len(runtime.pids()) == 2 and runtime.pids())
            assert all(running(pid) for pid in pids)
            runtime.close()
            with pytest.raises(Stopped):
                call.result(5)
        assert not any(running(pid) for pid in pids)
        with pytest.raises(Stopped):
            runtime.invoke("tools", "context")

    def test_nothing_is_left_when_the_starter_is_killed_nor_when_dev_is_told_to_stop(self, tmp_path):
        """Two at once: a stack whose starter is killed in the middle of an invocation, and `make dev`."""
        plan = f"Plan(module={SAMPLE!r}, logs=Path({str(tmp_path)!r}), environment={{'SAMPLE_NOTES': '/dev/null'}})"
        imports = "import sys; from pathlib import Path; from infra.local.stack import Plan, Stack\n"
        starter = f"{imports}stack = Stack({plan}); print(*stack.pids(), flush=True); stack.invoke('tools', 'sleep')\n"
        ready = tmp_path / "dev.json"
        dev = f"{imports}from infra.local import dev; sys.exit(dev.run({plan}, False, Path({str(ready)!r})))\n"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": PROJECT}
        first, second = (subprocess.Popen([sys.executable, "-c", script], **pipes) for script in (starter, dev))
        pids = [int(pid) for pid in first.stdout.readline().split()]
        until(lambda: (tmp_path / "tools.log").exists())
        assert all(running(pid) for pid in pids)
        first.kill()
        first.communicate()
        until(lambda: not any(running(pid) for pid in pids))

        until(ready.exists, 20)
        said = json.loads(ready.read_text())
        children = Path(f"/proc/{second.pid}/task/{second.pid}/children").read_text().split()
        assert [one["id"] for one in said["domains"]] == ["demo", "other"]
        assert all(one["api_key"].startswith("pp_") for one in said["domains"])
        connection = http.client.HTTPConnection("127.0.0.1", int(said["url"].rsplit(":", 1)[1]), timeout=10)
        connection.request("GET", "/bytes", headers={"Accept": "*/*"})
        assert connection.getresponse().status == 200
        connection.close()
        assert len(children) == 2
        second.terminate()
        out, errors = second.communicate(timeout=20)
        assert (second.returncode, errors.decode(), ready.exists()) == (0, "", False)
        assert said["url"] in out.decode()
        assert not any(running(pid) for pid in children)

    def test_dev_says_in_one_line_that_its_port_is_taken_and_leaves_the_others_file(self, tmp_path):
        ready = tmp_path / "dev.json"
        ready.write_text("theirs")
        with socket.create_server(("127.0.0.1", 0)) as other:
            with pytest.raises(OSError, match="in use"):
                dev.run(Plan(port=other.getsockname()[1]), seed=False, ready=ready)
            command = [sys.executable, "-m", "infra.local.dev"]
            environment = {**os.environ, "PORT": str(other.getsockname()[1])}
            ran = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, check=False, timeout=20)
        assert ran.returncode == 1
        assert ran.stdout == b""
        assert len(ran.stderr.decode().splitlines()) == 1
        assert ready.read_text() == "theirs"

    def test_a_ready_file_is_taken_away_by_the_stack_that_it_speaks_of_only(self, tmp_path):
        ready = tmp_path / "dev.json"
        dev.announce(ready, "http://127.0.0.1:1", {"demo": "k"})
        dev.withdraw(ready, "http://127.0.0.1:2")
        said = {"url": "http://127.0.0.1:1", "domains": [{"id": "demo", "api_key": "k"}]}
        assert json.loads(ready.read_text()) == said
        assert ready.stat().st_mode & 0o077 == 0
        dev.withdraw(ready, "http://127.0.0.1:1")
        dev.withdraw(ready, "http://127.0.0.1:1")
        assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def given():
    return sample(UNTIL)


class TestSample:
    def test_the_sample_is_the_same_each_time_and_as_large_as_it_says(self, given):
        assert given == sample(UNTIL)
        assert len(given.participants) == 1000
        assert 14_000 < len(given.events) < 18_000
        assert {one["membership"] for one in given.participants} == {"subscribed", "unsubscribed", "purged", "one_time"}
        for name, items in (("event_id", given.events), ("participant_id", given.participants)):
            assert len({one[name] for one in items}) == len(items)

    def test_nothing_in_the_sample_lies_in_the_future_or_speaks_of_what_is_not_there(self, given):
        chats = {one["id"] for one in given.conversations}
        people = {one["participant_id"]: one for one in given.participants}
        for event in given.events:
            assert people[event["participant_id"]]["created_at"] <= event["occurred_at"] <= "2026-11-21"
            assert event["params"].get("conversation_id") in (None, *chats)
        assert not any("email" in one for one in given.participants if one["membership"] == "purged")

    def test_the_sample_is_loaded_in_batches_that_the_api_takes(self, given):
        seen, told = [], []

        def answer(request):
            seen.append((request.method, request.path, request.body, dict(request.headers)["Authorization"]))
            return Response(202, (), b"{}")

        server = HttpServer(0, answer)
        server.start()
        load(f"http://127.0.0.1:{server.port}", "pp_k", given, lambda *step: told.append(step))
        server.stop()
        batches = [json.loads(body) for _, path, body, _ in seen if path in ("/v1/events", "/v1/participants")]
        sizes = [len(items) for batch in batches for items in batch.values()]
        assert max(sizes) == 1000
        assert sum(sizes) == len(given.events) + len(given.participants)
        assert {key for *_, key in seen} == {"Bearer pp_k"}
        assert told[-1] == ("events", len(given.events), len(given.events))
        defined = {path.removeprefix("/v1/attributes/") for method, path, *_ in seen if method == "PUT"}
        assert defined == set(given.attributes)

    def test_a_part_that_the_api_refuses_is_named(self, given):
        server = HttpServer(0, lambda request: Response(422, (), b"why not"))
        server.start()
        with pytest.raises(Refused, match="PUT /v1/attributes/Gender: 422 why not"):
            load(f"http://127.0.0.1:{server.port}", "pp_k", given)
        server.stop()
