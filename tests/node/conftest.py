"""One running agent per tier for all tests of the node; those that break it make their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.node import agents
from tests.node.agents import Agent, Login


@pytest.fixture(scope="session")
def _staging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("staged")


@pytest.fixture(scope="session", params=agents.TIERS)
def who(request: pytest.FixtureRequest, _staging: Path) -> Login:
    return agents.login(request.param, _staging)


@pytest.fixture(scope="session")
def agent(who: Login, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    made = Agent(who, home_for(who, tmp_path_factory))
    yield made.start()
    made.close()


@pytest.fixture
def own_agent(agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Agent]]:
    """Makes agents to break, not yet started, with the image that the shared agent has built."""
    made: list[Agent] = []

    def make(**fields) -> Agent:
        home = home_for(agent.who, tmp_path_factory)
        agent.driver.create(agent.spec(start=False))
        (home / "images").symlink_to(agent.home / "images")
        made.append(Agent(agent.who, home, **fields))
        return made[-1]

    yield make
    for one in made:
        one.close()


def home_for(who: Login, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that belongs to whoever runs the agent, reachable by nobody else."""
    home = tmp_path_factory.mktemp("node", numbered=True)
    who.own(home)
    for above in home.parents:
        if above.stat().st_uid == 0 and who.user is not None and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    return home
