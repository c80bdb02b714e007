"""Log lines: one chain for all loggers, with the id of the request that caused them."""

import json
import logging

import pytest

from config import logs
from core.context import acting


@pytest.fixture(autouse=True)
def own_logging():
    """Afterwards the test run's own logging is back."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_of_any_logger_carries_the_request_id(capsys):
    logs.configure(json=True, level="INFO")
    with acting(through="api", request="req_1"):
        logging.getLogger("somebody.elses").warning("seen %s", "it")
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["request_id"]) == ("seen it", "warning", "req_1")


def test_an_exception_is_one_line_of_json(capsys):
    logs.configure(json=True, level="INFO")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("a").exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: broken" in line["exception"]


def test_a_refused_request_is_logged_with_its_id(capsys, client):
    logs.configure(json=True, level="INFO")
    response = client.get("/v1/instances")
    (line,) = [line for line in lines(capsys) if line["logger"] == "django.request"]
    assert line["request_id"] == response.headers["X-Request-Id"]


def test_an_unready_answer_is_not_logged_each_time(capsys, client, db):
    logs.configure(json=True, level="INFO")
    assert client.get("/readyz").status_code == 503
    assert lines(capsys) == []
