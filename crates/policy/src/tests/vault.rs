//! Texts as Vault's documents and its users write them: what is read, and what is refused with what to change.

use super::parsing::rules;
use super::policy;
use crate::{Policy, Reason};

/// Each was read so by `github.com/hashicorp/hcl` 1.0.1-vault-7, which Vault reads its policies with.
#[test]
fn accepted_as_vault_does() {
    let check = |text: &str, expect: &[&str]| assert_eq!(rules(&policy(text)), expect, "{text}");
    let read = &["a read"];
    for text in [
        "path \"a\" { capabilities = [\"read\"]\n}\n",
        "path \"a\" { capabilities = [\"read\"], }",
        "path \"a\" {\n  capabilities = [\"read\"],\n},",
        "path \"a\"\n{\n  capabilities\n=\n[\n\"read\"\n,\n]\n}",
        "path \"a\"{capabilities=[\"read\"]}",
        "path \"a\" {\r\n  capabilities = [\"read\"]\r\n}\r\n",
        "path \"a\" { \"capabilities\" = [\"read\"] }",
        "\"path\" \"a\" { capabilities = [\"read\"] }",
        "path \"a\" { # one\n capabilities = [ // two\n \"read\", # three\n # four\n ] /* five\n six */ } // seven",
        "/* path \"b\" { */ path /**/ \"a\" /***/ { capabilities = [\"read\" /* \"] */] }#",
        "path \"\\u0061\" { capabilities = [\"r\\U00000065ad\"] }",
    ] {
        check(text, read);
    }
    check(
        "path \"secret/+/b\" { capabilities = [\"read\"]\n}\npath \"b\" { policy = \"deny\" } path \"c\" { policy = \"read\" }",
        &["secret/+/b read", "b deny", "c read,list"],
    );
    check(
        "secret \"team/kv/a\" { mount = \"team/kv\" capabilities = [\"read\"] }",
        &["team/kv/data/a read"],
    );
    // What Vault's documents show of a policy for people.
    check(
        r#"
# Manage auth methods broadly across Vault
path "auth/*"
{
  capabilities = ["create", "read", "update", "delete", "list", "sudo"]
}

// List auth methods
path "sys/auth" { capabilities = ["read"]
}
path "sys/policies/acl" { capabilities = ["list"] }"#,
        &[
            "auth/* create,read,update,delete,list,sudo",
            "sys/auth read",
            "sys/policies/acl list",
        ],
    );
}

#[test]
fn refused_with_the_line() {
    let check = |text: &str, expect: Reason, line: usize| {
        let error = Policy::parse(text).expect_err(text);
        assert_eq!((error.reason, error.line), (expect, Some(line)), "{text}");
    };
    for text in [
        "path \"a\" {\ncapabilities = [\"read\"],, }",
        "path \"a\" { capabilities = [\"read\"\n\"list\"] }",
        "path \"a\" { capabilities = [\n, \"read\"] }",
        "path \"a\" { capabilities = [\"read\",\n,] }",
        "path \"a\" { capabilities = [\"read\"]\n",
        "path \"a\" { policy = \"read\" }\n}",
        "path \"a\" { policy = \"read\" }\n, , path \"b\" { policy = \"read\" }",
        "\n/* path \"a\" { policy = \"read\" }",
        "path \"a\" {\npolicy = \"read }",
        "\npath \"a",
        "path \"a\" {\npolicy: \"read\" }",
        "path \"a\" {\npolicy \"read\" }",
        "\npath \"a\" = { policy = \"read\" }",
        "\npath \"\\x61\" { policy = \"read\" }",
        "\npath \"\\141\" { policy = \"read\" }",
        "\npath \"\\ud800\" { policy = \"read\" }",
        "\npath \"\\U00110000\" { policy = \"read\" }",
        "\n{} path \"a\" { policy = \"read\" }",
        "path \"a\" {\n1 = 2 }",
        "path \"a\" {\n= 2 }",
    ] {
        check(text, Reason::Syntax, 2);
    }
    check("\npath = { \"a\" = { policy = \"read\" } }", Reason::Label, 2);
    check("\npath { policy = \"read\" }", Reason::Label, 2);
    check("path \"a\" {\npolicy = <<EOF\nread\nEOF\n}", Reason::NotLiteral, 2);
    check(
        "path \"a\" { policy = \"read\"\n\"policy\" = \"deny\" }",
        Reason::DuplicateKey,
        2,
    );
    check(
        "path \"a\" { policy = \"read\"\ncontrol_group = { factor \"x\" { identity { group_names = [\"b\"] } } } }",
        Reason::Unsupported("control_group"),
        2,
    );
    // What is refused says what to write instead.
    let show = |text: &str| Policy::parse(text).expect_err(text).to_string();
    assert!(
        show("path \"a\" {")
            .contains("a policy is blocks such as path \"secret/data/app/*\" { capabilities = [\"read\"] }")
    );
    assert!(show("path \"a\" { policy = <<E\nE\n}").contains("write them out"));
    assert!(show("path \"a\" { policy = \"read\" policy = \"read\" }").contains("keep one"));
}
