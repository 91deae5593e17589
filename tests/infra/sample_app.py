"""A small Chalice app with one of everything that the local stack must run."""

import base64
import json
import os
import time

import boto3
from chalice import AuthResponse, Chalice, CORSConfig, Rate, Response

app = Chalice(app_name="sample")
app.api.binary_types = ["*/*"]
CORS = CORSConfig(allow_origin="https://app.example")


@app.authorizer(ttl_seconds=0)
def check_key(request):
    if request.token == "Bearer broken":
        raise RuntimeError("no database")
    if not request.token.startswith("Bearer "):
        raise Exception("Unauthorized")
    routes = [] if request.token == "Bearer nobody" else ["*"]
    return AuthResponse(routes=routes, principal_id="me", context={"domain": "demo", "admin": True, "size": 3})


def answered(value, status=200, headers=None):
    return Response(
        json.dumps(value).encode(), status_code=status, headers={"Content-Type": "application/json", **(headers or {})}
    )


@app.route("/echo/{name}", methods=["GET", "POST", "DELETE"], content_types=[])
def echo(name):
    request = app.current_request
    return answered(
        {
            "name": name,
            "method": request.method,
            "query": request.to_dict()["query_params"],
            "body": base64.b64encode(request.raw_body).decode(),
            "ip": request.context["identity"]["sourceIp"],
            "pid": os.getpid(),
        }
    )


@app.route("/echo/fixed")
def fixed():
    return answered({"name": None}, headers={"WWW-Authenticate": "Basic", "Set-Cookie": ["a=1", "b=2"]})


@app.route("/private", authorizer=check_key)
def private():
    return answered(app.current_request.context["authorizer"])


@app.route("/json", methods=["POST"])
def taken():
    return answered(app.current_request.json_body)


@app.route("/bytes")
def raw():
    return Response(bytes(range(256)), headers={"Content-Type": "application/octet-stream"})


@app.route("/unserialisable")
def unserialisable():
    return {"when": object()}


@app.route("/die")
def die():
    os.kill(os.getpid(), 9)


@app.route("/slow")
def slow():
    time.sleep(30)


@app.route("/environment")
def environment():
    names = ("TABLE", "BUCKET", "RUNS_QUEUE_URL", "AWS_ENDPOINT_URL", "PANELPORT_BASE_URL", "AWS_LAMBDA_FUNCTION_NAME")
    return answered({name: os.environ.get(name) for name in names})


def note(kind, value):
    """Append a line to the file that a test reads."""
    with open(os.environ["SAMPLE_NOTES"], "a") as file:
        file.write(json.dumps([kind, value]) + "\n")


@app.on_sqs_message(queue="runs", batch_size=1)
def run_export(event):
    for record in event:
        count = int(record.to_dict()["attributes"]["ApproximateReceiveCount"])
        if record.body == "poison":
            note("poison", count)
            raise RuntimeError("poison")
        if record.body == "die once" and count == 1:
            note("dying", os.getpid())
            os.kill(os.getpid(), 9)
        if record.body == "wait":
            note("begin", time.monotonic())
            time.sleep(0.15)
            note("end", time.monotonic())
        note("done", [record.body, count])


@app.schedule(Rate(1, unit=Rate.MINUTES))
def sweep(event):
    note("swept", event.to_dict())


@app.lambda_function(name="tools")
def tools(event, context):
    if event == "fail":
        raise ValueError("as told")
    if event == "sleep":
        time.sleep(30)
    if event == "hold":
        time.sleep(0.2)
        return os.getpid()
    if event == "context":
        return {
            "function": context.function_name,
            "memory": context.memory_limit_in_mb,
            "left": context.get_remaining_time_in_millis(),
            "id": context.aws_request_id,
            "pid": os.getpid(),
        }
    if event == "tables":
        return boto3.client("dynamodb").list_tables()["TableNames"]
    return event
