"""Which updates and tasks a new subscription repeats."""

from __future__ import annotations

from typing import Any

from km.minion.updates import Updates

TASK: dict[str, Any] = {"task_id": {"value": "t"}, "name": "t"}


def make() -> Updates:
    updates = Updates(framework_id="f", executor_id="e")
    updates.launched(TASK)
    updates.report("t", "TASK_RUNNING", "", 12.5)
    return updates


def repeated(updates: Updates) -> tuple[list[str], list[str]]:
    content = updates.subscribe_call()["subscribe"]
    return (
        [task["task_id"]["value"] for task in content["unacknowledged_tasks"]],
        [update["status"]["state"] for update in content["unacknowledged_updates"]],
    )


def test_an_update_is_what_mesos_asks_for() -> None:
    unsent = make().next_unsent()

    assert unsent
    ident, call = unsent
    assert call == {
        "type": "UPDATE",
        "framework_id": {"value": "f"},
        "executor_id": {"value": "e"},
        "update": {
            "status": {
                "task_id": {"value": "t"},
                "executor_id": {"value": "e"},
                "state": "TASK_RUNNING",
                "source": "SOURCE_EXECUTOR",
                "uuid": ident,
                "timestamp": 12.5,
            }
        },
    }


def test_until_acknowledged_task_and_update_are_repeated() -> None:
    updates = make()
    unsent = updates.next_unsent()
    assert unsent
    updates.sent(unsent[0])
    assert updates.next_unsent() is None
    assert repeated(updates) == (["t"], ["TASK_RUNNING"])

    updates.acknowledged("t", unsent[0])

    assert repeated(updates) == ([], [])
    assert updates.unacknowledged == 0


def test_updates_are_sent_in_their_order() -> None:
    updates = make()
    updates.report("t", "TASK_KILLED", "why", 13)
    states = []
    while unsent := updates.next_unsent():
        states.append(unsent[1]["update"]["status"]["state"])
        updates.sent(unsent[0])

    assert states == ["TASK_RUNNING", "TASK_KILLED"]


def test_what_a_subscription_carried_is_not_sent_again() -> None:
    updates = make()
    call = updates.subscribe_call()
    updates.report("t", "TASK_KILLED", "reported while the agent answered", 13)

    updates.subscribed(call)

    unsent = updates.next_unsent()
    assert unsent
    assert unsent[1]["update"]["status"]["state"] == "TASK_KILLED"


def test_an_update_acknowledged_before_it_counts_as_sent_is_dropped() -> None:
    updates = make()
    unsent = updates.next_unsent()
    assert unsent

    updates.acknowledged("t", unsent[0])

    assert updates.next_unsent() is None
    updates.sent(unsent[0])


def test_an_unknown_acknowledgement_changes_nothing() -> None:
    updates = make()

    updates.acknowledged("other", "nonsense")

    assert repeated(updates) == (["t"], ["TASK_RUNNING"])
