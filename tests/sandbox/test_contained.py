"""Every attack, as root and rootless: it gets nothing, and nobody but its own request notices."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.sandbox.attacks import ATTACKS, AttackRecord
from tests.sandbox.services import Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def unharmed(service: Service) -> Iterator[None]:
    """Afterwards the service is as it was: its memory, its processes, its speed; and nothing of ours went wrong."""
    resting = service.executor.resting_processes()
    memory, descriptors = service.memory(), service.executor.resting_descriptors()
    yield
    service.executor.wait_workers(0)
    assert service.hello("still there", time_s=120) == "hello still there"
    assert len(service.executor.resting_processes()) <= len(resting) + 1
    assert not [one for one in service.executor.processes() if one.status() == psutil.STATUS_ZOMBIE]
    service.executor.wait_descriptors(descriptors + 8)
    assert service.memory() < memory + 24 * MIB
    assert service.executor.own_failures() == []


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_contained(service: Service, attack: AttackRecord) -> None:
    """The attack gets nothing, is answered as documented, and the supervisor is still the same process."""
    answer = service.attack(attack)
    assert service.lives()
    if answer.status_code != httpx.codes.OK:
        assert answer.json()["code"] in attack.ends, answer.text
        return
    seen = answer.json()
    assert seen.keys() == {"escaped", "detail"}
    assert seen["escaped"] is False, f"{attack.tries}: {seen['detail']}"


def test_contained_while_it_is_imported(service: Service) -> None:
    """A source that attacks before there is a request is as helpless."""
    answer = service.post("/early")
    assert answer.status_code == httpx.codes.OK, answer.text
    assert {name for name, seen in answer.json().items() if seen["escaped"]} == set()


SOME = tuple(one for one in ATTACKS if one.area == "privileges" or one.name in {"keyring", "kill_parent"})


@pytest.mark.parametrize("attack", SOME, ids=str)
def test_contained_in_the_middle_of_an_answer(service: Service, attack: AttackRecord) -> None:
    """Nor does it get more once its answer has begun."""
    begun, _, rest = service.post(f"/stream/{attack.area}/{attack.name}").text.partition("\n")
    assert begun == "begun"
    assert json.loads(rest)["escaped"] is False


@pytest.mark.parametrize("attack", SOME, ids=str)
def test_contained_after_the_answer(service: Service, attack: AttackRecord) -> None:
    """Nor when everybody has what they waited for."""
    answer = service.post(f"/late/{attack.area}/{attack.name}")
    assert answer.text == "answered"
    service.executor.invocation(answer.headers["x-invocation-id"])
    (line,) = (
        event["message"]
        for event in service.executor.events("endpoint.output")
        if event.get("invocation_id") == answer.headers["x-invocation-id"] and event["message"].startswith("late:")
    )
    assert json.loads(line.removeprefix("late:"))["escaped"] is False
