"""hvac against a server: run.py ADDRESS TOKEN [CA]. Prints how many operations were tried, and fails if one of them was not as it should be."""

import sys

import hvac

ADDRESS, TOKEN = sys.argv[1:3]
VERIFY = sys.argv[3] if len(sys.argv) > 3 else True
E = hvac.exceptions


class Tally:
    """What was tried, and what of it failed."""

    def __init__(self):
        self.tried = 0
        self.failed = []

    def ok(self, name, ask, holds=lambda answer: True):
        """Asks; the answer must be one of which this holds."""
        self.tried += 1
        try:
            answer = ask()
        except Exception as error:  # Any is a failure of this operation, and no reason to leave out the others.
            self.failed.append(f"{name}: {type(error).__name__}: {error}")
            return None
        if not holds(answer):
            self.failed.append(f"{name}: {answer}")
        return answer

    def refused(self, name, error, ask):
        """Asks; the answer must be this error."""
        self.tried += 1
        try:
            answer = ask()
        except error:
            return
        except Exception as other:
            self.failed.append(f"{name}: {type(other).__name__}: {other}")
            return
        self.failed.append(f"{name}: {answer}")


def system(client, t):
    t.ok("initialised", client.sys.is_initialized, lambda a: a)
    t.ok("sealed", client.sys.is_sealed, lambda a: not a)
    t.ok("health", lambda: client.sys.read_health_status(method="GET"))
    t.ok("health by HEAD", client.sys.read_health_status, lambda a: a.status_code in (200, 429))
    t.ok("seal status", client.sys.read_seal_status, lambda a: a["t"] == 3)
    t.ok("leader", client.sys.read_leader_status, lambda a: a["ha_enabled"])
    t.ok("authenticated", client.is_authenticated, lambda a: a)
    t.ok("raft", client.sys.read_raft_config, lambda a: a["data"]["config"]["servers"])
    t.refused("no engine", E.InvalidPath, client.secrets.transit.list_keys)
    t.refused("unsupported", E.VaultError, lambda: client.delete("sys/capabilities-self"))


def versioned(client, t):
    kv = client.secrets.kv.v2
    put = lambda **more: kv.create_or_update_secret(path="hvac/b", **more)
    get = lambda **more: kv.read_secret_version(path="hvac/b", raise_on_deleted_version=True, **more)
    t.ok("put", lambda: put(secret={"k": "v", "n": 1.5}), lambda a: a["data"]["version"] == 1)
    t.ok("get", get, lambda a: a["data"]["data"] == {"k": "v", "n": 1.5})
    t.ok("cas", lambda: put(secret={"k": "w"}, cas=1))
    t.refused("wrong cas", E.InvalidRequest, lambda: put(secret={}, cas=1))
    t.ok("patch", lambda: kv.patch(path="hvac/b", secret={"x": "y"}))
    t.ok("patched", get, lambda a: a["data"]["data"] == {"k": "w", "x": "y"})
    t.ok("first version", lambda: get(version=1), lambda a: a["data"]["data"]["k"] == "v")
    t.ok("list", lambda: kv.list_secrets(path="hvac"), lambda a: a["data"]["keys"] == ["b"])
    t.ok("list of the mount", lambda: kv.list_secrets(path=""), lambda a: "hvac/" in a["data"]["keys"])
    t.refused("list of nothing", E.InvalidPath, lambda: kv.list_secrets(path="none"))
    t.refused("nothing", E.InvalidPath, lambda: kv.read_secret_version(path="none", raise_on_deleted_version=True))
    t.ok("delete", lambda: kv.delete_latest_version_of_secret(path="hvac/b"))
    t.refused("deleted", E.InvalidPath, get)
    t.ok("undelete", lambda: kv.undelete_secret_versions(path="hvac/b", versions=[3]))
    t.ok("undeleted", get)
    t.ok("delete versions", lambda: kv.delete_secret_versions(path="hvac/b", versions=[1, 2]))
    t.ok("destroy", lambda: kv.destroy_secret_versions(path="hvac/b", versions=[1]))
    meta = lambda: kv.read_secret_metadata(path="hvac/b")
    t.ok("metadata", meta, lambda a: a["data"]["versions"]["1"]["destroyed"] and a["data"]["current_version"] == 3)
    t.ok("settings", lambda: kv.update_metadata(
        path="hvac/b", max_versions=5, cas_required=False, delete_version_after="1h", custom_metadata={"o": "me"}))
    t.ok("set", meta, lambda a: a["data"]["custom_metadata"] == {"o": "me"} and a["data"]["max_versions"] == 5)
    t.ok("configure", lambda: kv.configure(max_versions=7, mount_point="secret"))
    t.ok("configured", kv.read_configuration, lambda a: a["data"]["max_versions"] == 7)
    t.ok("subkeys", lambda: client.read("secret/subkeys/hvac/b"), lambda a: a["data"]["subkeys"]["k"] is None)
    t.ok("forget", lambda: kv.delete_metadata_and_all_versions(path="hvac/b"))


def plain_and_mounts(client, t):
    t.ok("mount", lambda: client.sys.enable_secrets_engine("kv", path="hvac1", options={"version": "1"}))
    kv = client.secrets.kv.v1
    t.ok("put", lambda: kv.create_or_update_secret(path="x/y", secret={"a": "b"}, mount_point="hvac1"))
    t.ok("get", lambda: kv.read_secret(path="x/y", mount_point="hvac1"), lambda a: a["data"] == {"a": "b"})
    t.ok("list", lambda: kv.list_secrets(path="x", mount_point="hvac1"), lambda a: a["data"]["keys"] == ["y"])
    t.ok("delete", lambda: kv.delete_secret(path="x/y", mount_point="hvac1"))
    t.refused("deleted", E.InvalidPath, lambda: kv.read_secret(path="x/y", mount_point="hvac1"))
    t.ok("mounts", client.sys.list_mounted_secrets_engines, lambda a: "secret/" in a["data"] and "hvac1/" in a)
    t.ok("tune", lambda: client.sys.tune_mount_configuration(path="hvac1", default_lease_ttl="3600s"))
    t.ok("tuned", lambda: client.sys.read_mount_configuration(path="hvac1"),
         lambda a: a["data"]["default_lease_ttl"] == 3600)
    t.ok("which mount", lambda: client.read("sys/internal/ui/mounts/secret/x"),
         lambda a: a["data"]["options"]["version"] == "2" and a["data"]["path"] == "secret/")
    t.ok("unmount", lambda: client.sys.disable_secrets_engine("hvac1"))
    t.ok("auth methods", client.sys.list_auth_methods, lambda a: "token/" in a["data"])


def policies(client, t):
    rules = 'path "secret/data/hvac/*" { capabilities = ["read"] }'
    t.ok("write", lambda: client.sys.create_or_update_policy("hvac", rules))
    t.ok("write as an object", lambda: client.sys.create_or_update_policy(
        "hvac2", {"path": {"secret/data/b": {"capabilities": ["read", "update"]}}}))
    t.ok("read", lambda: client.sys.read_policy("hvac"), lambda a: a["data"]["rules"] == rules)
    t.ok("list", client.sys.list_policies, lambda a: "hvac" in a["data"]["policies"])
    t.ok("write an ACL", lambda: client.sys.create_or_update_acl_policy("hvac3", 'path "x" { policy = "write" }'))
    t.ok("read an ACL", lambda: client.sys.read_acl_policy("hvac3"), lambda a: "x" in a["data"]["policy"])
    t.ok("list ACLs", client.sys.list_acl_policies, lambda a: "hvac3" in a["data"]["keys"])
    t.ok("delete", lambda: client.sys.delete_policy("hvac2"))
    t.ok("delete an ACL", lambda: client.sys.delete_acl_policy("hvac3"))
    t.refused("deleted", E.InvalidPath, lambda: client.sys.read_policy("hvac2"))


def tokens(client, t):
    tokens = client.auth.token
    made = t.ok("create", lambda: tokens.create(policies=["hvac"], ttl="1h", display_name="n", meta={"a": "b"}),
                lambda a: a["auth"]["policies"] == ["default", "hvac"])["auth"]
    text, accessor = made["client_token"], made["accessor"]
    t.ok("look up", lambda: tokens.lookup(text),
         lambda a: a["data"]["id"] == text and a["data"]["display_name"] == "token-n" and a["data"]["meta"] == {"a": "b"})
    t.ok("look up by accessor", lambda: tokens.lookup_accessor(accessor))
    t.ok("renew", lambda: tokens.renew(text, increment="2h"))
    t.ok("renew by accessor", lambda: tokens.renew_accessor(accessor, increment="1h"))
    child = hvac.Client(url=ADDRESS, token=text, verify=VERIFY)
    t.ok("look up itself", child.auth.token.lookup_self)
    t.ok("renew itself", child.auth.token.renew_self)
    t.refused("what it may not", E.Forbidden, lambda: child.secrets.kv.v2.create_or_update_secret("hvac/x", {"a": 1}))
    t.refused("what is not there", E.InvalidPath,
              lambda: child.secrets.kv.v2.read_secret_version("hvac/x", raise_on_deleted_version=True))
    t.ok("capabilities", lambda: client.sys.get_capabilities(paths=["secret/data/hvac/x"], token=text),
         lambda a: a["data"]["secret/data/hvac/x"] == ["read"])
    t.ok("capabilities by accessor", lambda: client.sys.get_capabilities(paths=["x"], accessor=accessor),
         lambda a: a["data"]["x"] == ["deny"])
    t.ok("own capabilities", lambda: child.sys.get_capabilities(paths=["auth/token/lookup-self"]),
         lambda a: a["data"]["auth/token/lookup-self"] == ["read"])
    t.ok("accessors", tokens.list_accessors, lambda a: accessor in a["data"]["keys"])
    t.ok("revoke itself", child.auth.token.revoke_self)
    t.refused("revoked", E.Forbidden, child.auth.token.lookup_self)
    orphan = t.ok("create an orphan", lambda: tokens.create_orphan(policies=["hvac"]))["auth"]
    t.ok("revoke", lambda: tokens.revoke(orphan["client_token"]))
    other = t.ok("create another", lambda: tokens.create(policies=["hvac"]))["auth"]
    t.ok("revoke by accessor", lambda: tokens.revoke_accessor(other["accessor"]))
    t.ok("tidy up", lambda: client.sys.delete_policy("hvac"))


def approle(client, t):
    t.ok("enable", lambda: client.sys.enable_auth_method("approle"))
    t.ok("enabled", client.sys.list_auth_methods, lambda a: "approle/" in a["data"])
    t.ok("policy", lambda: client.sys.create_or_update_policy("hvac-app", 'path "secret/data/hvac/*" { capabilities = ["read"] }'))
    role = client.auth.approle
    t.ok("role", lambda: role.create_or_update_approle("ci", token_policies=["hvac-app"], token_ttl="20m", secret_id_ttl="10m"))
    t.ok("role again", lambda: role.read_role("ci"), lambda a: a["data"]["token_policies"] == ["hvac-app"])
    t.ok("roles", role.list_roles, lambda a: a["data"]["keys"] == ["ci"])
    role_id = t.ok("role id", lambda: role.read_role_id("ci"))["data"]["role_id"]
    made = t.ok("secret id", lambda: role.generate_secret_id("ci", metadata={"a": "b"}))["data"]
    t.ok("secret ids", lambda: role.list_secret_id_accessors("ci"), lambda a: made["secret_id_accessor"] in a["data"]["keys"])
    t.ok("look up", lambda: role.read_secret_id("ci", made["secret_id"]))
    t.ok("look up by accessor", lambda: role.read_secret_id_accessor("ci", made["secret_id_accessor"]))
    app = hvac.Client(url=ADDRESS, verify=VERIFY)
    t.ok("login", lambda: app.auth.approle.login(role_id, made["secret_id"]),
         lambda a: a["auth"]["policies"] == ["default", "hvac-app"] and a["auth"]["metadata"]["role_name"] == "ci")
    t.ok("itself", app.auth.token.lookup_self, lambda a: a["data"]["path"] == "auth/approle/login")
    t.refused("wrong secret id", E.InvalidRequest, lambda: role.login(role_id, "nonsense", use_token=False))
    t.refused("wrong role id", E.InvalidRequest, lambda: role.login("nonsense", made["secret_id"], use_token=False))
    t.ok("custom secret id", lambda: role.create_custom_secret_id("ci", "a-secret-of-my-own-choice"))
    t.ok("login with it", lambda: role.login(role_id, "a-secret-of-my-own-choice", use_token=False))
    t.ok("destroy", lambda: role.destroy_secret_id("ci", made["secret_id"]))
    t.refused("destroyed", E.InvalidRequest, lambda: role.login(role_id, made["secret_id"], use_token=False))
    t.ok("choose a role id", lambda: role.update_role_id("ci", "my-role"))
    t.ok("delete", lambda: role.delete_role("ci"))
    t.refused("deleted", E.InvalidRequest, lambda: role.login("my-role", "a-secret-of-my-own-choice", use_token=False))
    t.ok("disable", lambda: client.sys.disable_auth_method("approle"))
    t.refused("its tokens are gone", E.Forbidden, app.auth.token.lookup_self)


def userpass(client, t):
    t.ok("enable", lambda: client.sys.enable_auth_method("userpass"))
    users = client.auth.userpass
    t.ok("user", lambda: users.create_or_update_user("alice", password="correct horse", policies="hvac-app"))
    t.ok("users", users.list_user, lambda a: a["data"]["keys"] == ["alice"])
    t.ok("read", lambda: users.read_user("alice"))
    alice = hvac.Client(url=ADDRESS, verify=VERIFY)
    t.ok("login", lambda: alice.auth.userpass.login("alice", "correct horse"), lambda a: a["auth"]["metadata"]["username"] == "alice")
    t.ok("in any case", lambda: users.login("ALICE", "correct horse", use_token=False))
    t.ok("itself", alice.auth.token.lookup_self, lambda a: a["data"]["display_name"] == "userpass-alice")
    t.refused("wrong password", E.InvalidRequest, lambda: users.login("alice", "wrong", use_token=False))
    t.refused("nobody", E.InvalidRequest, lambda: users.login("nobody", "wrong", use_token=False))
    t.ok("another password", lambda: users.update_password_on_user("alice", "battery staple"))
    t.ok("login with it", lambda: users.login("alice", "battery staple", use_token=False))
    t.refused("the old one", E.InvalidRequest, lambda: users.login("alice", "correct horse", use_token=False))
    t.ok("delete", lambda: users.delete_user("alice"))
    t.ok("disable", lambda: client.sys.disable_auth_method("userpass"))


def wrapping(client, t):
    wrapped = t.ok("wrap", lambda: client.sys.wrap({"a": "b"}, ttl=60))["wrap_info"]
    holder = lambda token: hvac.Client(url=ADDRESS, token=token, verify=VERIFY).sys.unwrap()
    t.ok("look up", lambda: client.write("sys/wrapping/lookup", token=wrapped["token"]),
         lambda a: a["data"]["creation_path"] == "sys/wrapping/wrap")
    t.ok("unwrap", lambda: holder(wrapped["token"]), lambda a: a["data"] == {"a": "b"})
    t.refused("once only", E.InvalidRequest, lambda: holder(wrapped["token"]))
    made = t.ok("a token", lambda: client.auth.token.create(policies=["hvac-app"], wrap_ttl="60s"),
                lambda a: a["auth"] is None and a["wrap_info"]["wrapped_accessor"])["wrap_info"]
    t.ok("unwrap for the holder of another", lambda: client.sys.unwrap(token=made["token"]), lambda a: a["auth"]["policies"] == ["default", "hvac-app"])
    t.ok("cubbyhole", lambda: client.write("cubbyhole/a", x="y"))
    t.ok("its own", lambda: client.read("cubbyhole/a"), lambda a: a["data"] == {"x": "y"})
    t.ok("list", lambda: client.list("cubbyhole"), lambda a: a["data"]["keys"] == ["a"])
    t.ok("forget", lambda: client.delete("cubbyhole/a"))
    t.ok("tidy up", lambda: client.sys.delete_policy("hvac-app"))


def roles(client, t):
    tokens = client.auth.token
    t.ok("policy", lambda: client.sys.create_or_update_policy("hvac-role", 'path "x" { capabilities = ["read"] }'))
    t.ok("role", lambda: tokens.create_or_update_role("jobs", allowed_policies=["hvac-role"], orphan=True, token_period="1h"))
    t.ok("read", lambda: tokens.read_role("jobs"), lambda a: a["data"]["orphan"])
    t.ok("list", tokens.list_roles, lambda a: a["data"]["keys"] == ["jobs"])
    made = t.ok("create", lambda: tokens.create(role_name="jobs", policies=["hvac-role"]))
    t.ok("periodic", lambda: tokens.lookup(made["auth"]["client_token"]), lambda a: a["data"]["period"] == 3600 and a["data"]["orphan"])
    t.refused("what the role does not allow", E.InvalidRequest, lambda: tokens.create(role_name="jobs", policies=["other"]))
    t.ok("delete", lambda: tokens.delete_role("jobs"))
    t.ok("tidy up", lambda: client.sys.delete_policy("hvac-role"))


def main():
    client, tally = hvac.Client(url=ADDRESS, token=TOKEN, verify=VERIFY), Tally()
    for part in (system, versioned, plain_and_mounts, policies, tokens, roles, approle, userpass, wrapping):
        part(client, tally)
    for failure in tally.failed:
        print(failure, file=sys.stderr)
    print("operations", tally.tried)
    sys.exit(1 if tally.failed else 0)


main()
