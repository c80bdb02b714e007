"""Revocation as it happens in life: several processes that all know a token, and one of them that is told it ended."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.live import Live

pytestmark = pytest.mark.slow


def test_a_revoked_token_is_refused_by_every_process_from_the_next_request_on(tmp_path):
    with Live(tmp_path) as live:
        app = live.manage("create_oauth_app", "alice", "--name", "ci", "--grant", "client-credentials")
        live.start_web(processes=3)
        base, auth = f"http://127.0.0.1:{live.port}", tuple(app.split(" "))

        def ask(token):
            headers = {"Authorization": f"Bearer {token}", "Connection": "close"}  # whichever process takes it
            return requests.get(f"{base}/v1/account/whoami", headers=headers, timeout=60).status_code

        for _ in range(3):
            form = {"grant_type": "client_credentials"}
            token = requests.post(f"{base}/oauth/token", form, auth=auth, timeout=60).json()["access_token"]
            with ThreadPoolExecutor(6) as pool:
                assert Counter(pool.map(ask, [token] * 30)) == {200: 30}
                assert requests.post(f"{base}/oauth/revoke", {"token": token}, auth=auth, timeout=60).status_code == 200
                assert Counter(pool.map(ask, [token] * 30)) == {401: 30}
