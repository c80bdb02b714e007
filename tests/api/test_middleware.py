"""Who a request comes from, whether it came safely, and what it is charged."""

import time

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from api.middleware import RequestIdMiddleware, anonymous_key, client_ip
from compute.models import Instance
from tests import make
from tests.api.test_errors import refused

pytestmark = pytest.mark.django_db


def ip_of(address, forwarded=None):
    extra = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded is not None else {}
    return client_ip(RequestFactory().get("/", REMOTE_ADDR=address, **extra))


def test_a_head_has_the_length_of_a_body_and_none():
    """The test client would take it away by itself; a server would, and log each time that it had to."""
    answer = RequestIdMiddleware(lambda _: HttpResponse("four", headers={"Content-Length": "4"}))
    head = answer(RequestFactory().head("/"))
    assert (head.content, head["Content-Length"]) == (b"", "4")


class TestTheCallersAddress:
    @pytest.fixture(autouse=True)
    def _proxies(self, settings):
        settings.LAMBDA_TRUSTED_PROXIES = ["10.0.0.0/8", "2001:db8:1::/48"]

    @pytest.mark.parametrize(
        ("address", "forwarded", "expected"),
        [
            ("203.0.113.1", None, "203.0.113.1"),
            ("203.0.113.1", "198.51.100.1", "203.0.113.1"),  # a stranger's word
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # what the client itself wrote is to the left
            ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", ",", "10.0.0.1"),
            ("10.0.0.1", "unknown", "10.0.0.1"),
            ("10.0.0.1", "1.1.1.1, _hidden", "10.0.0.1"),
            ("2001:db8:1::5", "2001:db8:2::9", "2001:db8:2::9"),
            ("::ffff:203.0.113.1", None, "203.0.113.1"),
            ("fe80::1%eth0", None, "fe80::1"),
            ("", None, "127.0.0.1"),
        ],
    )
    def test_is_the_sockets_unless_a_trusted_proxy_says_otherwise(self, address, forwarded, expected):
        assert ip_of(address, forwarded) == expected

    @pytest.mark.parametrize("address", ["203.0.113.1", "2001:db8::1", "fe80::1%eth0", ""])
    def test_of_any_kind_is_answered(self, settings, address):
        settings.LAMBDA_TRUSTED_PROXIES = []
        answer = make.Api().get("/nothing", REMOTE_ADDR=address)
        assert answer.status_code in (403, 404)
        assert answer["X-RateLimit-Limit"] == "600"


def test_an_ipv6_network_has_one_bucket_and_an_ipv4_address_its_own():
    def bucket(address):
        request = RequestFactory().get("/")
        request.client_ip = address
        return anonymous_key(request)

    assert bucket("2001:db8:0:1::1") == bucket("2001:db8:0:1:ffff::9") != bucket("2001:db8:0:2::1")
    assert bucket("203.0.113.1") != bucket("203.0.113.2")


class TestHttps:
    @pytest.fixture(autouse=True)
    def _required(self, settings):
        settings.LAMBDA_REQUIRE_HTTPS = True
        settings.LAMBDA_TRUSTED_PROXIES = ["10.0.0.0/8"]

    @pytest.mark.parametrize(
        ("extra", "status"),
        [
            ({}, 403),
            ({"HTTP_X_FORWARDED_PROTO": "https"}, 403),  # said by nobody whom we trust
            ({"HTTP_X_FORWARDED_PROTO": "https", "REMOTE_ADDR": "10.0.0.1"}, 200),
            ({"HTTP_X_FORWARDED_PROTO": "http", "REMOTE_ADDR": "10.0.0.1"}, 403),
            ({"REMOTE_ADDR": "10.0.0.1"}, 403),
            ({"wsgi.url_scheme": "https"}, 200),
        ],
    )
    def test_plain_requests_are_refused_and_never_redirected(self, extra, status):
        answer = make.make_api().get("/instances", **extra)
        assert answer.status_code == status
        if status == 403:
            error = refused(answer, 403, "https_required")
            assert "rotate" in error["suggestion"]

    def test_a_refused_request_has_no_effect(self):
        api = make.make_api()
        refused(api.post("/instances", make.WANTED), 403, "https_required")
        assert not Instance.objects.exists()

    def test_health_is_answered_in_plain(self):
        assert Client().get("/healthz").status_code == 200


def test_in_development_plain_http_is_for_this_machine_only(settings):
    settings.LAMBDA_TRUSTED_PROXIES = []
    api = make.make_api()
    assert api.get("/instances", REMOTE_ADDR="127.0.0.1").status_code == 200
    assert api.get("/instances", REMOTE_ADDR="::1").status_code == 200
    refused(api.get("/instances", REMOTE_ADDR="203.0.113.1"), 403, "https_required")


def burst(ask):
    """How many requests were admitted before one was refused, and the refusal; meanwhile the bucket is refilled."""
    answers = iter(ask, None)
    for number, answer in enumerate(answers):
        if answer.status_code == 429 or number == 500:
            return number, answer


class TestRateLimits:
    def test_of_the_account_are_on_every_answer(self):
        api = make.make_api(make.make_account(plan="professional"))
        left = []
        for path in ("/instances", "/nothing", "/instances?colour=red", "/instances/inst_x"):
            answer = api.get(path)
            assert answer["X-RateLimit-Limit"] == "10000"
            assert 0 < int(answer["X-RateLimit-Reset"]) - time.time() <= 3600
            assert int(answer["X-RateLimit-Reset"]) % 3600 == 0
            left.append(int(answer["X-RateLimit-Remaining"]))
        assert left == [9999, 9998, 9997, 9996]

    def test_are_shared_by_all_keys_of_an_account(self):
        account = make.make_account()
        first, second = make.make_api(account), make.make_api(account)
        assert int(first.get("/instances")["X-RateLimit-Remaining"]) == 99_999
        assert int(second.get("/instances")["X-RateLimit-Remaining"]) == 99_998

    def test_beyond_them_the_answer_says_when_to_come_back(self):
        api = make.make_api(make.make_account(plan="free"))
        admitted, answer = burst(lambda: api.get("/instances"))
        assert 50 <= admitted < 70
        error = refused(answer, 429, "rate_limit_exceeded")
        assert 1 <= error["retry_after"] == int(answer["Retry-After"]) <= 4
        assert error["message"] == f"Rate limit exceeded. Retry after {error['retry_after']} seconds."
        assert int(answer["X-RateLimit-Remaining"]) == 1000 - admitted

    def test_charge_nobody_for_a_request_without_a_valid_key(self):
        account = make.make_account(plan="free")
        secret = make.make_key(account)[1]
        for wrong in (secret.key_ascii[:-1] + "!", "lambda_" + "sk_" + "0" * 38):
            make.Api().get("/instances", HTTP_X_API_KEY=wrong)
        assert make.Api(secret.key).get("/instances")["X-RateLimit-Remaining"] == "999"

    def test_of_strangers_are_counted_by_address_also_for_wrong_keys(self):
        api = make.Api()
        admitted, answer = burst(lambda: api.get("/instances", HTTP_X_API_KEY="nonsense"))
        assert 100 <= admitted < 120
        assert 1 <= refused(answer, 429, "rate_limit_exceeded")["retry_after"] <= 6
        # A valid key at the same address goes on: it has a bucket of its own.
        assert make.make_api().get("/instances").status_code == 200

    def test_survive_a_crash_of_the_view(self, monkeypatch):
        def crash(self, request):
            raise ZeroDivisionError

        monkeypatch.setattr("compute.api.instances.Instances.list", crash)
        assert make.make_api().get("/instances")["X-RateLimit-Remaining"] == "99999"


def test_each_request_has_an_id_of_its_own_whatever_the_client_sends():
    api = make.make_api()
    ids = {api.get("/instances", HTTP_X_REQUEST_ID="mine")["X-Request-Id"] for _ in range(5)}
    assert len(ids) == 5
    assert "mine" not in ids


def test_the_dashboard_has_request_ids_too():
    assert Client().get("/healthz")["X-Request-Id"].startswith("req_")
