"""Handlers in the style of AWS's documentation, unmodified: what they are given, how they answer, what they log.

Long, because every handler is written out as somebody would write it.
"""

import json

import pytest

PYTHON = {
    "returns a greeting made of the event": (
        """
        def handler(event, context):
            message = 'Hello {} {}!'.format(event['first_name'], event['last_name'])
            return {'message': message}
        """,
        {"first_name": "Ada", "last_name": "Lovelace"},
        {"message": "Hello Ada Lovelace!"},
    ),
    "reads its context": (
        """
        def handler(event, context):
            assert 0 < context.get_remaining_time_in_millis() <= 3000
            assert context.aws_request_id.startswith("exec_")
            assert context.log_group_name == f"/aws/lambda/{context.function_name}"
            assert context.log_stream_name and context.identity.cognito_identity_id is None
            assert context.client_context is None
            assert context.invoked_function_arn.endswith(":function:" + context.function_name)
            return [context.function_version, int(context.memory_limit_in_mb)]
        """,
        {},
        ["1", 128],
    ),
    "routes the requests of an API": (
        """
        import json
        def handler(event, context):
            if event["httpMethod"] == "GET" and event["path"] == "/items":
                return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(["a"])}
            return {"statusCode": 404, "body": ""}
        """,
        {"httpMethod": "GET", "path": "/items"},
        {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": '["a"]'},
    ),
    "goes through the records of a queue and reports which failed": (
        """
        import json
        def handler(event, context):
            failures = []
            for record in event["Records"]:
                try:
                    json.loads(record["body"])
                except ValueError:
                    failures.append({"itemIdentifier": record["messageId"]})
            return {"batchItemFailures": failures}
        """,
        {"Records": [{"messageId": "1", "body": "{}"}, {"messageId": "2", "body": "{"}]},
        {"batchItemFailures": [{"itemIdentifier": "2"}]},
    ),
    "decodes the records of a stream": (
        """
        import base64
        def handler(event, context):
            return [base64.b64decode(record["kinesis"]["data"]).decode("utf-8") for record in event["Records"]]
        """,
        {"Records": [{"kinesis": {"data": "SGVsbG8="}}]},
        ["Hello"],
    ),
    "unquotes the key of a stored object": (
        """
        import urllib.parse
        def handler(event, context):
            record = event["Records"][0]["s3"]
            return record["bucket"]["name"] + "/" + urllib.parse.unquote_plus(record["object"]["key"])
        """,
        {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "a+b%21"}}}]},
        "b/a b!",
    ),
    "keeps what was made outside of the handler": (
        """
        counter = 0
        def handler(event, context):
            global counter
            counter += 1
            return counter
        """,
        {},
        1,
    ),
    "uses its environment": (
        """
        import os
        REGION = os.environ["STAGE"]
        def handler(event, context):
            return [REGION, os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], os.environ["_HANDLER"], os.getcwd()]
        """,
        {},
        ["test", "128", "app.handler", "/var/task"],
    ),
    "writes to its temporary directory": (
        """
        import tempfile
        def handler(event, context):
            with tempfile.NamedTemporaryFile("w+", dir="/tmp") as file:
                file.write(event)
                file.seek(0)
                return file.read()
        """,
        "text",
        "text",
    ),
    "runs a program of the system": (
        """
        import subprocess
        def handler(event, context):
            return subprocess.run(["echo", event], capture_output=True, text=True, check=True).stdout
        """,
        "hi",
        "hi\n",
    ),
    "uses threads and processes": (
        """
        from concurrent.futures import ThreadPoolExecutor
        from multiprocessing import Pipe, Process
        def child(end):
            end.send("from a process")
        def handler(event, context):
            here, there = Pipe()
            process = Process(target=child, args=(there,))
            process.start()
            said = here.recv()
            process.join()
            with ThreadPoolExecutor(2) as pool:
                return [said, *pool.map(str, [1, 2])]
        """,
        {},
        ["from a process", "1", "2"],
    ),
    "is a coroutine run by asyncio": (
        """
        import asyncio
        async def work(event):
            await asyncio.sleep(0)
            return event[::-1]
        def handler(event, context):
            return asyncio.run(work(event))
        """,
        "λ → ü",
        "ü → λ",
    ),
    "is a callable object": (
        """
        class Handler:
            def __call__(self, event, context):
                return event
        handler = Handler()
        """,
        None,
        None,
    ),
}

NODE = {
    "is async": (
        "exports.handler = async (event) => ({ statusCode: 200, body: JSON.stringify(event) });",
        [1],
        {"statusCode": 200, "body": "[1]"},
    ),
    "answers by callback": (
        "exports.handler = function (event, context, callback) { callback(null, event.a); };",
        {"a": 2},
        2,
    ),
    "answers by callback, later": (
        "exports.handler = (event, context, callback) => { setTimeout(() => callback(null, 'later'), 20); };",
        {},
        "later",
    ),
    "has its callback wait for what still runs": (
        "let done = false; exports.handler = (event, context, callback) => { setTimeout(() => { done = true; }, 20); callback(null, { toJSON: () => done }); };",
        {},
        True,
    ),
    "has its callback not wait if it says so": (
        "exports.handler = (event, context, callback) => { context.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000); callback(null, 'at once'); };",
        {},
        "at once",
    ),
    "answers by context.succeed": ("exports.handler = (event, context) => { context.succeed('old'); };", {}, "old"),
    "answers by context.done": ("exports.handler = (event, context) => { context.done(null, 'older'); };", {}, "older"),
    "never answers": ("exports.handler = async () => { await new Promise(() => {}); };", {}, None),
    "returns a promise": ("exports.handler = (event) => Promise.resolve([event]);", 1, [1]),
    "reads its context": (
        """
        exports.handler = async (event, context) => {
          const left = context.getRemainingTimeInMillis();
          if (!(left > 0 && left <= 3000) || !context.awsRequestId.startsWith("exec_")) throw new Error("context");
          return [context.functionVersion, context.memoryLimitInMB, context.logGroupName === `/aws/lambda/${context.functionName}`, process.env.STAGE];
        };
        """,
        {},
        ["1", "128", True, "test"],
    ),
    "uses modules of node": (
        """
        const { createHash } = require("node:crypto");
        const fs = require("fs/promises");
        exports.handler = async (event) => {
          await fs.writeFile("/tmp/x", event);
          return createHash("sha256").update(await fs.readFile("/tmp/x")).digest("hex").slice(0, 8);
        };
        """,
        "abc",
        "ba7816bf",
    ),
    "keeps what was made outside of the handler": ("let n = 0; exports.handler = async () => ++n;", {}, 1),
}


@pytest.mark.parametrize(("code", "event", "expected"), PYTHON.values(), ids=PYTHON)
def test_a_python_handler_that(runner, code, event, expected):
    outcome = runner.run(code, json.dumps(event).encode(), env={"STAGE": "test"})
    assert outcome.status == "succeeded", outcome
    assert json.loads(outcome.result) == expected


@pytest.mark.parametrize(("code", "event", "expected"), NODE.values(), ids=NODE)
def test_a_node_handler_that(runner, code, event, expected):
    outcome = runner.run(code, json.dumps(event).encode(), family="node", env={"STAGE": "test"})
    assert outcome.status == "succeeded", outcome
    assert json.loads(outcome.result) == expected


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        (
            {
                "index.mjs": "import { greet } from './greet.mjs';\nexport const handler = async () => greet;",
                "greet.mjs": "export const greet = 'hi';",
            },
            "index.handler",
        ),
        (
            {"index.js": "export const handler = async () => 'hi';", "package.json": '{"type": "module"}'},
            "index.handler",
        ),
        (
            {
                "index.mjs": "const greeting = await Promise.resolve('hi');\nexport const handler = async () => greeting;"
            },
            "index.handler",
        ),
        ({"index.mjs": "export default { handler: async () => 'hi' };"}, "index.handler"),
        (
            {
                "src/app.js": "exports.api = { hello: async () => require('say') };",
                "node_modules/say/index.js": "module.exports = 'hi';",
            },
            "src/app.api.hello",
        ),
        ({"index.cjs": "module.exports.handler = async () => 'hi';"}, "index.handler"),
    ],
)
def test_a_node_module_of_any_kind_is_loaded(runner, files, handler):
    outcome = runner.run(files, family="node", handler=handler)
    assert outcome.result == b'"hi"', outcome


def test_a_python_package_is_loaded_by_its_path(runner):
    files = {
        "pkg/__init__.py": "",
        "pkg/mod.py": "from .say import hi\ndef handler(event, context):\n    return hi\n",
        "pkg/say.py": "hi = 'hi'\n",
    }
    assert runner.run(files, handler="pkg.mod.handler").result == b'"hi"'
    assert runner.run(files, handler="pkg/mod.handler").result == b'"hi"'


def test_large_code_is_mounted_and_cannot_be_changed(runner):
    code = "import os\nfrom data import DATA\ndef handler(event, context):\n    return [len(DATA), os.access('/var/task/data.py', os.W_OK)]\n"
    files = {"app.py": code, "data.py": "DATA = '" + "x" * (3 << 20) + "'\n"}
    outcome = runner.run(files)
    assert json.loads(outcome.result) == [3 << 20, False]


def test_an_exception_comes_with_the_stack_of_the_users_own_code(runner):
    outcome = runner.run(
        "class Broken(Exception):\n    pass\ndef inner():\n    raise Broken('no luck')\ndef handler(event, context):\n    inner()\n"
    )
    assert (outcome.status, outcome.error.type, outcome.error.message) == ("failed", "Broken", "no luck")
    assert ["in handler" in line or "in inner" in line for line in outcome.error.stack] == [True, True]
    assert "[ERROR] Broken: no luck" in outcome.log_tail
    assert outcome.result is None


def test_an_error_of_node_comes_with_its_name_and_stack(runner):
    code = "class Broken extends Error { constructor(m) { super(m); this.name = 'Broken'; } }\nconst inner = () => { throw new Broken('no luck'); };\nexports.handler = async () => inner();\n"
    outcome = runner.run(code, family="node")
    assert (outcome.error.type, outcome.error.message) == ("Broken", "no luck")
    assert "/var/task/app.js:2" in outcome.error.stack[0]
    assert "bootstrap" not in "".join(outcome.error.stack)
    assert "Broken: no luck" in outcome.log_tail


@pytest.mark.parametrize(
    "code",
    [
        "exports.handler = (event, context, callback) => callback(new Error('no'));",
        "exports.handler = (event, context) => context.fail('no');",
    ],
)
def test_a_node_handler_fails_by_its_callback(runner, code):
    outcome = runner.run(code, family="node")
    assert outcome.status == "failed"
    assert outcome.error.message == "no"


@pytest.mark.parametrize(
    ("code", "handler", "kind"),
    [
        ("import nothing_like_it\n", "app.handler", "Runtime.ImportModuleError"),
        ("def handler(:\n", "app.handler", "Runtime.UserCodeSyntaxError"),
        ("x = 1\n", "app.handler", "Runtime.HandlerNotFound"),
        ("x = 1\n", "other.handler", "Runtime.ImportModuleError"),
        ("x = 1\n", "handler", "Runtime.MalformedHandlerName"),
        ("raise ValueError('at import')\n", "app.handler", "ValueError"),
        ("import sys\nsys.exit(1)\n", "app.handler", "Runtime.ExitError"),
    ],
)
def test_python_code_that_cannot_be_loaded_is_a_typed_error(runner, code, handler, kind):
    revision = runner.deploy(code, handler=handler)
    build = runner.driver.check(revision)
    assert (build.ok, build.error.type) == (False, kind)
    outcome = runner.invoke(revision)
    assert (outcome.status, outcome.error.type) == ("failed", kind)


@pytest.mark.parametrize(
    ("code", "handler", "kind"),
    [
        ("require('nothing-like-it');", "app.handler", "Runtime.ImportModuleError"),
        ("exports.handler = (;", "app.handler", "Runtime.UserCodeSyntaxError"),
        ("exports.other = 1;", "app.handler", "Runtime.HandlerNotFound"),
        ("exports.other = 1;", "other.handler", "Runtime.ImportModuleError"),
        ("throw new RangeError('at import');", "app.handler", "RangeError"),
        ("process.exit(1);", "app.handler", "Runtime.ExitError"),
    ],
)
def test_node_code_that_cannot_be_loaded_is_a_typed_error(runner, code, handler, kind):
    build = runner.driver.check(runner.deploy(code, family="node", handler=handler))
    assert (build.ok, build.error.type) == (False, kind)


def test_an_event_that_is_no_json_is_a_typed_error(runner):
    assert runner.run("def handler(event, context):\n    return 1\n", b"{").error.type == "Runtime.UnmarshalError"


def test_the_log_has_the_lines_of_aws_and_those_of_logging(runner):
    code = """
    import logging
    logger = logging.getLogger()
    logger.setLevel("INFO")
    print("loading")
    def handler(event, context):
        print("printed", end="")
        logger.info("logged")
    """
    revision = runner.deploy(code)
    first = runner.invoke(revision, execution="exec_logs")
    lines = first.log_tail.splitlines()
    assert lines[:2] == ["loading", "START RequestId: exec_logs Version: 1"]
    assert lines[2].startswith("printed[INFO]\t2")
    assert lines[2].endswith("Z\texec_logs\tlogged")
    assert lines[3] == "END RequestId: exec_logs"
    assert lines[4].startswith("REPORT RequestId: exec_logs\tDuration: ")
    assert "Memory Size: 128 MB" in lines[4]
    assert "Init Duration" in lines[4]
    again = runner.invoke(revision).log_tail
    assert "loading" not in again
    assert "Init Duration" not in again
