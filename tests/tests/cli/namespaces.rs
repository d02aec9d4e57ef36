//! `aumbry namespace`, and every other command in one.

use anyhow::{Result, ensure};

use crate::{Bed, done, said};

/// A tenant is made, used by its own people, told of, and deleted.
#[test]
fn a_tenant_from_the_command_line() -> Result<()> {
    let bed = Bed::start()?;
    let made = bed.root_json(&["namespace", "create", "--custom-metadata", "contact=ann", "team"], "")?;
    ensure!(
        made["data"]["path"] == "team/" && made["data"]["custom_metadata"]["contact"] == "ann",
        "{made}"
    );
    bed.root(&["namespace", "create", "--namespace", "team", "app"], "")?;
    ensure!(bed.root(&["namespace", "list"], "")? == "team/\n");
    ensure!(bed.root(&["namespace", "list", "--namespace", "team/"], "")? == "app/\n");
    let patch = [
        "namespace",
        "patch",
        "--custom-metadata",
        "site=b",
        "--remove-metadata",
        "contact",
        "team",
    ];
    bed.root(&patch, "")?;
    let told = bed.root_json(&["namespace", "lookup", "team"], "")?;
    ensure!(
        told["data"]["custom_metadata"] == serde_json::json!({ "site": "b" }),
        "{told}"
    );
    for (arguments, input) in [
        (&["secrets", "enable", "--path", "secret", "kv"][..], ""),
        (&["kv", "put", "secret/app", "password=-"], "s3cret"),
        (
            &["policy", "write", "reader", "-"],
            "path \"secret/*\" { capabilities = [\"read\", \"list\"] }",
        ),
        (&["auth", "enable", "userpass"], ""),
        (
            &[
                "write",
                "auth/userpass/users/ann",
                "token_policies=reader",
                "password=-",
            ],
            "c0rrect",
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--namespace", "team"]).collect();
        bed.root(&arguments, input)?;
    }
    let in_team = [("AUMBRY_NAMESPACE", "team")];
    let login = ["login", "--method", "userpass", "username=ann"];
    done(bed.run_as(&in_team, &login, "c0rrect")?, &login)?;
    let get = ["kv", "get", "--field", "password", "secret/app"];
    ensure!(done(bed.run_as(&in_team, &get, "")?, &get)? == "s3cret");
    // The token is none in the root, where the command goes without a namespace.
    ensure!(
        bed.run(&get, "")?.status.code() == Some(4),
        "{}",
        said(&bed.run(&get, "")?)
    );
    // What is the cluster's says where it is.
    let members = ["read", "sys/storage/raft/configuration"];
    let root = bed.cluster.root_token();
    let root = root.expose_str().unwrap_or_default();
    let refused = bed.run_as(&[("AUMBRY_TOKEN", root), ("VAULT_NAMESPACE", "team")], &members, "")?;
    ensure!(
        said(&refused).contains("only in the root namespace"),
        "{}",
        said(&refused)
    );
    let status = ["status"];
    done(bed.run_as(&in_team, &status, "")?, &status)?;
    let early = bed.cluster.cli(&["namespace", "delete", "team"], "")?;
    ensure!(
        !early.status.success() && said(&early).contains("delete those first"),
        "{}",
        said(&early)
    );
    bed.root(&["namespace", "delete", "--namespace", "team", "app"], "")?;
    bed.root(&["namespace", "delete", "team"], "")?;
    ensure!(!bed.run_as(&in_team, &get, "")?.status.success());
    Ok(())
}
