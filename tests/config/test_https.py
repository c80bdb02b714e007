"""HTTPS as an installation behind a TLS proxy sees it."""

import pytest


@pytest.fixture(autouse=True)
def production(settings):
    settings.LAMBDA_REQUIRE_HTTPS = True
    settings.LAMBDA_TRUSTED_PROXIES = ["127.0.0.1/32"]
    settings.SECURE_HSTS_SECONDS = 1000


def test_an_api_request_in_the_clear_is_refused_with_the_code_that_says_so(client):
    response = client.get("/v1/instances")
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "https_required"


def test_a_trusted_proxys_word_is_taken_by_all_of_django(client):
    response = client.get("/healthz", headers={"X-Forwarded-Proto": "https"})
    assert response.headers["Strict-Transport-Security"] == "max-age=1000"
    assert response.wsgi_request.is_secure()


def test_nobody_elses_word_is_taken(client):
    response = client.get("/v1/instances", headers={"X-Forwarded-Proto": "https"}, REMOTE_ADDR="203.0.113.9")
    assert response.json()["error"]["code"] == "https_required"


def test_an_api_answer_tells_browsers_to_stay_with_https_and_with_its_type(client):
    response = client.get("/v1/versions", headers={"X-Forwarded-Proto": "https"})
    assert response.headers["Strict-Transport-Security"] == "max-age=1000"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
