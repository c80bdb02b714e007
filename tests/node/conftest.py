"""One running agent and one function runner per tier for all tests of the node; those that break it make their own."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.node import agents
from tests.node.agents import Agent, Login
from tests.node.runners import RunnerProcess


@pytest.fixture(scope="session", params=agents.TIERS)
def who(request: pytest.FixtureRequest) -> Login:
    return agents.login(request.param)


@pytest.fixture(scope="session")
def agent(who: Login) -> Iterator[Agent]:
    with agents.home_for(who) as home:
        made = Agent(who, home).start()
        yield made
        made.close()


@pytest.fixture
def own_agent(agent: Agent) -> Iterator[Callable[..., Agent]]:
    """Makes agents to break, not yet started, with the image that the shared agent has built."""
    with contextlib.ExitStack() as stack:

        def make(**fields) -> Agent:
            home = stack.enter_context(agents.home_for(agent.who))
            made = Agent(agent.who, home, **fields)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture(scope="session")
def runner(who: Login) -> Iterator[RunnerProcess]:
    with agents.home_for(who) as home:
        made = RunnerProcess(who, home).start()
        yield made
        made.close()


@pytest.fixture
def own_runner(who: Login) -> Iterator[Callable[..., RunnerProcess]]:
    """Makes runners to break, not yet started."""
    with contextlib.ExitStack() as stack:

        def make(**fields) -> RunnerProcess:
            home = stack.enter_context(agents.home_for(who))
            made = RunnerProcess(who, home, **fields)
            stack.callback(made.close)
            return made

        yield make
