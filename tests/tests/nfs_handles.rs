//! File handles of NFSv3 over time: what they outlive, and what they die of.
//!
//! Asked with the crate `nfs3_client`. Invariant: a handle never opens another file than the one it
//! was given out for, nor one that is private by now.

use std::fs;

use anyhow::Result;
use nfs3_types::nfs3::{self, LOOKUP3args, nfsstat3};
use towline_tests::nfs::{at, block_on, mount, ok, refused};
use towline_tests::node::Node;

#[test]
fn handles_outlive_a_restart_and_die_with_their_file() -> Result<()> {
    let mut node = Node::start()?;
    fs::write(node.volume("models").join("file"), "before")?;
    let find = |node: &Node| {
        block_on(async {
            let mut client = mount(node, "/models").await?;
            let root = client.root_nfs_fh3();
            let found = client
                .lookup(&LOOKUP3args {
                    what: at(&root, "file"),
                })
                .await?;
            Ok(ok("LOOKUP", found)?.object)
        })
    };
    let file = find(&node)?;
    node.kill();
    node.restart()?;
    assert_eq!(find(&node)?, file, "another handle after the restart");
    fs::remove_file(node.volume("models").join("file"))?;
    fs::write(node.volume("models").join("file"), "after")?;
    block_on(async {
        let mut client = mount(&node, "/models").await?;
        let old = client.getattr(&nfs3::GETATTR3args { object: file }).await?;
        refused("the removed file's handle", old, nfsstat3::NFS3ERR_STALE)
    })
}

/// A handle from before a model became private is no way around that.
#[test]
fn handles_die_when_what_is_private_changes() -> Result<()> {
    let mut node = Node::start()?;
    fs::create_dir_all(node.volume("models").join("acme/secret"))?;
    fs::write(node.volume("models").join("acme/secret/file"), "bytes")?;
    let file = block_on(async {
        let mut client = mount(&node, "/models").await?;
        let mut found = client.root_nfs_fh3();
        for name in ["acme", "secret", "file"] {
            let what = at(&found, name);
            found = ok("LOOKUP", client.lookup(&LOOKUP3args { what }).await?)?.object;
        }
        Ok(found)
    })?;
    let token = "[[models.tokens]]\ntoken = \"0123456789abcdef\"\nprefix = \"acme/secret\"\n\
                 rights = \"read\"\n";
    node.reconfigure(token)?;
    block_on(async {
        let mut client = mount(&node, "/models").await?;
        let old = client.getattr(&nfs3::GETATTR3args { object: file }).await?;
        refused("a private file's old handle", old, nfsstat3::NFS3ERR_STALE)?;
        let what = at(&client.root_nfs_fh3(), "acme");
        let open = ok("LOOKUP", client.lookup(&LOOKUP3args { what }).await?)?.object;
        let what = at(&open, "secret");
        let hidden = client.lookup(&LOOKUP3args { what }).await?;
        refused("a private name", hidden, nfsstat3::NFS3ERR_NOENT)
    })
}
