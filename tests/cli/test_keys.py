"""Keys for the service on the command line: made, listed, revoked, and on record."""

from __future__ import annotations

from tests.cli.conftest import Project


def test_a_key_is_made_listed_and_revoked(project: Project) -> None:
    """The key is shown once; each verb ends well, and the audit log names it without the secret."""
    made = project.json("keys", "create", "web", "--scope", "search", "--as", "team:docs", "--rate", "50/s")
    assert made["key"].startswith(f"regen_{made['id']}_")
    assert (made["scopes"], made["principals"], made["per_second"]) == (["search"], ["team:docs"], 50.0)
    listed = project.json("keys", "list")["keys"]
    assert [(item["name"], item["revoked_at"]) for item in listed] == [("web", None)]
    assert "digest" not in listed[0]
    assert project.json("keys", "revoke", "web")["revoked_at"] is not None
    told = project.json("history", "--audit")["audit"]
    done = [(item["action"], item["details"]["action"], item["details"]["name"], item["outcome"]) for item in told]
    assert [item for item in done if item[1] != "list"] == [
        ("keys", "revoke", "web", "done"),
        ("keys", "create", "web", "done"),
    ]
    assert made["key"].rpartition("_")[2] not in str(told)


def test_what_is_no_key_is_refused(project: Project) -> None:
    """Without a name, with a scope or a rate that is none, an unknown one: in words, and with the right exit code."""
    assert "needs a name" in project.json("keys", "create", code=2)["error"]["message"]
    assert "is no scope" in project.json("keys", "create", "a", "--scope", "all", code=1)["error"]["message"]
    assert project.json("keys", "create", "a", "--scope", "search", "--rate", "often", code=2)["error"]
    assert project.json("keys", "revoke", "nobody", code=1)["error"]["type"] == "NotFound"
